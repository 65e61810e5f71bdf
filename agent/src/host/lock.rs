//! The lock of a whole disk, by systemd's rules for block devices: who holds it keeps udev and other formatters away.
//!
//! Source: systemd.io/BLOCK_DEVICE_LOCKING. It is advisory: programs that don't ask for it are kept away by the kernel's
//! own exclusive opens only.

use super::{Device, HostError, Sysroot};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    fs::File,
    io::{Seek, SeekFrom},
    time::Duration,
};

/// How long to wait for a lock that somebody else has; udev holds it for moments.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The same where it may be held by a program that an agent before this one had started for the same job: at its end all
/// that it wrote may first have to reach the medium.
pub const PATIENCE_WITH_OWN: Duration = Duration::from_secs(120);
/// How often it is tried.
pub const PAUSE: Duration = Duration::from_millis(50);

/// A held lock; dropped, it is let go, unless a child process holds a copy.
#[derive(Debug)]
pub struct DeviceLock(Flock<File>);

/// Takes the lock of `device`'s whole disk. None if somebody else has it.
pub fn lock(root: &Sysroot, device: &Device) -> Result<Option<DeviceLock>, HostError> {
    let path = device.lock_path(root);
    let file = File::open(&path).map_err(HostError::io("open", &path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(DeviceLock(held))),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(HostError::Io { what: "lock", path, source: errno.into() }),
    }
}

impl DeviceLock {
    /// Another handle to the same lock: it is held until every handle is closed, also those in other processes. Positioned
    /// at the device's end: a program that has it as its standard input finds nothing there.
    pub fn at_end(&self) -> Result<File, HostError> {
        let io = |source| HostError::Io { what: "share the lock of", path: "the device".into(), source };
        let mut file = self.0.try_clone().map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(file)
    }
}
