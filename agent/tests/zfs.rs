//! Targets on ZFS, with the real `zpool` and `zfs`: those of OpenZFS where the kernel has it, else those of zfs-fuse.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentOp, FormatOp, StartOp, StopOp},
    agent_ops::{OpResult, StopForce, TuneOp, TuneResult},
    job::JobState,
};
use node::{MIB, Node, ends_of, op, run};
use std::path::Path;
use testkit::Zfs;

fn on(zfs: &Zfs, svname: &str, dataset: &str, vdevs: &[&Path]) -> FormatOp {
    let vdevs = vdevs.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    FormatOp { vdevs, ..op(svname, Path::new(&zfs.dataset(dataset))) }
}

#[tokio::test]
async fn a_dataset_becomes_a_target_once_and_nothing_on_zfs_is_ever_destroyed() {
    let node = Node::start();
    let zfs = Zfs::start("tank").unwrap();
    let disk = node.image("disk", 512 * MIB);

    let message = node.refused("no-pool", &on(&zfs, "gold-OST0001", "ost1", &[])).await;
    assert!(message.contains(&format!("no pool {}", zfs.pool())) && message.contains("name vdevs"), "{message}");
    let taken = node.image("taken", 128 * MIB);
    run("mke2fs", &["-q", "-F", taken.to_str().unwrap()]);
    let before = ends_of(&taken);
    let message = node.refused("taken", &on(&zfs, "gold-OST0001", "ost1", &[&disk, &taken])).await;
    assert!(message.contains("taken holds ext2"), "{message}");
    assert_eq!(ends_of(&taken), before);
    assert_eq!(node.device(&disk).await.content, "blank");

    let mut wanted = on(&zfs, "gold-OST0001", "ost1", &[&disk]);
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
        assert_eq!(zfs.get("ost1", property).unwrap(), value, "{property}");
    }
    for (property, value) in [("recordsize", "1M"), ("xattr", "sa"), ("dnodesize", "auto")] {
        let is_missing = first.missing_features.iter().any(|missing| missing == property);
        assert!(is_missing || zfs.get("ost1", property).unwrap() == value, "{property}: {first:#?}");
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
        (
            zfs.get("ost1", "lustre:userdata").unwrap().as_str(),
            zfs.get("ost1", "lustre:ost.sync_journal").unwrap().as_str()
        ),
        ("rack 7", "-")
    );

    let another = FormatOp { allow_reformat: true, ..on(&zfs, "gold-OST0002", "ost1", &[]) };
    let message = node.refused("another", &another).await;
    assert!(message.contains("lustre gold-OST0001 (never registered)") && message.contains("zfs destroy"), "{message}");
    zfs.create("home").unwrap();
    let plain = FormatOp { allow_reformat: true, ..on(&zfs, "gold-OST0003", "home", &[]) };
    let message = node.refused("plain", &plain).await;
    assert!(message.contains("holds zfs_dataset"), "{message}");
    assert_eq!(zfs.get("home", "lustre:version").unwrap(), "-");

    // As the first mount leaves it: in service, and its parameters have their own life.
    zfs.set("ost1", "lustre:svname=gold-OST0001").unwrap();
    zfs.set("ost1", "lustre:flags=34").unwrap();
    let registered = node.formatted("registered", &wanted).await;
    assert!(!registered.changed && registered.formatted_as.registered, "{registered:#?}");

    // A dataset below a target inherits what it says, and is none.
    zfs.create("ost1/below").unwrap();
    let below = node.refused("below", &on(&zfs, "gold-OST0004", "ost1/below", &[])).await;
    assert!(below.contains("holds zfs_dataset"), "{below}");
}

#[tokio::test]
async fn a_start_without_lustre_says_so_and_a_stop_has_nothing_to_do() {
    let node = Node::start();
    let zfs = Zfs::start("rest").unwrap();
    let disk = node.image("disk", 512 * MIB);
    let wanted = on(&zfs, "gold-MDT0000", "mdt0", &[&disk]);
    node.formatted("format", &wanted).await;
    let (svname, device) = (wanted.svname.clone(), wanted.device.clone());
    let end = async |id: &str, op: AgentOp| {
        node.put_op(id, &op).await.unwrap();
        node.end_of(id).await
    };
    let start = StartOp { svname: svname.clone(), device: device.clone(), mountpoint: None, pool_of: None };
    let started = end("start", AgentOp::Start(start)).await;
    assert!(started.message.unwrap().contains("has no kernel Lustre"));
    let stop = StopOp {
        svname: svname.clone(),
        device: device.clone(),
        timeout_s: Some(5),
        force: StopForce::Never,
        export_pool: false,
    };
    let stopped = end("stop", AgentOp::Stop(stop)).await;
    assert_eq!((stopped.state, stopped.message.as_deref()), (JobState::Done, Some("gold-MDT0000 is not mounted")));
}

fn tune_op(device: &str) -> TuneOp {
    TuneOp {
        svname: "gold-OST0001".parse().unwrap(),
        device: device.to_owned(),
        expect_uuid: None,
        writeconf: None,
        mgs_nids: None,
        failover_nodes: None,
    }
}

async fn tuned(node: &Node, id: &str, op: TuneOp) -> TuneResult {
    node.put_op(id, &AgentOp::Tune(op)).await.unwrap();
    let job = node.end_of(id).await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    let Some(OpResult::Tuned(result)) = job.result else { panic!("{job:#?}") };
    *result
}

