//! What is never formatted, or not without saying so: every case on a real device or image.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_agent::{
    format::guard,
    host::{
        Host, Sysroot, Tools,
        lock::{self, DeviceLock},
    },
};
use lustre_api::{agent::FormatOp, device::RefusalCode};
use node::{LoopDevice, MIB, Mount, Node, ends_of, op, run};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// A version 1.2 superblock of Linux MD, as mdadm lays it out: this kernel may have no md to make a real one with.
fn write_md_superblock(image: &Path) {
    let mut block = [0u8; 256];
    block[0..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4..8].copy_from_slice(&1u32.to_le_bytes());
    block[16..32].copy_from_slice(&[7; 16]);
    block[32..36].copy_from_slice(b"md:0");
    block[72..76].copy_from_slice(&1u32.to_le_bytes());
    block[80..88].copy_from_slice(&2048u64.to_le_bytes());
    block[144..152].copy_from_slice(&8u64.to_le_bytes());
    let sum: u64 = block.chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    let checksum = (sum & 0xFFFF_FFFF) + (sum >> 32);
    block[216..220].copy_from_slice(&u32::try_from(checksum & 0xFFFF_FFFF).unwrap().to_le_bytes());
    OpenOptions::new().write(true).open(image).unwrap().write_all_at(&block, 4096).unwrap();
}

/// Name, signature to be found, and how it is made.
type Case<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));

#[tokio::test]
async fn every_foreign_signature_is_refused_by_name_and_left_untouched() {
    let node = Node::start();
    let cases: [Case<'_>; 8] = [
        ("ext4", "ext4", &|image| drop(run("mke2fs", &["-q", "-t", "ext4", "-L", "home", image.to_str().unwrap()]))),
        ("xfs", "xfs", &|image| drop(run("mkfs.xfs", &["-q", image.to_str().unwrap()]))),
        ("lvm", "LVM2_member", &|image| {
            let device = LoopDevice::on(image);
            run("pvcreate", &["-ff", "-y", "-q", device.0.to_str().unwrap()]);
        }),
        ("md", "linux_raid_member", &write_md_superblock),
        ("gpt", "gpt", &|image| drop(run("sgdisk", &["-n", "1:0:0", image.to_str().unwrap()]))),
        ("swap", "swap", &|image| drop(run("mkswap", &[image.to_str().unwrap()]))),
        ("zfs", "zfs_member", &|image| {
            let file = OpenOptions::new().write(true).open(image).unwrap();
            file.write_all_at(&0x00ba_b10c_u64.to_le_bytes(), (128 << 10) + 1024).unwrap();
        }),
        ("data", "data", &|image| {
            OpenOptions::new().write(true).open(image).unwrap().write_all_at(b"precious", 4242).unwrap();
        }),
    ];
    for (name, kind, make) in cases {
        let image = node.image(name, 400 * MIB);
        make(&image);
        let before = ends_of(&image);
        let message = node.refused(&format!("refuse-{name}"), &op("gold-OST0000", &image)).await;
        assert!(message.contains(kind) && message.contains(image.to_str().unwrap()), "{name}: {message}");
        assert!(message.contains("allow_reformat"), "{name}: the remedy is missing in {message}");
        assert_eq!(ends_of(&image), before, "{name} was touched");
        let device = node.device(&image).await;
        assert!(device.signatures.iter().any(|signature| signature.kind == kind), "{name}: {device:#?}");
        assert_eq!(device.refusals[0].code, RefusalCode::ForeignData, "{name}: {device:#?}");
    }
}

#[tokio::test]
async fn what_is_lost_is_lost_completely_once_that_is_allowed() {
    let node = Node::start();
    for (name, make) in [
        ("gpt", &(|image: &Path| drop(run("sgdisk", &["-n", "1:0:0", image.to_str().unwrap()]))) as &dyn Fn(&Path)),
        ("md", &write_md_superblock),
    ] {
        let image = node.image(name, 400 * MIB);
        make(&image);
        let content = node.device(&image).await.content;
        let op = FormatOp {
            allow_reformat: true,
            expect_content: Some(content.clone()),
            mkfs_options: Some("-E nodiscard".into()),
            ..op("gold-OST0000", &image)
        };
        let result = node.formatted(&format!("over-{name}"), &op).await;
        assert_eq!(result.formatted_over, content);
        // Nothing of the old is recognised next to the new, also at the end of the device and without discard.
        let device = node.device(&image).await;
        assert_eq!(device.signatures.iter().map(|found| found.kind.as_str()).collect::<Vec<_>>(), ["ext4"], "{name}");
    }
}

#[tokio::test]
async fn another_target_is_refused_registered_or_not() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    node.formatted("first", &op("gold-OST0000", &image)).await;
    for other in ["gold-OST0001", "other-OST0000", "gold-MDT0000"] {
        let message = node.refused(&format!("as-{}", other.to_lowercase()), &op(other, &image)).await;
        assert!(message.contains("never registered target gold-OST0000"), "{message}");
    }
    run("e2label", &[image.to_str().unwrap(), "gold-OST0000"]);
    let mut elsewhere = op("gold-OST0000", &image);
    elsewhere.mgs_nids = Some("10.7.7.7@tcp".parse().unwrap());
    let message = node.refused("elsewhere", &elsewhere).await;
    assert!(message.contains("registered target gold-OST0000 of the MGS at 10.9.0.1@tcp"), "{message}");
    let same = node.formatted("same", &op("gold-OST0000", &image)).await;
    assert!(!same.changed && same.formatted_as.registered);
}

