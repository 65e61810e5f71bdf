//! Formats on image files and loop devices, with the real `mke2fs`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{agent::FormatOp, job::JobState};
use lustre_wire::mountdata::Mountdata;
use node::{LoopDevice, MIB, Node, op, read_file, run};

/// `CONFIGS/mountdata` as `mkfs.lustre` wrote it, from the codec's recordings.
fn recorded(case: &str) -> Vec<u8> {
    let file = format!("{}/../crates/lustre-wire/testdata/mountdata/{case}.hex", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = vec![0; 12288];
    for line in std::fs::read_to_string(file).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let (offset, hex) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
            bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    bytes
}

/// Recording, target, and what differs from a plain one.
type Case<'a> = (&'a str, &'a str, &'a dyn Fn(&mut FormatOp));

#[tokio::test]
async fn a_loop_device_becomes_the_target_that_mkfs_lustre_would_make() {
    let node = Node::start();
    let params = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let cases: [Case<'_>; 6] = [
        ("01-mgs", "MGS", &|op| op.mgs_nids = None),
        ("04-mdt0", "gold-MDT0000", &|_| {}),
        ("06-ost0", "gold-OST0000", &|_| {}),
        ("07-ost-hexindex-0x1f", "gold-OST001f", &|_| {}),
        ("12-ost-failnode-two", "gold-OST0006", &|op| {
            op.failover_nodes = vec!["10.9.0.3@tcp".parse().unwrap(), "10.9.0.4@tcp,10.8.0.4@tcp1".parse().unwrap()];
        }),
        ("16-ost-params", "gold-OST0000", &|op| {
            op.params = params(&[("ost.writethrough_cache_enable", "0"), ("sys.timeout", "40")]);
        }),
    ];
    for (case, svname, change) in cases {
        let device = node.loop_device(case, 300 * MIB);
        let mut op = op(svname, &device.0);
        change(&mut op);
        let result = node.formatted(&format!("format-{}", &case[..2]), &op).await;
        assert!(result.changed && result.formatted_over == "blank", "{case}: {result:#?}");
        assert!(!result.formatted_as.registered && !result.formatted_as.incomplete, "{case}: {result:#?}");
        assert_eq!(read_file(&device.0, "CONFIGS/mountdata"), recorded(case), "{case}");
        let label = run("e2label", &[device.0.to_str().unwrap()]).stdout;
        let file = Mountdata::decode(&recorded(case)).unwrap();
        assert_eq!(String::from_utf8(label).unwrap().trim(), file.svname.to_string_lossy(), "{case}");
        run("e2fsck", &["-fn", device.0.to_str().unwrap()]);
    }
}

#[tokio::test]
async fn a_target_has_the_features_and_the_contents_that_lustre_expects() {
    let node = Node::start();
    let image = node.image("mdt", 300 * MIB);
    let mut op = op("gold-MDT0000", &image);
    op.failover_nodes = vec!["10.9.0.3@tcp".parse().unwrap()];
    let result = node.formatted("mdt", &op).await;
    let path = image.to_str().unwrap();
    let summary = String::from_utf8(run("dumpe2fs", &["-h", path]).stdout).unwrap();
    let features = summary.lines().find(|line| line.starts_with("Filesystem features:")).unwrap();
    for feature in ["has_journal", "extent", "flex_bg", "large_dir", "ea_inode", "quota", "project", "uninit_bg", "mmp"]
    {
        assert!(features.split_whitespace().any(|word| word == feature), "{feature} in {features}");
    }
    // What this e2fsprogs can't do is missing and said to be so; what it can do is there.
    let has_dirdata = features.contains("dirdata");
    assert_eq!(result.missing_features.contains(&"dirdata".to_owned()), !has_dirdata, "{result:#?}");
    assert!(!features.contains("64bit") && !features.contains("metadata_csum"), "{features}");
    assert!(summary.contains("Inode size:	          1024"), "{summary}");
    let listed = String::from_utf8(run("debugfs", &["-R", "ls -l /CONFIGS", path]).stdout).unwrap();
    let mountdata = listed.lines().find(|line| line.ends_with(" mountdata")).unwrap();
    assert!(mountdata.contains("100644") && mountdata.contains(" 0      0   12288 "), "{listed}");
}

