//! Targets changed at rest, targets stopped, and files moved off an OST.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_agent::{
    host::{Host, Sysroot, Tools},
    tune::{Rewrite, TuneEnd, tune},
};
use lustre_api::{
    Time,
    agent::{AgentOp, FormatOp, StopOp},
    agent_ops::{FindFilesOp, MigrateOp, OpResult, StopForce, TuneOp},
    job::JobState,
};
use lustre_wire::mountdata::Mountdata;
use node::{LoopDevice, MIB, Mount, Node, op, read_file, run};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn tune_op(svname: &str, device: &Path) -> TuneOp {
    TuneOp {
        svname: svname.parse().unwrap(),
        device: device.to_str().unwrap().into(),
        expect_uuid: None,
        writeconf: None,
        mgs_nids: None,
        failover_nodes: None,
    }
}

/// A target that the kernel of this machine mounts as ext4, for it may be built without quotas.
fn mountable(svname: &str, device: &Path) -> FormatOp {
    FormatOp { mkfs_options: Some("-O ^quota,^project".into()), ..op(svname, device) }
}

fn label(device: &Path) -> String {
    let output = run("e2label", &[device.to_str().unwrap()]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn mountdata(device: &Path) -> Mountdata {
    Mountdata::decode(&read_file(device, "CONFIGS/mountdata")).unwrap()
}

#[tokio::test]
async fn a_writeconf_is_written_once_and_taken_back() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    node.formatted("format", &op("gold-OST0009", &device.0)).await;
    let before = mountdata(&device.0);
    for (id, writeconf, changed, expected) in [
        ("one", true, true, ("gold=OST0009", 0x162)),
        ("two", true, false, ("gold=OST0009", 0x162)),
        ("three", false, true, ("gold-OST0009", 0x062 & !0x100)),
        ("four", false, false, ("gold-OST0009", 0x062 & !0x100)),
    ] {
        let op = TuneOp { writeconf: Some(writeconf), ..tune_op("gold-OST0009", &device.0) };
        node.put_op(id, &AgentOp::Tune(op)).await.unwrap();
        let job = node.end_of(id).await;
        let Some(OpResult::Tuned(result)) = &job.result else { panic!("{job:#?}") };
        assert_eq!((result.changed, result.formatted_as.label.as_str()), (changed, expected.0), "{id}: {job:#?}");
        let file = mountdata(&device.0);
        assert_eq!((label(&device.0).as_str(), file.svname.to_string_lossy().as_str()), (expected.0, expected.0));
        assert_eq!(file.mount_opts, before.mount_opts);
        run("e2fsck", &["-fn", device.0.to_str().unwrap()]);
    }
}

#[tokio::test]
async fn new_nids_are_on_the_disk_and_everything_else_is_as_it_was() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    let mut format = op("gold-OST0001", &device.0);
    format.params = [("sys.timeout".to_owned(), "40".to_owned())].into();
    format.failover_nodes = vec!["10.9.0.3@tcp".parse().unwrap()];
    let uuid = node.formatted("format", &format).await.formatted_as.uuid;
    let moved = TuneOp {
        expect_uuid: Some(uuid),
        mgs_nids: Some("10.9.0.7@tcp:10.9.0.8@tcp".parse().unwrap()),
        failover_nodes: Some(vec!["10.9.0.4@tcp".parse().unwrap(), "10.9.0.5@tcp".parse().unwrap()]),
        ..tune_op("gold-OST0001", &device.0)
    };
    node.put_op("move", &AgentOp::Tune(moved)).await.unwrap();
    assert_eq!(node.end_of("move").await.state, JobState::Done);
    assert_eq!(
        mountdata(&device.0).params.to_string_lossy(),
        " mgsnode=10.9.0.7@tcp:10.9.0.8@tcp failover.node=10.9.0.4@tcp:10.9.0.5@tcp sys.timeout=40"
    );
    assert_eq!(label(&device.0), "gold:OST0001");
}

