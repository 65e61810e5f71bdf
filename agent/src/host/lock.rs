//! The lock of a whole disk, by systemd's rules for block devices: who holds it keeps udev and other formatters away.
//!
//! Source: systemd.io/BLOCK_DEVICE_LOCKING. It is advisory: programs that don't ask for it are kept away by the kernel's
//! own exclusive opens only.

use super::{Device, HostError, Sysroot};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::fs::File;

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
    /// Another handle to the same lock: it is held until every handle is closed, also those in other processes.
    pub fn share(&self) -> Result<File, HostError> {
        self.0.try_clone().map_err(|source| HostError::Io {
            what: "share the lock of",
            path: "the device".into(),
            source,
        })
    }
}
