//! A node with a ZFS of its own: zfs-fuse in a mount namespace, with its own socket, pool cache and host id. What runs in there
//! sees the same files as everybody, so two such nodes can share a disk, and ZFS tells them apart.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

use crate::device::run;

/// One node's ZFS; its pools are forgotten with it, as when the node is switched off.
pub struct ZfsNode {
    dir: TempDir,
    daemon: Child,
}

impl ZfsNode {
    /// Starts it. Errors: no root, or no zfs-fuse, which `tools/setup` installs.
    pub fn start(hostid: u32) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let etc = dir.path().join("etc");
        run(Command::new("cp").args(["-a", "/etc/."]).arg(&etc))?;
        let _ = std::fs::remove_dir_all(etc.join("zfs"));
        std::fs::create_dir(etc.join("zfs"))?;
        std::fs::write(etc.join("hostid"), hostid.to_ne_bytes())?;
        for own in ["run", "lock", "lib"] {
            std::fs::create_dir(dir.path().join(own))?;
            std::fs::create_dir_all(Path::new("/var").join(own).join("zfs"))?;
        }
        let daemon = Self::spawn(dir.path())?;
        let node = Self { dir, daemon };
        node.wait()?;
        Ok(node)
    }

    fn spawn(dir: &Path) -> anyhow::Result<Child> {
        let script = "mount --bind $0/etc /etc && mount --bind $0/run /var/run/zfs && mount --bind $0/lock /var/lock/zfs && \
                      mount --bind $0/lib /var/lib/zfs && \
                      exec zfs-fuse --no-daemon --no-kstat-mount";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("can't run unshare (util-linux)")
    }

    /// Until it answers, in there: before, what is asked might answer that is outside.
    fn wait(&self) -> anyhow::Result<()> {
        let is_inside = || -> anyhow::Result<bool> {
            let mut command = self.command("sh");
            let output = command.args(["-c", "cmp -s /etc/hostid $0/etc/hostid && zpool list"]).arg(self.dir.path());
            Ok(output.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
        };
        crate::wait_for("zfs-fuse to answer; tools/setup installs it (Debian: zfs-fuse)", is_inside)
    }

    /// A command that runs on this node. Its process is the program itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.daemon.id())).arg("--").arg(program);
        command
    }

    /// Runs `zpool` or `zfs` on this node; gives what it says. Errors: it says no.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        run(self.command(program).args(arguments))
    }

    /// A property of a dataset; `-` where it has none.
    pub fn get(&self, dataset: &str, property: &str) -> anyhow::Result<String> {
        Ok(self.run("zfs", &["get", "-H", "-o", "value", property, dataset])?.trim().to_owned())
    }

    /// Whether the node has imported a pool.
    pub fn has(&self, pool: &str) -> bool {
        self.run("zpool", &["list", "-H", "-o", "name", pool]).is_ok_and(|text| text.trim() == pool)
    }

    /// Switches it off, with SIGKILL: nothing is exported.
    pub fn crash(&mut self) -> anyhow::Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        Ok(())
    }

    /// Switches it on again. What ran in there has to be started again, too.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.daemon = Self::spawn(self.dir.path())?;
        self.wait()
    }
}

impl Drop for ZfsNode {
    fn drop(&mut self) {
        let _ = self.crash();
    }
}
