//! A store on a disk that is full: a small tmpfs, made and grown by root.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod cluster;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::ensure;
use cluster::served::{end_of, slow_node};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, GetFilesystem, PutFilesystem};
use lustre_api::job::{GetJob, JobPath, JobState, WaitQuery};
use lustre_api::mgs::{GetMgs, MgsInfo};
use lustre_api::target::PostTarget;
use lustre_api::{Nothing, ProblemCode, WriteQuery};
use process::Daemon;
use rest::{Client, ClientError};

/// A tmpfs, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mounted(at: &Path, options: &str) -> Self {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success(), "this test needs root: it mounts a tmpfs");
        Self(at.to_owned())
    }

    fn grow(&self, options: &str) {
        assert!(
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap().success()
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn write(client: &Client, at: u32) -> Result<(), ClientError> {
    let path = FilesystemPath { fsname: "scratch".parse().unwrap() };
    let description = Some(format!("{at} {}", "x".repeat(200)));
    let spec = FilesystemSpec { name: "scratch".parse().unwrap(), description };
    client.call::<PutFilesystem>(&path, &WriteQuery::default(), &spec).await.map(drop)
}

async fn written(client: &Client) -> u32 {
    let path = FilesystemPath { fsname: "scratch".parse().unwrap() };
    let found = client.call::<GetFilesystem>(&path, &Nothing {}, &Nothing {}).await.unwrap();
    found.spec.description.unwrap().split_once(' ').unwrap().0.parse().unwrap()
}

async fn mgs(client: &Client) -> MgsInfo {
    client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_stops_changes_and_says_so_and_a_restart_goes_on_with_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::mounted(directory.path(), "size=3m");
    let store = directory.path().join("mgs.redb");
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    let mut acknowledged = 0;
    let refusal = loop {
        match write(&client, acknowledged + 1).await {
            Ok(()) => acknowledged += 1,
            Err(ClientError::Problem(problem)) => break problem,
            Err(other) => panic!("{other}"),
        }
        assert!(acknowledged < 100_000, "3 MiB hold all of that?");
    };
    assert_eq!(refusal.code, ProblemCode::Unavailable, "{refusal}");
    assert!(refusal.remedy.as_ref().is_some_and(|remedy| remedy.contains("restart")), "{refusal:?}");
    let said = mgs(&client).await.store_error.unwrap();
    assert!(said.contains("mgs.redb"), "{said}");
    assert_eq!(written(&client).await, acknowledged, "reading goes on");

    disk.grow("size=64m");
    assert!(write(&client, 0).await.is_err(), "not before it was opened anew");
    daemon.kill();
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    let found = written(&client).await;
    assert!(found == acknowledged || found == acknowledged + 1, "{found} of {acknowledged}");
    assert_eq!(mgs(&client).await.store_error, None);
    write(&client, 7).await.unwrap();
    assert_eq!(written(&client).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_at_work_when_the_disk_fills_up_ends_once_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::mounted(directory.path(), "size=3m");
    let store = directory.path().join("mgs.redb");
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    let (nodes, _stop) = slow_node(&client).await;
    let post = async |client: &Client, device: &str| {
        client.call::<PostTarget>(&Nothing {}, &WriteQuery::default(), &ensure(device)).await
    };
    let job = JobPath { id: post(&client, "/dev/sdb").await.unwrap().job.unwrap() };
    nodes.has_job().await;
    let mut at = 0;
    while write(&client, at).await.is_ok() {
        at += 1;
        assert!(at < 100_000, "3 MiB hold all of that?");
    }
    // The format is done on its node, and its end can't be written down.
    nodes.finish();
    let Err(ClientError::Problem(problem)) = post(&client, "/dev/sdc").await else { panic!("it was taken") };
    assert_eq!(problem.code, ProblemCode::Unavailable, "{problem}");
    let shown = client.call::<GetJob>(&job, &WaitQuery::default(), &Nothing {}).await.unwrap();
    assert_eq!(shown.state, JobState::Running, "what is not durable is not told");

    disk.grow("size=64m");
    daemon.kill();
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    assert_eq!(end_of(&client, &job).await.state, JobState::Done);
    assert_eq!(nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
    assert!(post(&client, "/dev/sdc").await.unwrap().job.is_some());
}
