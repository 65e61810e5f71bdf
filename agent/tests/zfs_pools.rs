//! Pools that come and go with their targets, on nodes that share a disk and have a ZFS and a host id each: zfs-fuse in a
//! mount namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentJob, AgentOp, FormatOp, PoolUser, StartOp, StopOp},
    agent_ops::StopForce,
    job::JobState,
};
use node::{MIB, Node, op};
use std::path::Path;

const DATASET: &str = "tank/ost1";

/// Makes `gold-OST0001` in a pool of its own on a disk of the node.
async fn make_target(node: &Node) {
    let disk = node.image("disk", 300 * MIB);
    let vdevs = vec![disk.to_str().unwrap().to_owned()];
    node.formatted("format", &FormatOp { vdevs, ..op("gold-OST0001", Path::new(DATASET)) }).await;
}

/// Connects a node's disk to another node.
fn share(from: &Node, to: &Node) {
    std::fs::hard_link(from.path("images/disk"), to.path("images/disk")).unwrap();
}

fn start_op(pool_of: Option<(&str, &str)>) -> AgentOp {
    let pool_of = pool_of.map(|(node, hostid)| PoolUser { node: node.parse().unwrap(), hostid: hostid.to_owned() });
    let svname = "gold-OST0001".parse().unwrap();
    AgentOp::Start(StartOp { svname, device: DATASET.into(), mountpoint: None, pool_of })
}

fn stop_op() -> AgentOp {
    let svname = "gold-OST0001".parse().unwrap();
    let (timeout_s, force) = (Some(5), StopForce::Never);
    AgentOp::Stop(StopOp { svname, device: DATASET.into(), timeout_s, force, export_pool: true })
}

async fn end(node: &Node, id: &str, op: &AgentOp) -> AgentJob {
    node.put_op(id, op).await.unwrap();
    node.end_of(id).await
}

/// These nodes have no kernel Lustre, so a start gets as far as the import, and puts the pool back.
async fn imports_and_puts_back(node: &Node, id: &str, op: &AgentOp) {
    let job = end(node, id, op).await;
    let message = job.message.as_deref().unwrap();
    assert!(message.contains("has no kernel Lustre"), "{message}");
    assert!(message.ends_with("pool tank, which was imported for it, was exported again"), "{message}");
    assert!(!node.zfs().has("tank"));
}

#[tokio::test]
async fn a_stop_that_exports_and_a_start_that_imports_take_a_pool_from_node_to_node() {
    let [one, two] = [0xa01, 0xb02].map(Node::with_zfs);
    make_target(&one).await;
    share(&one, &two);
    assert_eq!(one.inventory().await.info.hostid.as_deref(), Some("00000a01"));

    let job = end(&one, "stop", &stop_op()).await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert_eq!(job.message.as_deref(), Some("gold-OST0001 is not mounted; pool tank was exported"));
    assert!(!one.zfs().has("tank"));
    let job = end(&one, "again", &stop_op()).await;
    assert_eq!(job.message.as_deref(), Some("gold-OST0001 is not mounted; pool tank was not imported here"));

    imports_and_puts_back(&two, "start", &start_op(None)).await;
    imports_and_puts_back(&one, "back", &start_op(None)).await;
    std::fs::remove_file(two.path("images/disk")).unwrap();
    let job = end(&two, "no-disk", &start_op(None)).await;
    assert!(job.retryable && job.message.as_ref().unwrap().contains("sees no pool tank"), "{job:#?}");
}