#[tokio::test]
async fn what_is_in_use_or_is_another_target_is_not_changed() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    node.formatted("format", &mountable("gold-OST0001", &device.0)).await;
    let refused = async |id: &str, op: TuneOp| {
        node.put_op(id, &AgentOp::Tune(TuneOp { writeconf: Some(true), ..op })).await.unwrap();
        let job = node.end_of(id).await;
        assert_eq!((job.state, job.result.is_none()), (JobState::Failed, true), "{job:#?}");
        assert_eq!(label(&device.0), "gold:OST0001");
        job.message.unwrap()
    };
    let other = refused("other", tune_op("gold-OST0002", &device.0)).await;
    assert!(other.contains("holds lustre gold-OST0001") && other.contains("not gold-OST0002"), "{other}");
    let op = TuneOp { expect_uuid: Some("no-such".into()), ..tune_op("gold-OST0001", &device.0) };
    let uuid = refused("uuid", op).await;
    assert!(uuid.contains("the plan saw no-such"), "{uuid}");
    let _mounted = Mount::of(&device.0, &node.path("mnt"));
    let mounted = refused("mounted", tune_op("gold-OST0001", &device.0)).await;
    assert!(mounted.contains("mounted at") && mounted.contains("stop the target first"), "{mounted}");
}

/// The journal of the file system has an older superblock in it: who replays it after the change brings the old label back.
#[tokio::test]
async fn the_change_of_a_target_that_was_cut_off_survives_its_next_mount() {
    let node = Node::start();
    let image = node.path("cut-off");
    {
        let device = node.loop_device("ost", 64 * MIB);
        node.formatted("format", &mountable("gold-OST0001", &device.0)).await;
        let _mounted = Mount::of(&device.0, &node.path("mnt"));
        fs::write(node.path("mnt/file"), "x").unwrap();
        run("sync", &["-f", node.path("mnt/file").to_str().unwrap()]);
        // As the disk is after a power cut.
        run("dd", &[&format!("if={}", device.0.display()), &format!("of={}", image.display()), "bs=1M", "status=none"]);
    }
    let device = LoopDevice::on(&image);
    let features = run("dumpe2fs", &["-h", device.0.to_str().unwrap()]).stdout;
    assert!(String::from_utf8_lossy(&features).contains("needs_recovery"));
    let op = TuneOp { writeconf: Some(true), ..tune_op("gold-OST0001", &device.0) };
    node.put_op("change", &AgentOp::Tune(op)).await.unwrap();
    let job = node.end_of("change").await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    drop(Mount::of(&device.0, &node.path("mnt2")));
    assert_eq!(label(&device.0), "gold=OST0001");
    assert_eq!(mountdata(&device.0).flags.0, 0x162);
}

#[tokio::test]
async fn a_change_that_was_torn_in_the_middle_is_written_again() {
    let node = Node::start();
    let image = node.image("ost", 64 * MIB);
    node.formatted("format", &op("gold-OST0001", &image)).await;
    let root = Sysroot { image_dirs: vec![node.path("images").canonicalize().unwrap()], ..Sysroot::default() };
    let host = Host::new(root, Tools::from_dir(None));
    let op = TuneOp {
        writeconf: Some(true),
        mgs_nids: Some("10.9.0.7@tcp".parse().unwrap()),
        ..tune_op("gold-OST0001", &image)
    };
    let mut told = None;
    let full = tune(&host, &op, None, |rewrite| {
        told = Some(rewrite.clone());
        Err("no space left on device".to_owned())
    });
    let Err(TuneEnd::Failed { message, retryable: true }) = full else { panic!("{full:?}") };
    assert!(message.contains("not touched"), "{message}");
    assert_eq!(label(&image), "gold:OST0001");
    // Half of the new parameters over the old ones: no list at all.
    let rewrite: Rewrite = told.unwrap();
    let device = host.device(&image).unwrap();
    let mut torn = mountdata(&image);
    torn.params.set(" mgsnode=10.9.0.7@t out=").unwrap();
    host.write_mountdata(&device, &torn).unwrap();
    let result = tune(&host, &op, Some(&rewrite), |_| Err("it is journaled already".into())).unwrap();
    assert!(result.changed);
    assert_eq!(mountdata(&image).params.to_string_lossy(), " mgsnode=10.9.0.7@tcp");
    assert_eq!(label(&image), "gold=OST0001");
    let other = Rewrite { uuid: "another".into(), ..rewrite };
    assert!(matches!(tune(&host, &op, Some(&other), |_| Ok(())), Err(TuneEnd::Refused(_))));
}

