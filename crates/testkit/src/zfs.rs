//! ZFS at work: that of the kernel where it has one, else zfs-fuse.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use crate::device::run;

/// ZFS at work, and one pool that is destroyed at the end.
pub struct Zfs {
    pool: String,
    /// One test at a time: the daemon of the one is that of the next.
    _alone: Flock<File>,
    /// The daemon of zfs-fuse, where this test had to start it.
    daemon: Option<Child>,
}

impl Zfs {
    /// Starts it where it isn't there, and waits for its turn. The pool that `name` is a part of is made by whoever uses it.
    /// Errors: neither ZFS nor zfs-fuse is there.
    pub fn start(name: &str) -> anyhow::Result<Self> {
        let pool = format!("lat{}-{name}", std::process::id());
        let lock = File::create(std::env::temp_dir().join("lustre-agent-zfs-tests"))?;
        let alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        let mut zfs = Self { pool, _alone: alone, daemon: None };
        if answers() {
            return Ok(zfs);
        }
        for dir in ["/var/run/zfs", "/var/lock/zfs"] {
            std::fs::create_dir_all(dir)?;
        }
        let mut daemon = Command::new("zfs-fuse");
        daemon.args(["--no-daemon", "--no-kstat-mount"]).stdout(Stdio::null()).stderr(Stdio::null());
        let none = "neither ZFS nor zfs-fuse is there; tools/setup installs it (Debian: zfs-fuse)";
        zfs.daemon = Some(daemon.spawn().map_err(|error| anyhow::Error::new(error).context(none))?);
        crate::wait_for("zfs-fuse to answer", || Ok(answers()))?;
        Ok(zfs)
    }

    /// The pool that is this test's.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// A dataset in it.
    pub fn dataset(&self, name: &str) -> String {
        format!("{}/{name}", self.pool)
    }

    /// A property of a dataset in it; `-` where it has none.
    pub fn get(&self, name: &str, property: &str) -> anyhow::Result<String> {
        let mut command = Command::new("zfs");
        let text = run(command.args(["get", "-H", "-o", "value", property, &self.dataset(name)]))?;
        Ok(text.trim().to_owned())
    }

    /// Sets a property of a dataset in it: `name=value`.
    pub fn set(&self, name: &str, property: &str) -> anyhow::Result<()> {
        run(Command::new("zfs").args(["set", property, &self.dataset(name)])).map(drop)
    }

    /// Makes a dataset in it that is no target.
    pub fn create(&self, name: &str) -> anyhow::Result<()> {
        run(Command::new("zfs").args(["create", "-o", "canmount=off", &self.dataset(name)])).map(drop)
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