#[tokio::test]
async fn a_mounted_device_is_refused_whatever_the_flags() {
    let node = Node::start();
    let device = node.loop_device("disk", 300 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", device.0.to_str().unwrap()]);
    let _mount = Mount::of(&device.0, &node.path("mnt"));
    let op = FormatOp { allow_reformat: true, ..op("gold-OST0000", &device.0) };
    let message = node.refused("mounted", &op).await;
    assert!(message.contains("mounted at") && message.contains("no option overrides"), "{message}");
    assert!(node.path("mnt/lost+found").exists());
    assert_eq!(node.device(&device.0).await.refusals[0].code, RefusalCode::Mounted);
}

#[tokio::test]
async fn a_device_that_somebody_holds_is_refused_whatever_the_flags() {
    let node = Node::start();
    let device = node.loop_device("disk", 300 * MIB);
    let holder = OpenOptions::new().read(true).custom_flags(nix::libc::O_EXCL).open(&device.0).unwrap();
    let op = FormatOp { allow_reformat: true, ..op("gold-OST0000", &device.0) };
    let message = node.refused("held", &op).await;
    assert!(message.contains("opened exclusively"), "{message}");
    drop(holder);
    assert!(node.formatted("free", &op).await.changed);
}

#[tokio::test]
async fn a_disk_whose_lock_is_held_is_left_alone_and_may_be_tried_again() {
    let node = Node::start();
    let device = node.loop_device("disk", 300 * MIB);
    let lock = nix::fcntl::Flock::lock(File::open(&device.0).unwrap(), nix::fcntl::FlockArg::LockExclusive).unwrap();
    let job = node.format("locked", &op("gold-OST0000", &device.0)).await;
    assert!(job.retryable && job.message.as_ref().unwrap().contains("locked by another program"), "{job:#?}");
    drop(lock);
    assert!(node.formatted("unlocked", &op("gold-OST0000", &device.0)).await.changed);
}

#[tokio::test]
async fn a_partitioned_disk_is_refused_whatever_the_flags() {
    let node = Node::start();
    let device = node.loop_device("disk", 300 * MIB);
    let path = device.0.to_str().unwrap();
    run("sgdisk", &["-n", "1:0:0", path]);
    run("partx", &["--add", path]);
    let op = FormatOp { allow_reformat: true, ..op("gold-OST0000", &device.0) };
    let message = node.refused("partitioned", &op).await;
    run("partx", &["--delete", path]);
    assert!(message.contains("partitioned into"), "{message}");
}

#[tokio::test]
async fn what_the_plan_did_not_see_is_refused() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    let size = FormatOp { expect_size_bytes: Some(400 * MIB), ..op("gold-OST0000", &image) };
    let message = node.refused("size", &size).await;
    assert!(message.contains("314572800 bytes now, the plan saw 419430400"), "{message}");
    let content =
        FormatOp { expect_content: Some("xfs uuid=1".into()), allow_reformat: true, ..op("gold-OST0000", &image) };
    let message = node.refused("content", &content).await;
    assert!(message.contains("holds blank now, the plan saw xfs"), "{message}");
}

#[tokio::test]
async fn a_device_that_is_too_small_or_is_none_is_named() {
    let node = Node::start();
    let message = node.refused("small", &op("gold-OST0000", &node.image("small", 16 * MIB))).await;
    assert!(message.contains("16 MiB") && message.contains("at least"), "{message}");
    for (id, path) in
        [("missing", "/dev/nosuchdisk"), ("char", "/dev/null"), ("file", "/etc/hostname"), ("dir", "/tmp")]
    {
        let message = node.refused(id, &op("gold-OST0000", Path::new(path))).await;
        assert!(message.contains(path), "{message}");
    }
}

/// To look, a device is opened for us alone: a `mke2fs` that starts in that moment would find it in use.
#[test]
fn a_device_whose_disk_is_locked_is_not_opened_exclusively_by_who_only_looks() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    std::fs::File::create(&image).unwrap().set_len(64 * MIB).unwrap();
    let disk = LoopDevice::on(&image);
    let host = Host::new(Sysroot::default(), Tools::from_dir(None));
    let device = host.device(&disk.0).unwrap();
    let observed = host.observe(&device).unwrap();
    let found = |lock: Option<&DeviceLock>| {
        guard::refusals(&host, &device, &observed, lock).unwrap().into_iter().map(|one| one.code).collect::<Vec<_>>()
    };
    assert_eq!(found(None), []);
    let _alone = device.open_for_writing().unwrap();
    assert_eq!(found(None), [RefusalCode::Held], "nobody works on it: who holds it is found out");
    let lock = lock::lock(&host.root, &device).unwrap().unwrap();
    assert_eq!(found(None), [], "somebody works on it: it is left alone");
    assert_eq!(found(Some(&lock)), [RefusalCode::Held], "we work on it");
}
