//! Of several daemons on one etcd, one runs the jobs and tells the receivers; when it dies or freezes, another one does.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod cluster;
mod process;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cluster::served::{end_of, prepare, serve};
use cluster::{Nodes, ensure, soon};
use lustre_api::event::{Event, GetHistory, HistoryQuery};
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::job::{GetJob, JobId, JobPath, JobState, WaitQuery};
use lustre_api::mgs::GetMgs;
use lustre_api::node::{GetNode, Heartbeat, NodePath};
use lustre_api::target::PostTarget;
use lustre_api::{Nothing, Problem, WriteQuery};
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs::ownership::{Guard, Ownership};
use lustre_mgs_core::decide::filesystem::put_filesystem;
use lustre_mgs_core::{Env, Request, State};
use lustre_mgs_store::MemoryStore;
use process::Daemon;
use rest::Client;
use testkit::Etcd;

fn start(etcd: &Etcd, count: usize) -> Vec<Daemon> {
    (0..count).map(|_| Daemon::start(Path::new(&etcd.url("lmgs/test")))).collect()
}

fn signal(daemon: &Daemon, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), daemon.process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

async fn ensure_on(client: &Client, device: &str) -> JobPath {
    let written = client.call::<PostTarget>(&Nothing {}, &WriteQuery::default(), &ensure(device)).await.unwrap();
    JobPath { id: written.job.unwrap() }
}

