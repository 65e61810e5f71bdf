//! A mount that the kernel doesn't answer, and an agent that is killed meanwhile. Needs root.
//!
//! A stand-in for mount(8) hangs. That the kernel has Lustre, the agent is told in a mount namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    agent::{AgentOp, StartDriver},
    job::JobState,
};
use node::{LoopDevice, MIB, Node, op};
use serde_json::json;
use std::{fs, os::unix::process::CommandExt, path::Path, process::Command, time::Duration};

/// A node whose mounts hang, with a target.
struct Hanging {
    node: Node,
    device: LoopDevice,
}

impl Hanging {
    async fn start() -> Self {
        let mut node = Node::start();
        let device = node.loop_device("ost", 64 * MIB);
        node.formatted("format", &op("gold-OST0001", &device.0)).await;
        node.with_lustre_kernel("hanging_mount");
        node.restart();
        assert_eq!(node.inventory().await.info.start_driver, StartDriver::Kernel);
        Self { node, device }
    }

    fn op(&self, kind: &str) -> AgentOp {
        let (device, mountpoint) = (&self.device.0, self.node.path("mnt"));
        let mut op = json!({ "kind": kind, "svname": "gold-OST0001", "device": device });
        if kind == "start" {
            op["mountpoint"] = json!(mountpoint);
        }
        serde_json::from_value(op).unwrap()
    }

    /// Process ids of the mounts that were begun.
    fn mounts(&self) -> Vec<String> {
        self.node.mounts().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    async fn wait_for_mount(&self) -> String {
        loop {
            if let Some(pid) = self.mounts().pop() {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks for the operation under a new name, and gives why it was refused.
    async fn refused(&self, id: &str, kind: &str) -> String {
        self.node.put_op(id, &self.op(kind)).await.unwrap();
        let job = self.node.end_of(id).await;
        assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
        job.message.unwrap()
    }

    fn answer(&self) {
        fs::write(self.node.path("mounting/answer"), "mount.lustre: Connection timed out").unwrap();
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Whatever becomes of the test, nothing is left to hang.
        self.answer();
    }
}

#[tokio::test]
async fn an_agent_that_was_killed_during_a_hung_mount_waits_for_it_again() {
    let mut it = Hanging::start().await;
    it.node.put_op("start", &it.op("start")).await.unwrap();
    let pid = it.wait_for_mount().await;
    it.node.kill_agent();
    assert!(Path::new("/proc").join(&pid).exists(), "the mount died with its agent");
    it.node.restart();
    // The same job, still at work, and nothing was mounted a second time.
    let problem = it.node.put_op("other", &it.op("stop")).await.unwrap_err();
    assert!(problem.message.contains("job start is at work"), "{problem}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!it.node.job("start").await.state.is_final());
    assert_eq!(it.mounts(), [pid]);
    it.answer();
    let job = it.node.end_of("start").await;
    assert_eq!((job.state, job.retryable), (JobState::Failed, true), "{job:#?}");
    assert!(job.message.unwrap().contains("has ended, and it is not mounted"));
}

#[tokio::test]
async fn a_target_whose_mount_hangs_is_not_started_or_stopped_by_any_agent_until_the_kernel_answers() {
    let mut it = Hanging::start().await;
    it.node.put_op("start", &it.op("start")).await.unwrap();
    let pid = it.wait_for_mount().await;
    it.node.cancel("start").await;
    let job = it.node.end_of("start").await;
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert!(job.message.unwrap().contains("may still end"));
    for restart in [false, true] {
        if restart {
            it.node.restart();
        }
        for kind in ["start", "stop"] {
            let message = it.refused(&format!("{kind}-{restart}"), kind).await;
            assert!(message.contains("the kernel has not answered yet"), "{message}");
            assert!(message.contains("job start") && message.contains(&format!("process {pid}")), "{message}");
        }
    }
    it.answer();
    while Path::new("/proc").join(&pid).join("cwd").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What the kernel says now is told as it is.
    let message = it.refused("again", "start").await;
    assert!(message.contains("Connection timed out"), "{message}");
    it.node.put_op("stop", &it.op("stop")).await.unwrap();
    assert_eq!(it.node.end_of("stop").await.state, JobState::Done);
}

#[tokio::test]
async fn another_user_can_not_make_a_mount_look_as_if_it_hung() {
    let it = Hanging::start().await;
    let value = format!("start {}", it.device.0.display());
    let mut stranger = Command::new("sleep").arg("600").env("LUSTRE_AGENT_MOUNT", value).uid(65534).spawn().unwrap();
    it.node.put_op("stop", &it.op("stop")).await.unwrap();
    let job = it.node.end_of("stop").await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(job.state, JobState::Done, "{job:#?}");
}

/// Where `mount.lustre` is not installed, the agent's program is started to mount and nothing else.
#[test]
fn the_agents_own_program_mounts_what_it_is_told_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    fs::File::create(&file).unwrap().set_len(MIB).unwrap();
    let device = LoopDevice::on(&file);
    let mount = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lustre-agent")).arg("mount-as-told").args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (path, mountpoint) = (device.0.to_str().unwrap(), dir.path().to_str().unwrap());
    let (code, said) = mount(&[path, mountpoint, "gold:OST0001", "svname=gold-OST0001", "tune2fs"]);
    assert_eq!(code, Some(32), "{said}");
    assert!(said.contains(&format!("can't mount {path}")), "{said}");
    let (code, said) = mount(&["/dev/nosuchdisk", mountpoint, "gold:OST0001", "", "tune2fs"]);
    assert!(code == Some(32) && said.contains("/dev/nosuchdisk"), "{said}");
    assert_eq!(mount(&[path]).0, Some(2));
}
