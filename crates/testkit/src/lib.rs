//! Real daemons for whole-system tests: an MGS, agents, image files as devices, `terraform`, `etcd`.
//!
//! Everything is a process of its own on loopback with a port that the kernel chose, in a directory that goes when the test
//! ends. Nothing is faked: what a test sees is what an administrator would.
//!
//! ```no_run
//! let cluster = testkit::Cluster::start(&["mds1", "oss1"])?;
//! let mdt = cluster.agent("mds1").image("mdt0", 64 << 20)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod contained;
mod daemon;
mod device;
mod etcd;
mod ha;
pub mod linear;
mod network;
mod terraform;
mod zfs;
mod zfs_node;

pub use contained::contained;
pub use daemon::{Agent, Cluster, Mgs};
pub use device::{HaltedFormat, LoopDevice, Mounted, run};
pub use etcd::Etcd;
pub use ha::{HaCluster, Instance};
pub use network::{Machine, Network};
pub use terraform::{Diagnostic, Said, Terraform, diagnostics};
pub use zfs::Zfs;
pub use zfs_node::ZfsNode;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take here that takes moments on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, with a deadline.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        anyhow::ensure!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/testkit is below it")
}

/// A binary of this workspace's debug build. Errors when it was not built: `cargo build --workspace --bins` does.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    // A test's own program is in <target>/debug/deps.
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).unwrap_or(&test).join(name);
    anyhow::ensure!(path.exists(), "{} is not built; run `cargo build --workspace --bins`", path.display());
    Ok(path)
}

/// The CPU that a process has used, as the kernel accounts it to its threads; those that have ended are not counted.
pub fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let mut cpu = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end in between.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let ns: u64 = text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        cpu += Duration::from_nanos(ns);
    }
    Ok(cpu)
}

/// Sends a signal to one of our processes.
pub(crate) fn signal(process: &std::process::Child, name: &str) -> anyhow::Result<()> {
    let status = std::process::Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status()?;
    anyhow::ensure!(status.success(), "kill -{name} {} failed", process.id());
    Ok(())
}
