//! Devices that go away or stop taking writes in the middle of a format.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::job::JobState;
use nix::sys::signal::{Signal, kill};
use node::{LoopDevice, MIB, Node, TIB, op};
use std::{fs, path::Path, process::Command};

#[tokio::test]
async fn a_device_that_goes_away_during_its_format_is_named_and_formatted_when_it_is_back() {
    let node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    let op = op("gold-MDT0000", &image);
    node.put("job", &op).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    fs::rename(&image, node.path("pulled-out")).unwrap();
    kill(mke2fs, Signal::SIGCONT).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Failed, "{job:#?}");
    assert!(!image.exists(), "mke2fs made a file in place of the device");
    let message = job.message.unwrap();
    assert!(message.contains(image.to_str().unwrap()) && message.contains("does not exist"), "{message}");
    assert!(message.contains("gold-MDT0000") && message.contains("formatted again"), "{message}");
    fs::rename(node.path("pulled-out"), &image).unwrap();
    let found = node.device(&image).await;
    assert!(found.content.contains("unfinished"), "{found:#?}");
    assert!(node.formatted("again", &op).await.changed);
}

#[tokio::test]
async fn a_cancel_on_a_device_that_is_gone_ends_mke2fs_and_says_that_nothing_was_marked() {
    let node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    fs::rename(&image, node.path("pulled-out")).unwrap();
    node.cancel("job").await;
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("can't be marked") && message.contains("does not exist"), "{message}");
    assert!(kill(mke2fs, None).is_err(), "mke2fs is still there");
    fs::rename(node.path("pulled-out"), &image).unwrap();
    assert!(node.device(&image).await.formatted_as.is_none_or(|found| found.incomplete));
}

#[tokio::test]
async fn an_agent_that_comes_back_without_the_device_says_so_and_the_format_can_be_asked_for_again() {
    let mut node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    let op = op("gold-MDT0000", &image);
    node.put("job", &op).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    node.kill_agent();
    kill(mke2fs, Signal::SIGKILL).unwrap();
    fs::rename(&image, node.path("pulled-out")).unwrap();
    node.restart();
    let job = node.end_of("job").await;
    assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains("mdt does not exist on this node"), "{message}");
    fs::rename(node.path("pulled-out"), &image).unwrap();
    assert!(node.formatted("again", &op).await.changed);
}

/// A tmpfs, unmounted at the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mounted(at: &'a Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success(), "this test needs root: it mounts a tmpfs");
        Self(at)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// The disk's own memory is full: the kernel takes writes, and loses them later.
#[tokio::test]
async fn a_disk_that_loses_writes_during_a_format_becomes_no_target() {
    let node = Node::start();
    let dir = node.path("small");
    let _small = SmallDisk::mounted(&dir, "24m");
    let filler = dir.join("filler");
    fs::write(&filler, vec![1; 20 << 20]).unwrap();
    let backing = dir.join("disk");
    fs::File::create(&backing).unwrap().set_len(300 * MIB).unwrap();
    let device = LoopDevice::on(&backing);
    // Blocks that can't be dropped must be written.
    let mut op = op("gold-OST0000", &device.0);
    op.mkfs_options = Some("-E nodiscard,lazy_itable_init=0 -J size=16".into());
    let job = node.format("job", &op).await;
    assert_eq!(job.state, JobState::Failed, "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains(device.0.to_str().unwrap()), "{message}");
    let found = node.device(&device.0).await;
    assert!(found.formatted_as.is_none_or(|found| found.incomplete), "{message}");
    fs::remove_file(filler).unwrap();
    let job = node.format("again", &op).await;
    // Whether 24 MB are enough now, only mke2fs knows; it is a whole target or none.
    let found = node.device(&device.0).await.formatted_as;
    let is_target = found.is_some_and(|found| !found.incomplete);
    assert_eq!(is_target, job.state == JobState::Done, "{job:#?}");
}

/// Its size is gone under the running `mke2fs`: every write behind the new end is an error.
#[tokio::test]
async fn a_block_device_that_loses_its_medium_during_its_format_fails_the_job_by_name_and_is_formatted_when_it_is_back()
{
    let node = Node::start();
    let device = node.loop_device("pulled", 4 * TIB);
    let backing = node.path("pulled");
    let op = op("gold-MDT0000", &device.0);
    node.put("job", &op).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let resize = |bytes: u64| {
        fs::File::options().write(true).open(&backing).unwrap().set_len(bytes).unwrap();
        node::run("losetup", &["--set-capacity", device.0.to_str().unwrap()]);
    };
    resize(4096);
    kill(mke2fs, Signal::SIGCONT).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Failed, "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains(device.0.to_str().unwrap()) && message.contains("gold-MDT0000"), "{message}");
    assert!(node.device(&device.0).await.formatted_as.is_none_or(|found| found.incomplete));
    resize(300 * MIB);
    let again = node::op("gold-OST0000", &device.0);
    assert!(node.formatted("again", &lustre_api::agent::FormatOp { allow_reformat: true, ..again }).await.changed);
}
