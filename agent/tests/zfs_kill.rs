//! kill -9 of the agent at every step of what it does on ZFS: at each write, sync, and before and behind each `zpool` and
//! `zfs`. What these had begun goes on without the agent; the next one must come to the same end.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentOp, FormatOp, StartOp, StopOp},
    agent_ops::{OpResult, StopForce, TuneOp},
    job::JobState,
};
use node::{MIB, Node, killed::at_every_step, op};
use std::{path::Path, sync::Mutex};
use testkit::ZfsNode;

const DATASET: &str = "tank/ost1";

/// ZFSs that no trial uses now: starting one takes longer than a trial.
static SPARE: Mutex<Vec<ZfsNode>> = Mutex::new(Vec::new());

/// Ends them with the test.
struct Spares;

impl Drop for Spares {
    fn drop(&mut self) {
        SPARE.lock().unwrap().clear();
    }
}

fn dying_at(at: u64) -> Node {
    let spare = SPARE.lock().unwrap().pop();
    let mut node = Node::prepared_to_die(None, at);
    node.zfs = Some(spare.unwrap_or_else(|| ZfsNode::start(0xa01).unwrap()));
    node.restart();
    node
}

/// Leaves the node's ZFS to another trial, as it was.
fn spare(mut node: Node) {
    node.kill_agent();
    let zfs = node.zfs.take().unwrap();
    if zfs.has("tank") {
        zfs.run("zpool", &["destroy", "-f", "tank"]).unwrap();
    }
    SPARE.lock().unwrap().push(zfs);
}

fn format_op(node: &Node) -> FormatOp {
    let vdevs = vec![node.image("disk", 300 * MIB).to_str().unwrap().to_owned()];
    FormatOp { vdevs, ..op("gold-OST0001", Path::new(DATASET)) }
}

fn property(node: &Node, name: &str) -> String {
    node.zfs().get(DATASET, name).unwrap()
}

async fn format_killed_at(at: u64) -> bool {
    let mut node = dying_at(at);
    let op = AgentOp::Format(format_op(&node));
    let fate = node.run_armed("job", &op).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    // What the dead agent had begun ends by itself.
    for word in ["tank", DATASET] {
        node.outlast(word).await;
    }
    if died && node.zfs().get(DATASET, "lustre:version").is_ok_and(|version| version == "1") {
        let is_marked = property(&node, "lustre-agent:unfinished") != "-";
        let all = ["flags", "index", "fsname", "mgsnode", "autodegrade", "svname"];
        let is_whole = all.iter().all(|name| property(&node, &format!("lustre:{name}")) != "-");
        assert!(is_marked || is_whole, "half a target that does not say so; {steps:#?}");
    }
    let job = node.brought_to_its_end("job", &op, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let result = job.formatted.unwrap();
    assert_eq!((result.changed, result.formatted_over.as_str()), (true, "blank"), "{steps:#?}");
    assert_eq!(property(&node, "lustre-agent:unfinished"), "-", "{steps:#?}");
    assert_eq!(property(&node, "lustre-agent:uuid"), result.formatted_as.uuid, "{steps:#?}");
    assert_eq!(property(&node, "lustre:svname"), "gold:OST0001", "{steps:#?}");
    spare(node);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_on_zfs_goes_on_wherever_its_agent_is_killed() {
    let _spares = Spares;
    let deaths = at_every_step(format_killed_at).await;
    assert!(deaths > 60, "{deaths}");
}

async fn writeconf_killed_at(at: u64) -> bool {
    let mut node = dying_at(at);
    node.formatted("format", &format_op(&node)).await;
    let change = AgentOp::Tune(TuneOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: DATASET.into(),
        expect_uuid: None,
        writeconf: Some(true),
        mgs_nids: Some("10.9.0.7@tcp".parse().unwrap()),
        failover_nodes: Some(vec!["10.9.0.3@tcp".parse().unwrap()]),
    });
    let said = |node: &Node| {
        ["svname", "flags", "mgsnode", "failover.node"].map(|name| property(node, &format!("lustre:{name}")))
    };
    let before = said(&node);
    let after = ["gold=OST0001", "354", "10.9.0.7@tcp", "10.9.0.3@tcp"];
    let fate = node.run_armed("job", &change).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    node.outlast(DATASET).await;
    if died && said(&node) != before && said(&node) != after {
        assert_ne!(property(&node, "lustre-agent:changing"), "-", "half changed, and does not say so; {steps:#?}");
    }
    let job = node.brought_to_its_end("job", &change, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let Some(OpResult::Tuned(result)) = job.result else { panic!("{job:#?}") };
    assert!(result.changed, "{steps:#?}");
    assert_eq!(said(&node), after, "{steps:#?}");
    assert_eq!(property(&node, "lustre-agent:changing"), "-", "{steps:#?}");
    spare(node);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writeconf_on_zfs_is_whole_wherever_its_agent_is_killed() {
    let _spares = Spares;
    let deaths = at_every_step(writeconf_killed_at).await;
    assert!(deaths > 30, "{deaths}");
}

async fn export_killed_at(at: u64) -> bool {
    let mut node = dying_at(at);
    node.formatted("format", &format_op(&node)).await;
    let stop = AgentOp::Stop(StopOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: DATASET.into(),
        timeout_s: Some(20),
        force: StopForce::Never,
        export_pool: true,
    });
    let fate = node.run_armed("job", &stop).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    let job = node.brought_to_its_end("job", &stop, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    assert!(!node.zfs().has("tank"), "{steps:#?}");
    spare(node);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_exported_behind_a_stop_wherever_the_agent_is_killed() {
    let _spares = Spares;
    let deaths = at_every_step(export_killed_at).await;
    assert!(deaths > 15, "{deaths}");
}

/// There is no kernel Lustre here, so the start comes to nothing, and whoever ends it has to put the pool back.
async fn import_killed_at(at: u64) -> bool {
    let mut node = dying_at(at);
    node.formatted("format", &format_op(&node)).await;
    node.zfs().run("zpool", &["export", "tank"]).unwrap();
    let svname = "gold-OST0001".parse().unwrap();
    let start = AgentOp::Start(StartOp { svname, device: DATASET.into(), mountpoint: None, pool_of: None });
    let fate = node.run_armed("job", &start).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    let job = node.brought_to_its_end("job", &start, fate).await;
    let message = job.message.unwrap();
    assert!(message.contains("has no kernel Lustre"), "{steps:#?}\n{message}");
    assert!(message.ends_with("pool tank, which was imported for it, was exported again"), "{steps:#?}\n{message}");
    assert!(!node.zfs().has("tank"), "{steps:#?}");
    spare(node);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_put_back_behind_a_start_that_comes_to_nothing_wherever_the_agent_is_killed() {
    let _spares = Spares;
    let deaths = at_every_step(import_killed_at).await;
    assert!(deaths > 20, "{deaths}");
}
