//! The daemon and an agent, each over HTTP: a job goes on when the daemon is killed in the middle of it.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod cluster;
mod process;

use std::sync::Arc;

use cluster::served::{end_of, prepare, serve, slow_node};
use cluster::{Nodes, ensure};
use lustre_api::job::{JobPath, JobState};
use lustre_api::mgs::{GetSnapshot, SnapshotQuery};
use lustre_api::node::{Heartbeat, NodePath};
use lustre_api::target::{GetTarget, PostTarget, TargetPath, TargetState};
use lustre_api::{Nothing, WriteQuery};
use process::Daemon;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_after_kill_9_of_the_daemon_and_nothing_runs_twice() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("mgs.redb");
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    let (nodes, _stop) = slow_node(&client).await;
    let written = client.call::<PostTarget>(&Nothing {}, &WriteQuery::default(), &ensure("/dev/sdb")).await.unwrap();
    let job = JobPath { id: written.job.unwrap() };
    nodes.has_job().await;
    daemon.kill();
    for _ in 0..2 {
        Daemon::start(&store).kill();
    }
    let daemon = Daemon::start(&store);
    nodes.finish();
    let client = daemon.client();
    assert_eq!(end_of(&client, &job).await.state, JobState::Done);
    assert_eq!(nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
    let path = TargetPath { svname: "scratch-OST0000".parse().unwrap() };
    let target = client.call::<GetTarget>(&path, &Nothing {}, &Nothing {}).await.unwrap();
    assert_eq!(target.state, TargetState::Registered);
    let again = client.call::<PostTarget>(&Nothing {}, &WriteQuery::default(), &ensure("/dev/sdb")).await.unwrap();
    assert_eq!((again.changed, again.job), (false, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_alive_while_it_is_heard_of_and_its_devices_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("mgs.redb");
    let (agent, stop) = serve(Arc::new(Nodes::default())).await;
    let daemon = Daemon::start(&store);
    prepare(&daemon.client(), agent).await;
    drop(daemon);
    let daemon = Daemon::start(&store);
    let client = daemon.client();
    let query = SnapshotQuery { devices: true, ..SnapshotQuery::default() };
    let node = client.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await.unwrap().nodes.remove(0);
    assert!(!node.node.is_alive && node.node.last_seen.is_none(), "not heard of since the restart");
    assert!(node.inventory.is_some(), "and asked all the same");
    let path = NodePath { node: "oss1".parse().unwrap() };
    client.call::<Heartbeat>(&path, &Nothing {}, &Nothing {}).await.unwrap();
    stop.send(true).unwrap();
    let node = client.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await.unwrap().nodes.remove(0);
    assert!(node.node.is_alive);
    assert!(node.unreachable.unwrap().contains("http://127.0.0.1:"), "says which agent does not answer");
    let unknown = NodePath { node: "oss9".parse().unwrap() };
    let problem = client.call::<Heartbeat>(&unknown, &Nothing {}, &Nothing {}).await.unwrap_err();
    assert!(
        matches!(problem, rest::ClientError::Problem(problem) if problem.code == lustre_api::ProblemCode::NotFound)
    );
}