#[tokio::test]
async fn a_pool_that_another_node_left_imported_is_taken_from_none_but_the_one_that_is_off() {
    let (mut one, two) = (Node::with_zfs(0xa01), Node::with_zfs(0xb02));
    make_target(&one).await;
    share(&one, &two);
    let refused = end(&two, "plain", &start_op(None)).await;
    let message = refused.message.as_deref().unwrap();
    assert!(!refused.retryable && message.contains("was used by another node last"), "{message}");
    assert!(message.contains("hostid: 0xa01") && message.contains("--node-is-down"), "{message}");
    let refused = end(&two, "another", &start_op(Some(("oss9", "00000c03")))).await;
    let message = refused.message.as_deref().unwrap();
    assert!(message.contains("oss9 is said to be switched off, and its host id is 00000c03"), "{message}");
    assert!(!two.zfs().has("tank"), "{message}");

    one.kill_agent();
    one.zfs.as_mut().unwrap().crash().unwrap();
    imports_and_puts_back(&two, "down", &start_op(Some(("oss1", "00000a01")))).await;
    // Switched on again, it finds a pool that nobody has.
    one.zfs.as_mut().unwrap().restart().unwrap();
    one.restart();
    assert!(!one.zfs().has("tank"), "nothing is imported when a node starts");
    imports_and_puts_back(&one, "home", &start_op(None)).await;
}

#[tokio::test]
async fn a_node_that_comes_back_does_not_take_the_pool_of_the_one_that_took_over() {
    let (mut one, two) = (Node::with_zfs(0xa01), Node::with_zfs(0xb02));
    make_target(&one).await;
    share(&one, &two);
    one.kill_agent();
    one.zfs.as_mut().unwrap().crash().unwrap();
    two.zfs().run("zpool", &["import", "-f", "-d", two.path("images").to_str().unwrap(), "tank"]).unwrap();
    one.zfs.as_mut().unwrap().restart().unwrap();
    one.restart();
    let refused = end(&one, "start", &start_op(None)).await;
    let message = refused.message.as_deref().unwrap();
    assert!(message.contains("hostid: 0xb02") && message.contains("mgsctl target move"), "{message}");
    assert!(!one.zfs().has("tank"));
}

#[tokio::test]
async fn a_node_without_a_host_id_imports_nothing() {
    let (one, two) = (Node::with_zfs(0xa01), Node::with_zfs(0));
    make_target(&one).await;
    share(&one, &two);
    end(&one, "stop", &stop_op()).await;
    assert_eq!(two.inventory().await.info.hostid, None);
    let refused = end(&two, "start", &start_op(None)).await;
    let message = refused.message.as_deref().unwrap();
    assert!(!refused.retryable && message.contains("zgenhostid"), "{message}");
    assert!(!two.zfs().has("tank"));
}

#[tokio::test]
async fn a_pool_with_anything_else_in_use_stays_and_its_target_is_not_even_stopped() {
    let node = Node::with_zfs(0xa01);
    make_target(&node).await;
    let home = node.path("home");
    let mountpoint = format!("mountpoint={}", home.display());
    node.zfs().run("zfs", &["create", "-o", &mountpoint, "tank/home"]).unwrap();
    let refused = end(&node, "busy", &stop_op()).await;
    let message = refused.message.as_deref().unwrap();
    assert_eq!(refused.state, JobState::Failed, "{message}");
    let expected = format!(
        "gold-OST0001 was not stopped: pool tank of gold-OST0001 can't leave this node: tank/home is mounted at {}",
        home.display()
    );
    assert!(message.starts_with(&expected), "{message}");
    assert!(node.zfs().has("tank"));
    node.zfs().run("zfs", &["unmount", "tank/home"]).unwrap();
    let job = end(&node, "free", &stop_op()).await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert!(!node.zfs().has("tank"));
    let wrong = AgentOp::Stop(StopOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: "/dev/sdb".into(),
        timeout_s: None,
        force: StopForce::Never,
        export_pool: true,
    });
    let refused = end(&node, "wrong", &wrong).await;
    assert!(refused.message.unwrap().contains("no pool to export"));
}

/// A node whose `zpool` and `zfs` can be held at their ends.
fn with_held_programs() -> Node {
    let mut node = Node::with_zfs(0xa01);
    std::fs::create_dir(node.path("bin")).unwrap();
    for program in ["zpool", "zfs"] {
        node.link_program("held", &format!("bin/{program}"));
    }
    let path = format!("{}:{}", node.path("bin").display(), std::env::var("PATH").unwrap());
    node.set_env("PATH", &path);
    node
}