/// Which of the daemons runs the jobs, once one does.
async fn owner_of_jobs(daemons: &[&Daemon]) -> usize {
    let look = async {
        loop {
            for (at, daemon) in daemons.iter().enumerate() {
                let mgs = daemon.client().call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
                if mgs.duties.iter().any(|duty| duty == "jobs") {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(look).await
}

/// What was committed on the job.
async fn history_of(client: &Client, id: &JobId) -> Vec<Event> {
    let query = HistoryQuery { object: Some(format!("job {id}")), ..HistoryQuery::default() };
    client.call::<GetHistory>(&Nothing {}, &query, &Nothing {}).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_is_handed_out_by_one_of_three_daemons() {
    let etcd = Etcd::start().unwrap();
    let nodes = Arc::new(Nodes::default());
    let (agent, _stop) = serve(nodes.clone()).await;
    let daemons = start(&etcd, 3);
    let clients: Vec<Client> = daemons.iter().map(Daemon::client).collect();
    prepare(&clients[0], agent).await;
    let mut jobs = Vec::new();
    for n in 0..12 {
        jobs.push((n, ensure_on(&clients[n % 3], &format!("/dev/disk{n}")).await));
    }
    for (n, job) in &jobs {
        // Whoever runs it, the others know how it ended.
        assert_eq!(end_of(&clients[(n + 1) % 3], job).await.state, JobState::Done);
    }
    let asked = nodes.asked();
    assert_eq!(asked.len(), 12);
    assert!(asked.values().all(|count| *count == 1), "asked for by one daemon, once: {asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_elsewhere_after_kill_9_of_its_owner() {
    let etcd = Etcd::start().unwrap();
    let nodes = Arc::new(Nodes::default());
    nodes.set_slow();
    let (agent, _stop) = serve(nodes.clone()).await;
    let mut daemons = start(&etcd, 2);
    prepare(&daemons[0].client(), agent).await;
    let job = ensure_on(&daemons[0].client(), "/dev/sdb").await;
    nodes.has_job().await;
    let owner = owner_of_jobs(&daemons.iter().collect::<Vec<_>>()).await;
    daemons.remove(owner).kill();
    owner_of_jobs(&[&daemons[0]]).await;
    nodes.finish();
    assert_eq!(end_of(&daemons[0].client(), &job).await.state, JobState::Done);
    assert_eq!(nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_frozen_past_its_lease_commits_nothing_when_it_wakes_up() {
    let etcd = Etcd::start().unwrap();
    let nodes = Arc::new(Nodes::default());
    nodes.set_slow();
    let (agent, _stop) = serve(nodes.clone()).await;
    let daemons = start(&etcd, 2);
    prepare(&daemons[0].client(), agent).await;
    let job = ensure_on(&daemons[0].client(), "/dev/sdb").await;
    nodes.has_job().await;
    let owner = owner_of_jobs(&daemons.iter().collect::<Vec<_>>()).await;
    let (frozen, other) = (&daemons[owner], &daemons[1 - owner]);
    signal(frozen, "STOP");
    owner_of_jobs(&[other]).await;
    // The step ends while nobody but the frozen one is told of it by the connection that it has open.
    nodes.finish();
    assert_eq!(end_of(&other.client(), &job).await.state, JobState::Done);
    let before = history_of(&other.client(), &job.id).await;
    signal(frozen, "CONT");
    assert_eq!(end_of(&frozen.client(), &job).await.state, JobState::Done, "it sees what the other one did");
    // It has taken in the end of its lease when it takes new requests for jobs as one that runs none.
    let second = ensure_on(&frozen.client(), "/dev/sdc").await;
    assert_eq!(end_of(&frozen.client(), &second).await.state, JobState::Done);
    assert_eq!(owner_of_jobs(&[other, frozen]).await, 0, "the other one keeps the duty");
    assert_eq!(history_of(&other.client(), &job.id).await, before, "nothing was committed on the job after its end");
    assert!(nodes.begun().into_values().all(|count| count == 1), "{:?}", nodes.begun());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_shows_the_progress_of_a_job_that_one_of_them_runs() {
    let etcd = Etcd::start().unwrap();
    let nodes = Arc::new(Nodes::default());
    nodes.set_slow();
    let (agent, _stop) = serve(nodes.clone()).await;
    let mut daemons = start(&etcd, 3);
    prepare(&daemons[0].client(), agent).await;
    let job = ensure_on(&daemons[0].client(), "/dev/sdb").await;
    nodes.has_job().await;
    let owner = owner_of_jobs(&daemons.iter().collect::<Vec<_>>()).await;
    let shows = async |daemon: &Daemon, done: u64| {
        let client = daemon.client();
        let mut seen = None;
        let look = async {
            loop {
                let query = WaitQuery { wait_s: Some(5), seen };
                let shown = client.call::<GetJob>(&job, &query, &Nothing {}).await.unwrap();
                let progress = shown.steps.iter().find_map(|step| step.progress.as_ref());
                if progress.is_some_and(|progress| progress.done == done) {
                    return;
                }
                seen = Some(shown.version);
            }
        };
        soon(look).await;
    };
    nodes.progress(30);
    for daemon in &daemons {
        shows(daemon, 30).await;
    }
    // The one that runs it dies: the others show what the next one hears.
    daemons.remove(owner).kill();
    nodes.progress(60);
    for daemon in &daemons {
        shows(daemon, 60).await;
    }
    nodes.finish();
    for daemon in &daemons {
        assert_eq!(end_of(&daemon.client(), &job).await.state, JobState::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_one_instance_hears_of_is_alive_on_all_also_after_that_one_died() {
    let etcd = Etcd::start().unwrap();
    let mut daemons = start(&etcd, 2);
    let beat = async |daemon: &Daemon| {
        let node = NodePath { node: "oss1".parse().unwrap() };
        daemon.client().call::<Heartbeat>(&node, &Nothing {}, &Nothing {}).await.unwrap();
    };
    let is_alive = async |daemon: &Daemon| {
        let node = NodePath { node: "oss1".parse().unwrap() };
        let look = async {
            loop {
                let node = daemon.client().call::<GetNode>(&node, &Nothing {}, &Nothing {}).await.unwrap();
                if node.is_alive && node.last_seen.is_some() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        soon(look).await;
    };
    prepare(&daemons[0].client(), "http://127.0.0.1:9".into()).await;
    is_alive(&daemons[1]).await;
    // Who comes later is told as well.
    daemons.extend(start(&etcd, 1));
    beat(&daemons[0]).await;
    is_alive(&daemons[2]).await;
    let mgs = daemons[2].client().call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
    let urls: BTreeSet<String> = mgs.instances.into_iter().filter_map(|instance| instance.url).collect();
    assert_eq!(urls, daemons.iter().map(|daemon| daemon.url.clone()).collect());
    daemons.remove(0).kill();
    is_alive(&daemons[0]).await;
    beat(&daemons[1]).await;
    is_alive(&daemons[0]).await;
}

#[tokio::test]
async fn a_commit_in_the_name_of_a_duty_that_is_lost_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let (engine, _follower) = Engine::start(store, Env::default()).await.unwrap();
    let (sender, mut guards) = tokio::sync::mpsc::unbounded_channel();
    let own = |ownership: Arc<Ownership>| {
        let sender = sender.clone();
        let work = move |guard| {
            sender.send(guard).unwrap();
            std::future::pending()
        };
        tokio::spawn(async move { ownership.run("jobs", work).await })
    };
    let first = own(Ownership::start(&engine));
    let guard = soon(guards.recv()).await.unwrap();
    assert!(make(&engine, guard.clone(), "scratch").await.is_ok(), "as long as it is the owner");
    // Another process opens the store: whoever owned something before is dead.
    first.abort();
    let _second = own(Ownership::start(&engine));
    let newer = soon(guards.recv()).await.unwrap();
    assert_ne!(guard, newer);
    let problem = make(&engine, guard, "other").await.unwrap_err();
    assert!(problem.message.contains("owner/jobs"), "{problem}");
    assert!(engine.state().filesystems.len() == 1, "nothing was changed");
    assert!(make(&engine, newer, "other").await.is_ok());
}

/// Makes a file system in the name of a duty.
async fn make(engine: &Engine, guard: Guard, name: &str) -> Result<(), Problem> {
    let spec = FilesystemSpec { name: name.parse().unwrap(), description: None };
    let put = |state: &State, req: &Request<'_>| put_filesystem(state, req, &spec.name, spec.clone());
    engine.write_as(&Caller::owner(guard), put).await.map(drop)
}
