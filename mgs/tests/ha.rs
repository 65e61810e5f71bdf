//! Several daemons at once on one etcd, as processes.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, GetFilesystem, PutFilesystem};
use lustre_api::mgs::GetMgs;
use lustre_api::target::{Register, RegisterTarget, TargetPath};
use lustre_api::{Nothing, ProblemCode, WriteQuery};
use process::{Daemon, command, register, reserve};
use rest::{Client, ClientError};
use testkit::Etcd;

fn start(etcd: &Etcd) -> Daemon {
    Daemon::start(Path::new(&etcd.url("lmgs/test")))
}

fn scratch() -> FilesystemPath {
    FilesystemPath { fsname: "scratch".parse().unwrap() }
}

async fn describe(client: &Client, description: &str) -> Result<u64, ClientError> {
    let spec = FilesystemSpec { name: scratch().fsname, description: Some(description.into()) };
    let written = client.call::<PutFilesystem>(&scratch(), &WriteQuery::default(), &spec).await?;
    Ok(written.revision)
}

async fn description(client: &Client) -> Option<String> {
    let fs = client.call::<GetFilesystem>(&scratch(), &Nothing {}, &Nothing {}).await.unwrap();
    fs.spec.description
}

/// Status and `warning` header of a read.
async fn get(daemon: &Daemon, path: &str) -> (u16, Option<String>) {
    let answer = reqwest::get(format!("{}{path}", daemon.url)).await.unwrap();
    let warning = answer.headers().get("warning").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), warning)
}