/// Cancels a job behind the first command of these that it runs; gives its end.
async fn cancelled_behind(node: &Node, program: &str, command: &str, id: &str, op: &AgentOp) -> AgentJob {
    let (hold, held) = (node.path(&format!("bin/{program}.hold")), node.path(&format!("bin/{program}.held")));
    std::fs::write(&hold, command).unwrap();
    node.put_op(id, op).await.unwrap();
    let begun = std::time::Instant::now();
    while !held.exists() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{program} {command} was never run");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    node.cancel(id).await;
    assert_eq!(node.job(id).await.state, JobState::Cancelling, "the command under way is waited for");
    std::fs::remove_file(&hold).unwrap();
    std::fs::remove_file(&held).unwrap();
    let job = node.end_of(id).await;
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    job
}

#[tokio::test]
async fn a_format_on_zfs_is_cancelled_between_two_commands_and_the_next_one_makes_the_target() {
    let node = with_held_programs();
    let disk = node.image("disk", 300 * MIB);
    let vdevs = vec![disk.to_str().unwrap().to_owned()];
    let op = AgentOp::Format(FormatOp { vdevs, ..op("gold-OST0001", Path::new(DATASET)) });
    // `zpool create` is never cut off: the pool is whole, and nothing is in it.
    let message = cancelled_behind(&node, "zpool", "create", "one", &op).await.message.unwrap();
    assert!(
        message.starts_with("cancelled; tank/ost1 is no target") && message.contains("formatted again"),
        "{message}"
    );
    assert!(node.zfs().has("tank"));
    assert!(node.targets().await.targets.is_empty());
    assert!(node.zfs().get(DATASET, "type").is_err(), "no such dataset");

    let message = cancelled_behind(&node, "zfs", "set", "two", &op).await.message.unwrap();
    assert!(message.contains("lustre-agent:unfinished"), "{message}");
    let found = node.device(Path::new(DATASET)).await;
    assert!(found.content.starts_with("lustre gold-OST0001 (unfinished)") && found.refusals.is_empty(), "{found:#?}");
    assert!(node.targets().await.targets.iter().all(|target| target.formatted_as.incomplete));

    let job = end(&node, "three", &op).await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert!(job.formatted.unwrap().changed);
    assert_eq!(node.zfs().get(DATASET, "lustre:svname").unwrap(), "gold:OST0001");
    assert_eq!(node.zfs().get(DATASET, "lustre-agent:unfinished").unwrap(), "-");
}

#[tokio::test]
async fn a_cancel_between_import_and_start_puts_the_pool_back() {
    let node = with_held_programs();
    make_target(&node).await;
    end(&node, "stop", &stop_op()).await;
    let message = cancelled_behind(&node, "zpool", "import", "start", &start_op(None)).await.message.unwrap();
    assert_eq!(message, "cancelled before it began; pool tank, which was imported for it, was exported again");
    assert!(!node.zfs().has("tank"));
}

#[tokio::test]
async fn a_pool_that_another_job_works_in_stays() {
    let node = with_held_programs();
    make_target(&node).await;
    std::fs::write(node.path("bin/zfs.hold"), "create").unwrap();
    let other = AgentOp::Format(op("gold-OST0002", Path::new("tank/ost2")));
    node.put_op("other", &other).await.unwrap();
    node.wait_for("other", |_| node.path("bin/zfs.held").exists()).await;
    let refused = end(&node, "stop", &stop_op()).await;
    let message = refused.message.unwrap();
    assert!(message.contains("job other is at work on tank/ost2"), "{message}");
    std::fs::remove_file(node.path("bin/zfs.hold")).unwrap();
    assert_eq!(node.end_of("other").await.state, JobState::Done);
}