fn stop_op(svname: &str, device: &Path, timeout_s: u32, force: StopForce) -> AgentOp {
    let device = device.to_str().unwrap().into();
    AgentOp::Stop(StopOp {
        svname: svname.parse().unwrap(),
        device,
        timeout_s: Some(timeout_s),
        force,
        export_pool: false,
    })
}

#[tokio::test]
async fn a_target_in_use_stays_mounted_until_more_is_asked_for() {
    let node = Node::start();
    let device = node.loop_device("ost", 64 * MIB);
    node.formatted("format", &mountable("gold-OST0001", &device.0)).await;
    let _mounted = Mount::of(&device.0, &node.path("mnt"));
    let user = fs::File::create(node.path("mnt/in-use")).unwrap();
    node.put_op("gentle", &stop_op("gold-OST0001", &device.0, 1, StopForce::Never)).await.unwrap();
    let job = node.end_of("gentle").await;
    assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("stays mounted at") && message.contains("fuser -vm"), "{message}");

    node.put_op("cancelled", &stop_op("gold-OST0001", &device.0, 600, StopForce::Never)).await.unwrap();
    node.wait_for("cancelled", |job| job.state == JobState::Running).await;
    let asked = Instant::now();
    node.cancel("cancelled").await;
    assert_eq!(node.end_of("cancelled").await.state, JobState::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(1));

    node.put_op("rough", &stop_op("gold-OST0001", &device.0, 1, StopForce::Lazy)).await.unwrap();
    let job = node.end_of("rough").await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert!(job.message.unwrap().contains("do not start it elsewhere"));
    drop(user);
}

