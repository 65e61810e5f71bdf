//! Labels written as they should be, on real file systems.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentJob, AgentOp, FormatOp},
    agent_ops::{OpResult, RelabelOp, TuneOp},
    job::JobState,
};
use lustre_wire::mountdata::Mountdata;
use node::{MIB, Mount, Node, op, read_file, run};
use std::path::Path;

fn relabel_op(svname: &str, device: &Path, uuid: Option<&str>, registered: bool) -> RelabelOp {
    let device = device.to_str().unwrap().into();
    RelabelOp { svname: svname.parse().unwrap(), device, expect_uuid: uuid.map(str::to_owned), registered }
}

/// A target that the kernel of this machine mounts as ext4, for it may be built without quotas.
fn mountable(svname: &str, device: &Path) -> FormatOp {
    FormatOp { mkfs_options: Some("-O ^quota,^project".into()), ..op(svname, device) }
}

fn label(device: &Path) -> String {
    String::from_utf8(run("e2label", &[device.to_str().unwrap()]).stdout).unwrap().trim().to_owned()
}

fn mountdata(device: &Path) -> Mountdata {
    Mountdata::decode(&read_file(device, "CONFIGS/mountdata")).unwrap()
}

async fn relabelled(node: &Node, id: &str, op: RelabelOp) -> AgentJob {
    node.put_op(id, &AgentOp::Relabel(op)).await.unwrap();
    node.end_of(id).await
}

#[tokio::test]
async fn a_label_that_was_lost_or_left_comes_back_and_a_second_time_changes_nothing() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    let path = device.0.to_str().unwrap();
    let uuid = node.formatted("format", &op("gold-OST0001", &device.0)).await.formatted_as.uuid;
    let before = mountdata(&device.0);
    for (at, (was, registered, expected)) in [
        ("data1", true, "gold-OST0001"),
        ("", true, "gold-OST0001"),
        ("gold=OST0001", true, "gold-OST0001"),
        ("gold+OST0001", true, "gold-OST0001"),
        ("gold:OST0001", true, "gold-OST0001"),
        // Renamed by hand; mountdata and UUID say who it is.
        ("gold-OST0009", true, "gold-OST0001"),
        ("gold-OST0001", false, "gold:OST0001"),
        ("data1", false, "gold:OST0001"),
    ]
    .into_iter()
    .enumerate()
    {
        run("e2label", &[path, was]);
        let op = relabel_op("gold-OST0001", &device.0, Some(&uuid), registered);
        let job = relabelled(&node, &format!("job-{at}"), op.clone()).await;
        let Some(OpResult::Tuned(result)) = &job.result else { panic!("{was}: {job:#?}") };
        assert_eq!((result.changed, result.formatted_as.label.as_str()), (true, expected), "{was}");
        assert_eq!(label(&device.0), expected, "{was}");
        let file = mountdata(&device.0);
        assert_eq!(
            (&file.params, &file.mount_opts, file.svindex),
            (&before.params, &before.mount_opts, before.svindex)
        );
        let job = relabelled(&node, &format!("again-{at}"), op).await;
        let Some(OpResult::Tuned(result)) = &job.result else { panic!("{was}: {job:#?}") };
        assert!(!result.changed, "{was}: {job:#?}");
        run("e2fsck", &["-fn", path]);
    }
    // What it says now, a start believes.
    assert!(!node.device(&device.0).await.formatted_as.unwrap().incomplete);
}

#[tokio::test]
async fn the_mark_of_a_writeconf_is_taken_back_as_tunefs_would() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    node.formatted("format", &op("gold-OST0001", &device.0)).await;
    let tune = |writeconf| TuneOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: device.0.to_str().unwrap().into(),
        expect_uuid: None,
        writeconf: Some(writeconf),
        mgs_nids: None,
        failover_nodes: None,
    };
    for (id, writeconf) in [("mark", true), ("unmark", false)] {
        node.put_op(id, &AgentOp::Tune(tune(writeconf))).await.unwrap();
        node.end_of(id).await;
    }
    let expected = mountdata(&device.0);
    node.put_op("mark-again", &AgentOp::Tune(tune(true))).await.unwrap();
    node.end_of("mark-again").await;
    let job = relabelled(&node, "relabel", relabel_op("gold-OST0001", &device.0, None, true)).await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert_eq!(mountdata(&device.0), expected);
}

#[tokio::test]
async fn another_target_another_disk_a_mounted_one_and_what_is_no_target_are_left_alone() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    let path = device.0.to_str().unwrap();
    let uuid = node.formatted("format", &mountable("gold-OST0001", &device.0)).await.formatted_as.uuid;
    let refused = async |id: &str, op: RelabelOp, was: &str, part: &str| {
        let job = relabelled(&node, id, op).await;
        let message = job.message.unwrap_or_default();
        assert_eq!((job.state, label(&device.0).as_str()), (JobState::Failed, was), "{message}");
        assert!(message.contains("was not changed") && message.contains(part), "{part} in {message}");
    };
    run("e2label", &[path, "data1"]);
    let other = relabel_op("gold-OST0002", &device.0, Some(&uuid), true);
    refused("other", other, "data1", "says that it is gold-OST0001, not gold-OST0002").await;
    let own = |uuid| relabel_op("gold-OST0001", &device.0, uuid, true);
    refused("disk", own(Some("no-such")), "data1", "was made with no-such").await;
    run("e2label", &[path, "gold-OST0009"]);
    refused("named", own(None), "gold-OST0009", "nobody knows the UUID of gold-OST0001").await;
    run("e2label", &[path, "data1"]);
    {
        let _mounted = Mount::of(&device.0, &node.path("mnt"));
        refused("mounted", own(Some(&uuid)), "data1", "stop the target first").await;
    }
    run("debugfs", &["-w", "-R", "rm CONFIGS/mountdata", path]);
    refused("no-target", own(Some(&uuid)), "data1", "no target of Lustre").await;
}