fn signal(daemon: &Daemon, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), daemon.process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_registrations_through_three_instances_give_no_index_twice() {
    let etcd = Etcd::start().unwrap();
    let daemons = [start(&etcd), start(&etcd), start(&etcd)];
    let clients: Vec<Client> = daemons.iter().map(Daemon::client).collect();
    describe(&clients[0], "race").await.unwrap();
    let callers: Vec<_> = (0..48)
        .map(|n: usize| {
            let (one, other) = (clients[n % 3].clone(), clients[(n + 1) % 3].clone());
            tokio::spawn(async move {
                let (svname, token) = reserve(&one, &format!("/dev/disk{n}")).await.unwrap();
                // What one instance has reserved, the next one knows.
                register(&other, &svname, &token).await.unwrap();
                svname
            })
        })
        .collect();
    let mut given = BTreeSet::new();
    for caller in callers {
        assert!(given.insert(caller.await.unwrap()), "one index twice");
    }
    assert_eq!(given.last().unwrap().to_string(), "scratch-OST002f", "48 indices without a gap");
    let uuids: BTreeSet<String> = futures::future::join_all(clients.iter().map(|client| async {
        let fs = client.call::<GetFilesystem>(&scratch(), &Nothing {}, &Nothing {}).await.unwrap();
        assert_eq!(fs.ost_count, 48);
        client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap().uuid
    }))
    .await
    .into_iter()
    .collect();
    assert_eq!(uuids.len(), 1, "they are one MGS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_acknowledged_the_next_one_shows_also_after_kill_9() {
    let etcd = Etcd::start().unwrap();
    let (one, two) = (start(&etcd), start(&etcd));
    for n in 0..20 {
        let text = format!("change {n}");
        describe(&one.client(), &text).await.unwrap();
        assert_eq!(description(&two.client()).await, Some(text.clone()), "through the other instance at once");
    }
    describe(&one.client(), "the last word").await.unwrap();
    one.kill();
    assert_eq!(description(&two.client()).await.as_deref(), Some("the last word"));
    describe(&two.client(), "goes on").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_store_refuses_changes_marks_reads_and_recovers_by_itself() {
    let mut etcd = Etcd::start().unwrap();
    let daemon = start(&etcd);
    let client = daemon.client();
    describe(&client, "before").await.unwrap();
    assert_eq!(get(&daemon, "/v1/ready").await, (200, None));
    etcd.kill();
    let refused = describe(&client, "during").await.unwrap_err();
    let ClientError::Problem(problem) = refused else { panic!("{refused}") };
    assert_eq!(problem.code, ProblemCode::Unavailable);
    assert!(problem.remedy.is_some(), "{problem}");
    let (status, warning) = get(&daemon, "/v1/filesystems/scratch").await;
    assert_eq!(status, 200, "reads go on");
    assert!(warning.as_ref().is_some_and(|warning| warning.starts_with("110 ")), "{warning:?}");
    assert_eq!(get(&daemon, "/v1/ready").await.0, 503);
    etcd.restart().unwrap();
    let back = async {
        while get(&daemon, "/v1/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it recovers by itself");
    let now = description(&client).await;
    assert!(now.as_deref() == Some("before") || now.as_deref() == Some("during"), "{now:?}");
    describe(&client, "after").await.unwrap();
    assert_eq!(get(&daemon, "/v1/filesystems/scratch").await, (200, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_instance_that_wakes_up_neither_shows_nor_writes_what_is_old() {
    let etcd = Etcd::start().unwrap();
    let (one, two) = (start(&etcd), start(&etcd));
    let planned = describe(&one.client(), "seen by both").await.unwrap();
    assert_eq!(description(&two.client()).await.as_deref(), Some("seen by both"));
    signal(&one, "STOP");
    describe(&two.client(), "while one was frozen").await.unwrap();
    // A change that was planned on what the frozen one knew; it is decided the moment it wakes up.
    let spec = FilesystemSpec { name: scratch().fsname, description: Some("old plan".into()) };
    let query = WriteQuery { if_revision: Some(planned), ..WriteQuery::default() };
    let client = one.client();
    let stale = tokio::spawn(async move { client.call::<PutFilesystem>(&scratch(), &query, &spec).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(&one, "CONT");
    let refused = stale.await.unwrap().unwrap_err();
    let ClientError::Problem(problem) = refused else { panic!("{refused}") };
    assert_eq!(problem.code, ProblemCode::Conflict, "{problem}");
    assert_eq!(description(&one.client()).await.as_deref(), Some("while one was frozen"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_too_large_for_the_store_is_refused_with_its_size_and_touches_nothing() {
    let etcd = Etcd::start().unwrap();
    let daemon = start(&etcd);
    let client = daemon.client();
    describe(&client, "before").await.unwrap();
    let (svname, token) = reserve(&client, "/dev/disk").await.unwrap();
    let path = TargetPath { svname: svname.clone() };
    let with_nids = async |count: u32| {
        let nid = |n: u32| format!("10.200.{}.{}@tcp{}", n >> 8 & 255, n & 255, 100 + (n >> 16)).parse().unwrap();
        let body = Register {
            token: token.clone(),
            label: svname.to_string().replacen('-', ":", 1),
            uuid: "u1".into(),
            size_bytes: 1 << 40,
            nids: (0..count).map(nid).collect(),
        };
        client.call::<RegisterTarget>(&path, &WriteQuery::default(), &body).await
    };
    let values = || etcd.ctl(&["get", "", "--prefix"]).unwrap();
    let before = values();
    // What no store takes as one value, and what is no request at all.
    let too_large = [(30_000, ProblemCode::Refused, "at most 524288"), (80_000, ProblemCode::TooLarge, "1048576")];
    for (count, code, limit) in too_large {
        let Err(ClientError::Problem(problem)) = with_nids(count).await else { panic!("{count} NIDs were taken") };
        assert!(problem.code == code && problem.message.contains("large"), "{problem:?}");
        assert!(problem.message.contains(limit), "{problem:?}");
    }
    assert_eq!(values(), before, "nothing is written");
    // What fits goes through, and the MGS is none the worse for the others.
    with_nids(2).await.unwrap();
    drop(daemon);
    describe(&start(&etcd).client(), "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_another_mgs_and_an_empty_one_are_refused_by_uuid() {
    let etcd = Etcd::start().unwrap();
    let daemon = start(&etcd);
    let uuid = daemon.client().call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap().uuid;
    let refusal = |url: String, uuid: &str| {
        let output = command(Path::new(&url)).args(["--uuid", uuid]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let other = refusal(etcd.url("lmgs/test"), "00000000-0000-4000-8000-000000000000");
    assert!(other.contains(&uuid) && other.contains("prefix"), "{other}");
    let empty = refusal(etcd.url("lmgs/tset"), &uuid);
    assert!(empty.contains("empty"), "{empty}");
    let _right = Daemon::wait_for(command(Path::new(&etcd.url("lmgs/test"))).args(["--uuid", &uuid]));
}