#[tokio::test]
async fn formatting_again_changes_nothing_and_another_id_is_no_second_format() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    let mut op = op("gold-OST0000", &image);
    op.expect_content = Some("blank".into());
    let first = node.formatted("first", &op).await;
    assert!(first.changed);
    let again = node.put("first", &op).await.unwrap();
    assert_eq!((again.state, again.formatted.as_ref()), (JobState::Done, Some(&first)), "the same id is the same job");
    let second = node.formatted("second", &op).await;
    assert!(!second.changed, "{second:#?}");
    assert_eq!(second.formatted_as, first.formatted_as);
    let reformat = FormatOp { allow_reformat: true, ..op.clone() };
    assert!(!node.formatted("third", &reformat).await.changed, "allow_reformat is no order to format again");
    assert!(node.check(&op).await.unwrap().is_same);
}

#[tokio::test]
async fn one_id_is_one_operation_and_one_device_has_one_job() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("one", &op("gold-OST0000", &image)).await;
    let problem = node.put("one", &op("gold-OST0001", &image)).await.unwrap_err();
    assert_eq!(problem.code, lustre_api::ProblemCode::Conflict);
    assert!(problem.message.contains("job one"), "{problem}");
}

#[tokio::test]
async fn a_target_that_was_never_registered_is_made_again_with_other_parameters() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    let first = node.formatted("first", &op("gold-OST0000", &image)).await;
    let mut other = op("gold-OST0000", &image);
    other.comment = Some("rack 7".into());
    let second = node.formatted("second", &other).await;
    assert!(second.changed && second.formatted_as.uuid != first.formatted_as.uuid, "{second:#?}");
    assert_eq!(second.formatted_as.comment, "rack 7");
    assert!(second.formatted_over.starts_with("lustre gold-OST0000 (never registered)"), "{second:#?}");
}

#[tokio::test]
async fn options_of_the_administrator_reach_mke2fs_and_wrong_ones_are_refused_at_once() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    let mut op = op("gold-OST0000", &image);
    op.mkfs_options = Some("-m 1 -E stride=16,stripe_width=64".into());
    node.formatted("options", &op).await;
    let summary = String::from_utf8(run("dumpe2fs", &["-h", image.to_str().unwrap()]).stdout).unwrap();
    assert!(summary.contains("RAID stride:              16"), "{summary}");
    op.mkfs_options = Some("-F /dev/vda".into());
    let problem = node.put("wrong", &op).await.unwrap_err();
    assert_eq!((problem.code, problem.attribute.as_deref()), (lustre_api::ProblemCode::Invalid, Some("mkfs_options")));
}

#[tokio::test]
async fn targets_are_found_on_image_files_and_loop_devices() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("image", &op("gold-OST0000", &image)).await;
    let device = node.loop_device("disk", 300 * MIB);
    node.formatted("loop", &op("gold-OST0001", &device.0)).await;
    let targets = node.targets().await.targets;
    let found = |path: &std::path::Path| targets.iter().find(|found| found.device == path.to_str().unwrap()).unwrap();
    assert_eq!(found(&image).formatted_as.svname.to_string(), "gold-OST0000");
    assert_eq!(found(&device.0).formatted_as.label, "gold:OST0001");
    assert_eq!(node.device(&image).await.formatted_as.unwrap().index.unwrap().get(), 0);
    // The same disk under its other name is the same disk, and one user of it.
    let behind = LoopDevice::on(&image);
    let message = node.refused("behind", &op("gold-OST0007", &image)).await;
    assert!(message.contains(behind.0.to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn several_formats_at_once_on_loop_devices_do_not_disturb_each_other() {
    let node = Node::start();
    let devices: Vec<LoopDevice> = (0..4).map(|n| node.loop_device(&format!("disk{n}"), 64 * MIB)).collect();
    for round in 0..8 {
        let ids: Vec<String> = (0..devices.len()).map(|n| format!("job-{round}-{n}")).collect();
        for (n, id) in ids.iter().enumerate() {
            let comment = Some(format!("round {round}"));
            node.put(id, &FormatOp { comment, ..op(&format!("gold-OST{n:04x}"), &devices[n].0) }).await.unwrap();
        }
        for id in &ids {
            let job = node.end_of(id).await;
            assert_eq!(job.state, JobState::Done, "{job:#?}");
        }
    }
}
