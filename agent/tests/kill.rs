//! kill -9 of the agent at every step of what it journals: at each write, sync, program and unmount in turn.
//!
//! After each death the next agent must go on: nothing that was accepted is lost, no format runs twice, and what is half
//! done is never taken for a target.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_agent::observe::Content;
use lustre_api::{
    Time,
    agent::{AgentOp, FormatOp, StartOp, StopOp},
    agent_ops::{MigrateOp, OpResult, RelabelOp, StopForce, TuneOp},
    job::JobState,
};
use node::{MIB, Mount, Node, killed::at_every_step, op, run};
use std::{fs, path::Path};

/// A finished target is sound, and anything else says that it is none.
fn check_is_no_half_target(node: &Node, device: &Path, steps: &[String]) {
    if let Content::Target(found) = node.content(device)
        && !found.incomplete
    {
        assert_eq!(found.label, "gold:OST0001", "{steps:#?}");
        run("e2fsck", &["-fn", device.to_str().unwrap()]);
    }
}

async fn format_killed_at(at: u64, is_mke2fs_killed: bool) -> bool {
    let mut node = Node::dying_at(at);
    let image = node.image("ost", 64 * MIB);
    let mut wanted: FormatOp = op("gold-OST0001", &image);
    wanted.expect_content = Some("blank".into());
    let op = AgentOp::Format(wanted);
    let fate = node.run_armed("job", &op).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    if died {
        if is_mke2fs_killed {
            if node.formats_started() == 0 {
                // As if only the agent had been killed.
                return true;
            }
            node.kill_mke2fs();
        }
        check_is_no_half_target(&node, &image, &steps);
    }
    let job = node.brought_to_its_end("job", &op, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let result = job.formatted.unwrap();
    assert_eq!((result.changed, result.formatted_over.as_str()), (true, "blank"), "{steps:#?}");
    assert!(matches!(node.content(&image), Content::Target(found) if *found == result.formatted_as), "{steps:#?}");
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    let most = if is_mke2fs_killed { 2 } else { 1 };
    assert!((1..=most).contains(&node.formats_started()), "{} formats; {steps:#?}", node.formats_started());
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_goes_on_wherever_its_agent_is_killed_and_mke2fs_runs_once() {
    let deaths = at_every_step(|at| format_killed_at(at, false)).await;
    assert!(deaths > 30, "{deaths}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_goes_on_wherever_everything_on_its_node_is_killed() {
    let deaths = at_every_step(|at| format_killed_at(at, true)).await;
    assert!(deaths > 30, "{deaths}");
}

/// A node whose agent dies at the step `at` of those that start `mke2fs`.
fn dying_at_mke2fs(at: u64) -> Node {
    let mut node = Node::prepared_to_die(None, at);
    let mke2fs = node.path("bin/mke2fs").to_str().unwrap().to_owned();
    node.dies_next_at(Some(&mke2fs), at);
    node.restart();
    node
}

/// The last step of a format that starts `mke2fs`: the format itself runs. Those before ask it what it can do.
async fn last_start_of_mke2fs() -> u64 {
    let mut node = dying_at_mke2fs(u64::MAX);
    let image = node.image("ost", 64 * MIB);
    assert!(node.run_armed("job", &AgentOp::Format(op("gold-OST0001", &image))).await.end.is_some());
    node.steps().len() as u64
}

/// The second agent of a format is killed too, at a step of its own start or of how it goes on; the third must go on.
async fn format_killed_again_at(at: u64, mke2fs_starts_at: u64) -> bool {
    let mut node = dying_at_mke2fs(mke2fs_starts_at);
    let image = node.image("ost", 64 * MIB);
    let op = AgentOp::Format(op("gold-OST0001", &image));
    assert!(node.run_armed("job", &op).await.end.is_none(), "{:#?}", node.steps());
    node.dies_next_at(None, at);
    let fate = node.restart_armed("job").await;
    let steps = node.steps();
    let died = fate.end.is_none();
    if died {
        check_is_no_half_target(&node, &image, &steps);
    }
    let job = node.brought_to_its_end("job", &op, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    assert!(matches!(node.content(&image), Content::Target(found) if *found == job.formatted.unwrap().formatted_as));
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    assert_eq!(node.formats_started(), 1, "{steps:#?}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_goes_on_wherever_the_agent_that_took_it_over_is_killed() {
    let starts_at = last_start_of_mke2fs().await;
    let deaths = at_every_step(move |at| format_killed_again_at(at, starts_at)).await;
    assert!(deaths > 20, "{deaths}");
}

/// The very first start on a node: the journal is made.
async fn first_start_killed_at(at: u64) -> bool {
    let mut node = Node::prepared_to_die(None, at);
    let died = !node.starts_armed();
    let steps = node.steps();
    node.lives_from_now_on();
    let image = node.image("ost", 64 * MIB);
    assert!(node.formatted("job", &op("gold-OST0001", &image)).await.changed, "{steps:#?}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_wherever_it_was_killed_when_it_first_started() {
    let deaths = at_every_step(first_start_killed_at).await;
    assert!(deaths > 5, "{deaths}");
}

async fn writeconf_killed_at(at: u64) -> bool {
    let mut node = Node::dying_at(at);
    let image = node.image("ost", 64 * MIB);
    node.formatted("format", &op("gold-OST0001", &image)).await;
    let before = node.content(&image);
    let change = AgentOp::Tune(TuneOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: image.to_str().unwrap().into(),
        expect_uuid: None,
        writeconf: Some(true),
        mgs_nids: Some("10.9.0.7@tcp".parse().unwrap()),
        failover_nodes: None,
    });
    let fate = node.run_armed("job", &change).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    if died && !steps.iter().any(|step| step.ends_with("pwrite64")) {
        assert_eq!(node.content(&image), before, "{steps:#?}");
    }
    let job = node.brought_to_its_end("job", &change, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let Some(OpResult::Tuned(result)) = job.result else { panic!("{job:#?}") };
    assert!(result.changed, "{steps:#?}");
    assert_eq!((result.formatted_as.label.as_str(), result.formatted_as.flags), ("gold=OST0001", 0x162));
    assert!(matches!(node.content(&image), Content::Target(found) if *found == result.formatted_as), "{steps:#?}");
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writeconf_is_whole_wherever_its_agent_is_killed() {
    let deaths = at_every_step(writeconf_killed_at).await;
    assert!(deaths > 30, "{deaths}");
}

async fn relabel_killed_at(at: u64) -> bool {
    let mut node = Node::dying_at(at);
    let image = node.image("ost", 64 * MIB);
    let uuid = node.formatted("format", &op("gold-OST0001", &image)).await.formatted_as.uuid;
    run("e2label", &[image.to_str().unwrap(), "data1"]);
    let change = AgentOp::Relabel(RelabelOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: image.to_str().unwrap().into(),
        expect_uuid: Some(uuid),
        registered: true,
    });
    let fate = node.run_armed("job", &change).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    let job = node.brought_to_its_end("job", &change, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let Some(OpResult::Tuned(result)) = job.result else { panic!("{job:#?}") };
    assert_eq!((result.changed, result.formatted_as.label.as_str()), (true, "gold-OST0001"), "{steps:#?}");
    assert!(matches!(node.content(&image), Content::Target(found) if *found == result.formatted_as), "{steps:#?}");
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_written_wherever_its_agent_is_killed() {
    let deaths = at_every_step(relabel_killed_at).await;
    assert!(deaths > 20, "{deaths}");
}

fn stop_op(device: &Path) -> AgentOp {
    AgentOp::Stop(StopOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: device.to_str().unwrap().into(),
        timeout_s: Some(20),
        force: StopForce::Never,
        export_pool: false,
    })
}

async fn stop_killed_at(at: u64) -> bool {
    let mut node = Node::dying_at(at);
    let device = node.loop_device("ost", 64 * MIB);
    // This machine's kernel mounts it as ext4, and may be built without quotas.
    let plain = FormatOp { mkfs_options: Some("-O ^quota,^project".into()), ..op("gold-OST0001", &device.0) };
    node.formatted("format", &plain).await;
    let _mounted = Mount::of(&device.0, &node.path("mnt"));
    let stop = stop_op(&device.0);
    let fate = node.run_armed("job", &stop).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    let job = node.brought_to_its_end("job", &stop, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(node.path("mnt").to_str().unwrap()), "{steps:#?}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_carried_out_wherever_its_agent_is_killed() {
    let deaths = at_every_step(stop_killed_at).await;
    assert!(deaths > 20, "{deaths}");
}

async fn start_killed_at(at: u64) -> bool {
    let mut node = Node::prepared_to_die(None, at);
    node.with_lustre_kernel("ext4_mount");
    node.restart();
    let device = node.loop_device("ost", 64 * MIB);
    // This machine's kernel mounts it as ext4, and may be built without quotas.
    let plain = FormatOp { mkfs_options: Some("-O ^quota,^project".into()), ..op("gold-OST0001", &device.0) };
    node.formatted("format", &plain).await;
    let start = AgentOp::Start(StartOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: device.0.to_str().unwrap().into(),
        pool_of: None,
        mountpoint: Some(node.path("mnt").to_str().unwrap().into()),
    });
    let fate = node.run_armed("job", &start).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    let job = node.brought_to_its_end("job", &start, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    assert_eq!(node.mounts().len(), 1, "{steps:#?}");
    let found = node.targets().await.targets.into_iter().find(|target| Path::new(&target.device) == device.0).unwrap();
    assert_eq!(found.mountpoint.as_deref(), node.path("mnt").to_str(), "{steps:#?}");
    let stop = stop_op(&device.0);
    node.put_op("stop", &stop).await.unwrap();
    assert_eq!(node.end_of("stop").await.state, JobState::Done);
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_mounted_once_wherever_the_agent_that_starts_it_is_killed() {
    let deaths = at_every_step(start_killed_at).await;
    assert!(deaths > 15, "{deaths}");
}

async fn migrate_killed_at(at: u64) -> bool {
    let mut node = Node::dying_at(at);
    node.link_program("lfs", "bin/lfs");
    let path = format!("{}:{}", node.path("bin").display(), std::env::var("PATH").unwrap());
    node.set_env("PATH", &path);
    let mount = node.path("mnt");
    fs::create_dir_all(mount.join("ost1")).unwrap();
    fs::write(mount.join(".fsname"), "gold").unwrap();
    for name in ["a", "b", "c"] {
        fs::write(mount.join("ost1").join(name), name).unwrap();
    }
    let batch = AgentOp::Migrate(MigrateOp {
        ost: "gold-OST0001".parse().unwrap(),
        mountpoint: Some(mount.to_str().unwrap().into()),
        max_bytes: u64::MAX,
        max_files: 100,
        rate_bytes_per_s: None,
        not_before: Time::from_unix_ms(0),
        until: Time::from_unix_ms(u64::MAX / 4),
    });
    let fate = node.run_armed("job", &batch).await;
    let steps = node.steps();
    let died = fate.end.is_none();
    for name in ["a", "b", "c"] {
        // A migrate that the dead agent had started would take the next one's file away.
        node.outlast(mount.join("ost1").join(name).to_str().unwrap()).await;
    }
    let job = node.brought_to_its_end("job", &batch, fate).await;
    assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
    let Some(OpResult::Migrated(result)) = job.result else { panic!("{job:#?}") };
    assert!(result.is_pass_complete && result.failed == 0, "{steps:#?}\n{result:#?}");
    for name in ["a", "b", "c"] {
        assert_eq!(fs::read(mount.join("elsewhere").join(name)).unwrap(), name.as_bytes(), "{steps:#?}");
    }
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_an_evacuation_moves_every_file_wherever_its_agent_is_killed() {
    let deaths = at_every_step(migrate_killed_at).await;
    assert!(deaths > 20, "{deaths}");
}
