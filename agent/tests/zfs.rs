//! Targets on ZFS, with the real `zpool` and `zfs`: those of OpenZFS where the kernel has it, else those of zfs-fuse.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentOp, FormatOp, StartOp, StopOp},
    agent_ops::{StopForce, TuneOp},
    job::JobState,
};
use nix::fcntl::{Flock, FlockArg};
use node::{MIB, Node, ends_of, op, run};
use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// ZFS at work, and one pool that is destroyed at the end.
struct Zfs {
    pool: String,
    /// One test at a time: the daemon of the one is that of the next.
    _alone: Flock<File>,
    /// The daemon of zfs-fuse, where this test had to start it.
    daemon: Option<Child>,
}

impl Zfs {
    fn start(name: &str) -> Self {
        let pool = format!("lat{}-{name}", std::process::id());
        let lock = File::create(std::env::temp_dir().join("lustre-agent-zfs-tests")).unwrap();
        let alone = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        if answers() {
            return Self { pool, _alone: alone, daemon: None };
        }
        for dir in ["/var/run/zfs", "/var/lock/zfs"] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let mut daemon = Command::new("zfs-fuse");
        daemon.args(["--no-daemon", "--no-kstat-mount"]).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon =
            daemon.spawn().expect("neither ZFS nor zfs-fuse is there; tools/setup installs it (Debian: zfs-fuse)");
        let zfs = Self { pool, _alone: alone, daemon: Some(daemon) };
        let begun = Instant::now();
        while !answers() {
            assert!(begun.elapsed() < Duration::from_secs(30), "zfs-fuse does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        zfs
    }

    fn op(&self, svname: &str, dataset: &str, vdevs: &[&Path]) -> FormatOp {
        let vdevs = vdevs.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        FormatOp { vdevs, ..op(svname, Path::new(&format!("{}/{dataset}", self.pool))) }
    }

    fn get(&self, dataset: &str, property: &str) -> String {
        let name = format!("{}/{dataset}", self.pool);
        let output = run("zfs", &["get", "-H", "-o", "value", property, &name]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn set(&self, dataset: &str, property: &str) {
        run("zfs", &["set", property, &format!("{}/{dataset}", self.pool)]);
    }
}

fn answers() -> bool {
    let output = Command::new("zpool").args(["list", "-H", "-o", "name"]).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for Zfs {
    fn drop(&mut self) {
        let _ = Command::new("zpool").args(["destroy", "-f", &self.pool]).stderr(Stdio::null()).status();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[tokio::test]
async fn a_dataset_becomes_a_target_once_and_nothing_on_zfs_is_ever_destroyed() {
    let node = Node::start();
    let zfs = Zfs::start("tank");
    let disk = node.image("disk", 512 * MIB);

    let message = node.refused("no-pool", &zfs.op("gold-OST0001", "ost1", &[])).await;
    assert!(message.contains(&format!("no pool {}", zfs.pool)) && message.contains("name vdevs"), "{message}");
    let taken = node.image("taken", 128 * MIB);
    run("mke2fs", &["-q", "-F", taken.to_str().unwrap()]);
    let before = ends_of(&taken);
    let message = node.refused("taken", &zfs.op("gold-OST0001", "ost1", &[&disk, &taken])).await;
    assert!(message.contains("taken holds ext2"), "{message}");
    assert_eq!(ends_of(&taken), before);
    assert_eq!(node.device(&disk).await.content, "blank");

    let mut wanted = zfs.op("gold-OST0001", "ost1", &[&disk]);
    wanted.params = [("ost.sync_journal".to_owned(), "1".to_owned())].into();
    wanted.mkfs_options = Some("-o atime=off".into());
    wanted.expect_content = Some("blank".into());
    let check = node.check(&wanted).await.unwrap();
    assert!(!check.is_same && check.refusals.is_empty() && check.command[..2] == ["zfs", "create"], "{check:#?}");
    let first = node.formatted("first", &wanted).await;
    assert!(first.changed && first.formatted_over == "blank", "{first:#?}");
    assert!(!first.formatted_as.registered && !first.formatted_as.incomplete, "{first:#?}");
    for (property, value) in [
        ("lustre:version", "1"),
        ("lustre:flags", "98"),
        ("lustre:index", "1"),
        ("lustre:fsname", "gold"),
        ("lustre:svname", "gold:OST0001"),
        ("lustre:mgsnode", "10.9.0.1@tcp"),
        ("lustre:autodegrade", "on"),
        ("lustre:ost.sync_journal", "1"),
        ("lustre:mountopts", "-"),
        ("lustre-agent:unfinished", "-"),
        ("canmount", "off"),
        ("atime", "off"),
    ] {
        assert_eq!(zfs.get("ost1", property), value, "{property}");
    }
    for (property, value) in [("recordsize", "1M"), ("xattr", "sa"), ("dnodesize", "auto")] {
        let is_missing = first.missing_features.iter().any(|missing| missing == property);
        assert!(is_missing || zfs.get("ost1", property) == value, "{property}: {first:#?}");
    }

    let second = node.formatted("second", &wanted).await;
    assert!(!second.changed && second.formatted_as.uuid == first.formatted_as.uuid, "{second:#?}");
    assert!(node.check(&wanted).await.unwrap().is_same);
    let listed = node.targets().await.targets.into_iter().find(|found| found.device == wanted.device).unwrap();
    assert_eq!(listed.formatted_as.svname.to_string(), "gold-OST0001");
    let disk_now = node.device(&disk).await;
    assert!(disk_now.content.contains("zfs_member"), "{disk_now:#?}");

    // Never registered, and of the same name: nobody's data is lost.
    let other = FormatOp { comment: Some("rack 7".into()), params: [].into(), expect_content: None, ..wanted.clone() };
    let third = node.formatted("third", &other).await;
    assert!(third.changed && third.formatted_as.uuid != first.formatted_as.uuid, "{third:#?}");
    assert_eq!(
        (zfs.get("ost1", "lustre:userdata").as_str(), zfs.get("ost1", "lustre:ost.sync_journal").as_str()),
        ("rack 7", "-")
    );

    let another = FormatOp { allow_reformat: true, ..zfs.op("gold-OST0002", "ost1", &[]) };
    let message = node.refused("another", &another).await;
    assert!(message.contains("lustre gold-OST0001 (never registered)") && message.contains("zfs destroy"), "{message}");
    run("zfs", &["create", "-o", "canmount=off", &format!("{}/home", zfs.pool)]);
    let plain = FormatOp { allow_reformat: true, ..zfs.op("gold-OST0003", "home", &[]) };
    let message = node.refused("plain", &plain).await;
    assert!(message.contains("holds zfs_dataset"), "{message}");
    assert_eq!(zfs.get("home", "lustre:version"), "-");

    // As the first mount leaves it: in service, and its parameters have their own life.
    zfs.set("ost1", "lustre:svname=gold-OST0001");
    zfs.set("ost1", "lustre:flags=34");
    let registered = node.formatted("registered", &wanted).await;
    assert!(!registered.changed && registered.formatted_as.registered, "{registered:#?}");

    // A dataset below a target inherits what it says, and is none.
    run("zfs", &["create", "-o", "canmount=off", &format!("{}/ost1/below", zfs.pool)]);
    let below = node.refused("below", &zfs.op("gold-OST0004", "ost1/below", &[])).await;
    assert!(below.contains("holds zfs_dataset"), "{below}");
}

#[tokio::test]
async fn what_is_not_done_on_zfs_says_so() {
    let node = Node::start();
    let zfs = Zfs::start("rest");
    let disk = node.image("disk", 512 * MIB);
    let wanted = zfs.op("gold-MDT0000", "mdt0", &[&disk]);
    node.formatted("format", &wanted).await;
    let (svname, device) = (wanted.svname.clone(), wanted.device.clone());
    let end = async |id: &str, op: AgentOp| {
        node.put_op(id, &op).await.unwrap();
        node.end_of(id).await
    };
    let start = StartOp { svname: svname.clone(), device: device.clone(), mountpoint: None };
    let started = end("start", AgentOp::Start(start)).await;
    assert!(started.message.unwrap().contains("has no kernel Lustre"));
    let stop = StopOp { svname: svname.clone(), device: device.clone(), timeout_s: Some(5), force: StopForce::Never };
    let stopped = end("stop", AgentOp::Stop(stop)).await;
    assert_eq!((stopped.state, stopped.message.as_deref()), (JobState::Done, Some("gold-MDT0000 is not mounted")));
    let change =
        TuneOp { svname, device, expect_uuid: None, writeconf: Some(true), mgs_nids: None, failover_nodes: None };
    let tuned = end("tune", AgentOp::Tune(change)).await;
    assert_eq!(tuned.state, JobState::Failed);
    assert!(tuned.message.unwrap().contains("use tunefs.lustre"));
}

#[tokio::test]
async fn a_format_on_zfs_goes_on_when_its_agent_is_killed_between_its_commands() {
    let zfs = Zfs::start("kill");
    // Each third: every command takes some time, and each has a step before and one behind it.
    for at in (1..).step_by(3) {
        let mut node = Node::dying_at_a(Some("zfs"), at);
        let disk = node.image("disk", 512 * MIB);
        let op = AgentOp::Format(zfs.op("gold-OST0001", "ost1", &[&disk]));
        let fate = node.run_armed("job", &op).await;
        let steps = node.steps();
        let died = fate.end.is_none();
        let job = node.brought_to_its_end("job", &op, fate).await;
        assert_eq!(job.state, JobState::Done, "{steps:#?}\n{job:#?}");
        let result = job.formatted.unwrap();
        assert_eq!((result.changed, result.formatted_over.as_str()), (true, "blank"), "{steps:#?}");
        assert_eq!(zfs.get("ost1", "lustre-agent:unfinished"), "-", "{steps:#?}");
        assert_eq!(zfs.get("ost1", "lustre-agent:uuid"), result.formatted_as.uuid, "{steps:#?}");
        run("zpool", &["destroy", "-f", &zfs.pool]);
        if !died {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

/// What an agent leaves that is killed between two commands, and what it leaves when it is killed within `zfs create`.
#[tokio::test]
async fn an_unfinished_dataset_is_no_target_and_is_finished_by_the_next_format() {
    let node = Node::start();
    let zfs = Zfs::start("half");
    let disk = node.image("disk", 512 * MIB);
    node.formatted("format", &zfs.op("gold-OST0000", "ost0", &[&disk])).await;
    zfs.set("ost0", "lustre-agent:unfinished=gold-OST0000 54d9b68a-8fd2-4c17-92a4-bd822b89877e");
    let listed = node.targets().await.targets;
    let half = listed.iter().find(|found| found.device.ends_with("/ost0")).unwrap();
    assert!(half.formatted_as.incomplete, "{half:#?}");
    let start = StartOp { svname: "gold-OST0000".parse().unwrap(), device: half.device.clone(), mountpoint: None };
    node.put_op("start", &AgentOp::Start(start)).await.unwrap();
    let message = node.end_of("start").await.message.unwrap();
    assert!(message.contains("(unfinished)") && message.contains("not gold-OST0000"), "{message}");
    let again = node.formatted("again", &zfs.op("gold-OST0000", "ost0", &[])).await;
    assert!(again.changed && !again.formatted_as.incomplete, "{again:#?}");
    assert_eq!(zfs.get("ost0", "lustre-agent:unfinished"), "-");
}