/// With the real `crm_mon` and `crm_resource` on a cluster's configuration in a file.
#[tokio::test]
async fn a_target_that_pacemaker_manages_is_left_to_pacemaker() {
    let mut node = Node::start();
    let [managed, unmanaged] = ["a", "b"].map(|name| node.loop_device(name, 64 * MIB));
    node.formatted("format-a", &mountable("gold-OST0000", &managed.0)).await;
    node.formatted("format-b", &mountable("gold-OST0001", &unmanaged.0)).await;
    let cib = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/cib.xml")).unwrap();
    let cib = cib
        .replace("/dev/disk/by-id/wwn-0x01", managed.0.to_str().unwrap())
        .replace("/dev/disk/by-id/wwn-0x02", unmanaged.0.to_str().unwrap());
    fs::write(node.path("cib.xml"), cib).unwrap();
    let cib = node.path("cib.xml").to_str().unwrap().to_owned();
    node.set_env("CIB_file", &cib);
    let mounts = [(&managed, "mnt-a"), (&unmanaged, "mnt-b")].map(|(device, at)| Mount::of(&device.0, &node.path(at)));
    node.put_op("stop-a", &stop_op("gold-OST0000", &managed.0, 5, StopForce::Lazy)).await.unwrap();
    let job = node.end_of("stop-a").await;
    assert_eq!((job.state, job.retryable), (JobState::Failed, false), "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("Pacemaker manages it as resource gold-OST0000"), "{message}");
    assert!(message.contains("started on oss1") && message.contains("pcs resource unmanage"), "{message}");
    node.put_op("stop-b", &stop_op("gold-OST0001", &unmanaged.0, 5, StopForce::Never)).await.unwrap();
    assert_eq!(node.end_of("stop-b").await.state, JobState::Done);
    drop(mounts);
    let change = TuneOp { writeconf: Some(true), ..tune_op("gold-OST0000", &managed.0) };
    node.put_op("change-a", &AgentOp::Tune(change)).await.unwrap();
    let job = node.end_of("change-a").await;
    assert!(job.message.as_ref().unwrap().contains("Pacemaker manages it"), "{job:#?}");
    assert_eq!(label(&managed.0), "gold:OST0000");
}

/// A client whose files lie in a directory, with a stand-in for `lfs`.
struct FakeClient {
    node: Node,
    mount: PathBuf,
}

impl FakeClient {
    fn start() -> Self {
        let mut node = Node::start();
        let bin = node.path("bin");
        let mount = node.path("mnt");
        fs::create_dir(&bin).unwrap();
        fs::create_dir_all(mount.join("ost1")).unwrap();
        fs::write(mount.join(".fsname"), "gold").unwrap();
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/lfs"), bin.join("lfs")).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        node.set_env("PATH", &path);
        Self { node, mount }
    }

    fn file(&self, name: &str, bytes: usize) {
        fs::write(self.mount.join("ost1").join(name), vec![0; bytes]).unwrap();
    }

    fn batch(&self, max_bytes: u64, max_files: u32) -> MigrateOp {
        MigrateOp {
            ost: "gold-OST0001".parse().unwrap(),
            mountpoint: Some(self.mount.to_str().unwrap().into()),
            max_bytes,
            max_files,
            rate_bytes_per_s: None,
            not_before: Time::from_unix_ms(0),
            until: Time::from_unix_ms(u64::MAX / 4),
        }
    }

    async fn moved(&self, id: &str, op: MigrateOp) -> lustre_api::agent_ops::MigrateResult {
        self.node.put_op(id, &AgentOp::Migrate(op)).await.unwrap();
        let job = self.node.end_of(id).await;
        assert_eq!(job.state, JobState::Done, "{job:#?}");
        let Some(OpResult::Migrated(result)) = job.result else { panic!("{job:#?}") };
        result
    }

    async fn found(&self, id: &str) -> lustre_api::agent_ops::FindFilesResult {
        let mountpoint = Some(self.mount.to_str().unwrap().into());
        let op = FindFilesOp { ost: "gold-OST0001".parse().unwrap(), mountpoint, max_files: 10 };
        self.node.put_op(id, &AgentOp::FindFiles(op)).await.unwrap();
        let job = self.node.end_of(id).await;
        let Some(OpResult::Found(result)) = job.result else { panic!("{job:#?}") };
        result
    }
}

#[tokio::test]
async fn files_are_moved_in_batches_by_one_search_and_failures_are_named() {
    let client = FakeClient::start();
    for name in ["a", "b with blank", "c\nnewline", "d busy", "-e"] {
        client.file(name, 1000);
    }
    let first = client.moved("one", client.batch(u64::MAX, 2)).await;
    assert_eq!((first.files, first.bytes, first.is_pass_complete), (2, 2000, false), "{first:#?}");
    // A limit of bytes ends a batch when it is reached.
    let second = client.moved("two", client.batch(500, 100)).await;
    assert_eq!((second.files, second.is_pass_complete), (1, false), "{second:#?}");
    let third = client.moved("three", client.batch(u64::MAX, 100)).await;
    assert_eq!((third.files, third.failed, third.is_pass_complete), (1, 1, true), "{third:#?}");
    assert!(third.failures[0].path.ends_with("d busy") && third.failures[0].why.contains("resource busy"));
    let asked = fs::read_to_string(client.node.path("bin/asked")).unwrap();
    assert_eq!(asked.lines().filter(|line| line.starts_with("find")).count(), 1);
    let left = client.found("left").await;
    assert_eq!(left.files, 1);
    assert!(left.paths[0].ends_with("d busy"));
    fs::remove_file(client.mount.join("ost1/d busy")).unwrap();
    assert_eq!(client.found("none").await.files, 0);
}

#[tokio::test]
async fn a_directory_that_is_not_the_mount_is_never_called_empty() {
    let client = FakeClient::start();
    client.file("a", 1000);
    let marker = client.mount.join(".fsname");
    let mut ops = vec![AgentOp::Migrate(client.batch(u64::MAX, 10))];
    let mountpoint = Some(client.mount.to_str().unwrap().to_owned());
    let ost = "gold-OST0001".parse().unwrap();
    ops.push(AgentOp::FindFiles(FindFilesOp { ost, mountpoint, max_files: 10 }));
    for (at, other) in [None, Some("silver")].into_iter().enumerate() {
        let _ = fs::remove_file(&marker);
        other.inspect(|name| fs::write(&marker, name).unwrap());
        for (nth, op) in ops.iter().enumerate() {
            let id = format!("job-{at}-{nth}");
            client.node.put_op(&id, op).await.unwrap();
            let job = client.node.end_of(&id).await;
            assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
            let message = job.message.unwrap();
            let says = if other.is_some() { "silver-ffff93af0c638800" } else { "No such device" };
            assert!(message.contains("is not where gold is mounted here") && message.contains(says), "{message}");
        }
    }
    // Unmounted in the middle of a pass.
    fs::write(&marker, "gold").unwrap();
    assert!(!client.moved("first", client.batch(u64::MAX, 1)).await.is_pass_complete);
    fs::remove_file(&marker).unwrap();
    client.node.put_op("rest", &ops[0]).await.unwrap();
    let job = client.node.end_of("rest").await;
    assert_eq!(job.state, JobState::Failed, "{job:#?}");
}

#[tokio::test]
async fn what_the_others_have_no_room_for_is_not_begun_and_a_client_that_is_cut_off_fails_the_batch_and_no_file() {
    let client = FakeClient::start();
    let df = client.node.path("bin/df");
    let full = include_str!("../testdata/lfs-recorded/df-h-full.txt");
    // The recorded file system, with this test's OST in the place of the one that is full.
    fs::write(&df, full.replace("[OST:2]", "[OST:1]").replace("/mnt/testfs[OST:1]\n", "/mnt/testfs[OST:2]\n")).unwrap();
    client.file("a", 10);
    client.node.put_op("full", &AgentOp::Migrate(client.batch(u64::MAX, 10))).await.unwrap();
    let message = client.node.end_of("full").await.message.unwrap();
    assert!(message.contains("gold-OST0001 holds 2089072092774 bytes, and the 5 other OSTs"), "{message}");
    assert!(client.mount.join("ost1/a").exists(), "nothing was begun");
    fs::remove_file(&df).unwrap();
    // One file that is too large for any of the others is its own failure.
    client.file("b large", 10);
    let batch = client.moved("room", client.batch(u64::MAX, 10)).await;
    assert_eq!((batch.files, batch.failed, batch.is_pass_complete), (1, 1, true), "{batch:#?}");
    client.file("a gone", 10);
    client.node.put_op("gone", &AgentOp::Migrate(client.batch(u64::MAX, 10))).await.unwrap();
    let job = client.node.end_of("gone").await;
    assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("a gone") && message.contains("transport endpoint shutdown"), "{message}");
}