#[tokio::test]
async fn a_target_on_zfs_is_changed_as_tunefs_lustre_changes_it() {
    let node = Node::with_zfs(0xa01);
    let disk = node.image("disk", 300 * MIB);
    let (dataset, vdevs) = ("tank/ost1", vec![disk.to_str().unwrap().to_owned()]);
    let wanted = FormatOp { vdevs, ..op("gold-OST0001", Path::new(dataset)) };
    let uuid = node.formatted("format", &wanted).await.formatted_as.uuid;
    let said = || {
        let names = ["svname", "flags", "mgsnode", "failover.node", "autodegrade"];
        names.map(|name| node.zfs().get(dataset, &format!("lustre:{name}")).unwrap())
    };
    assert_eq!(said(), ["gold:OST0001", "98", "10.9.0.1@tcp", "-", "on"]);

    let partner = vec!["10.9.0.3@tcp,10.8.0.3@tcp1".parse().unwrap()];
    let change = TuneOp {
        expect_uuid: Some(uuid.clone()),
        writeconf: Some(true),
        mgs_nids: Some("10.9.0.7@tcp:10.9.0.8@tcp".parse().unwrap()),
        failover_nodes: Some(partner),
        ..tune_op(dataset)
    };
    let first = tuned(&node, "change", change.clone()).await;
    assert!(first.changed && first.formatted_as.label == "gold=OST0001", "{first:#?}");
    let expected = ["gold=OST0001", "354", "10.9.0.7@tcp:10.9.0.8@tcp", "10.9.0.3@tcp,10.8.0.3@tcp1", "on"];
    assert_eq!(said(), expected);
    let again = tuned(&node, "again", change).await;
    assert!(!again.changed && again.formatted_as == first.formatted_as, "{again:#?}");

    // As its MGS answered: registered; then without partner.
    node.zfs().run("zfs", &["set", "lustre:svname=gold-OST0001", dataset]).unwrap();
    node.zfs().run("zfs", &["set", "lustre:flags=34", dataset]).unwrap();
    let alone = TuneOp { failover_nodes: Some(Vec::new()), ..tune_op(dataset) };
    assert!(tuned(&node, "alone", alone).await.changed);
    assert_eq!(said(), ["gold-OST0001", "66", "10.9.0.7@tcp:10.9.0.8@tcp", "-", "on"], "UPDATE: it tells its MGS");
    assert_eq!(node.zfs().get(dataset, "lustre-agent:changing").unwrap(), "-");

    let refused = async |id: &str, op: TuneOp| {
        node.put_op(id, &AgentOp::Tune(op)).await.unwrap();
        let job = node.end_of(id).await;
        assert_eq!((job.state, job.retryable), (JobState::Failed, false), "{job:#?}");
        job.message.unwrap()
    };
    let other = TuneOp { svname: "gold-OST0002".parse().unwrap(), writeconf: Some(true), ..tune_op(dataset) };
    assert!(refused("other", other).await.contains("holds lustre gold-OST0001 (registered)"));
    let old = TuneOp { expect_uuid: Some("another".into()), writeconf: Some(true), ..tune_op(dataset) };
    assert!(refused("old", old).await.contains("the plan saw another"));

    // What a change leaves that is cut off for good: no start, and the next change makes it whole.
    node.zfs().run("zfs", &["set", "lustre-agent:changing=gold=OST0001", dataset]).unwrap();
    node.zfs().run("zpool", &["export", "tank"]).unwrap();
    let start =
        StartOp { svname: "gold-OST0001".parse().unwrap(), device: dataset.into(), mountpoint: None, pool_of: None };
    node.put_op("start", &AgentOp::Start(start)).await.unwrap();
    let message = node.end_of("start").await.message.unwrap();
    assert!(message.contains("has no kernel Lustre") && message.ends_with("was exported again"), "{message}");
    let writeconf = TuneOp { writeconf: Some(true), ..tune_op(dataset) };
    assert_eq!(tuned(&node, "whole", writeconf).await.formatted_as.label, "gold=OST0001");
    assert_eq!(node.zfs().get(dataset, "lustre-agent:changing").unwrap(), "-", "the pool was imported for it, too");
    assert_eq!(node.zfs().get(dataset, "lustre-agent:uuid").unwrap(), uuid);
}

/// What an agent leaves that is killed between two commands, and what it leaves when it is killed within `zfs create`.
#[tokio::test]
async fn an_unfinished_dataset_is_no_target_and_is_finished_by_the_next_format() {
    let node = Node::start();
    let zfs = Zfs::start("half").unwrap();
    let disk = node.image("disk", 512 * MIB);
    node.formatted("format", &on(&zfs, "gold-OST0000", "ost0", &[&disk])).await;
    zfs.set("ost0", "lustre-agent:unfinished=gold-OST0000 54d9b68a-8fd2-4c17-92a4-bd822b89877e").unwrap();
    let listed = node.targets().await.targets;
    let half = listed.iter().find(|found| found.device.ends_with("/ost0")).unwrap();
    assert!(half.formatted_as.incomplete, "{half:#?}");
    let start = StartOp {
        svname: "gold-OST0000".parse().unwrap(),
        device: half.device.clone(),
        mountpoint: None,
        pool_of: None,
    };
    node.put_op("start", &AgentOp::Start(start)).await.unwrap();
    let message = node.end_of("start").await.message.unwrap();
    assert!(message.contains("(unfinished)") && message.contains("not gold-OST0000"), "{message}");
    let again = node.formatted("again", &on(&zfs, "gold-OST0000", "ost0", &[])).await;
    assert!(again.changed && !again.formatted_as.incomplete, "{again:#?}");
    assert_eq!(zfs.get("ost0", "lustre-agent:unfinished").unwrap(), "-");
}
