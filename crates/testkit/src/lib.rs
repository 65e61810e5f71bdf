//! Real daemons for whole-system tests: an MGS, agents, image files as devices, `terraform`.
//!
//! Everything is a process of its own on loopback with a port that the kernel chose, in a directory that goes when the test
//! ends. Nothing is faked: what a test sees is what an administrator would.
//!
//! ```no_run
//! let cluster = testkit::Cluster::start(&["mds1", "oss1"])?;
//! let mdt = cluster.agent("mds1").image("mdt0", 64 << 20)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod daemon;
mod terraform;

pub use daemon::{Agent, Cluster, Mgs};
pub use terraform::{Ran, Terraform};

use std::path::PathBuf;

/// A binary of this workspace's debug build. Errors when it was not built: `cargo build --workspace --bins` does.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    // A test's own program is in <target>/debug/deps.
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).unwrap_or(&test).join(name);
    anyhow::ensure!(path.exists(), "{} is not built; run `cargo build --workspace --bins`", path.display());
    Ok(path)
}