#[tokio::test]
async fn a_batch_keeps_its_rate_and_its_time() {
    let client = FakeClient::start();
    for at in 0..8 {
        client.file(&format!("f{at}"), 100_000);
    }
    let begun = Instant::now();
    let op = MigrateOp { rate_bytes_per_s: Some(400_000), ..client.batch(u64::MAX, 5) };
    assert_eq!(client.moved("rate", op).await.files, 5);
    // The fifth begins when the four before have had their second.
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let over = MigrateOp { until: Time::from_unix_ms(1), ..client.batch(u64::MAX, 5) };
    assert_eq!(client.moved("late", over).await.files, 0, "nothing begins behind the end");
}

#[tokio::test]
async fn a_cancelled_batch_ends_within_a_second_and_says_what_was_moved() {
    let client = FakeClient::start();
    client.file("a", 10);
    client.file("b slow", 10);
    client.node.put_op("job", &AgentOp::Migrate(client.batch(u64::MAX, 10))).await.unwrap();
    client.node.wait_for("job", |job| job.progress.as_ref().is_some_and(|progress| progress.done == 10)).await;
    let asked = Instant::now();
    client.node.cancel("job").await;
    let job = client.node.end_of("job").await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert!(job.message.unwrap().starts_with("cancelled; 1 files of 10 bytes were moved before"));
    assert!(client.mount.join("ost1/b slow").exists());
}

#[tokio::test]
async fn a_node_that_is_no_client_says_so() {
    let node = Node::start();
    let op = FindFilesOp { ost: "gold-OST0001".parse().unwrap(), mountpoint: None, max_files: 1 };
    node.put_op("find", &AgentOp::FindFiles(op.clone())).await.unwrap();
    let message = node.end_of("find").await.message.unwrap();
    assert!(message.contains("has not mounted gold"), "{message}");
    let elsewhere = FindFilesOp { mountpoint: Some("/nowhere".into()), ..op };
    node.put_op("lfs", &AgentOp::FindFiles(elsewhere)).await.unwrap();
    let message = node.end_of("lfs").await.message.unwrap();
    assert!(message.contains("install the package lustre-client-utils"), "{message}");
    let mdt = serde_json::from_value(serde_json::json!({"kind": "find_files", "ost": "gold-MDT0000", "max_files": 1}));
    assert!(node.put_op("mdt", &mdt.unwrap()).await.unwrap_err().message.contains("is no OST"));
}
