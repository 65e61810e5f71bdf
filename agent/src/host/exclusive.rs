//! Devices that are open for this agent alone, and programs that it starts: never both in one moment.
//!
//! A process that is to become a program has copies of all open files until it is that program. A device that another
//! thread opens exclusively in this moment and closes again stays in use for as long, and a `mke2fs` that is started on it
//! finds it so: with several formats at once that happens.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Deref,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

/// Read by who has a device open exclusively, written by who starts a program.
static OPEN: RwLock<()> = RwLock::new(());

/// A device that this agent has open for itself alone. No program is started before it is closed: its owner must not wait
/// for one, nor open another.
#[derive(Debug)]
pub struct ExclusiveFile {
    // Closed first.
    file: File,
    _open: RwLockReadGuard<'static, ()>,
}

impl Deref for ExclusiveFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Opens a block device exclusively, as `options` say otherwise, with further `flags` of open(2).
pub(super) fn open(options: &mut OpenOptions, flags: i32, path: &Path) -> io::Result<ExclusiveFile> {
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let file = options.custom_flags(flags | nix::libc::O_EXCL).open(path)?;
    Ok(ExclusiveFile { file, _open: open })
}

/// Starts a program; comes back when it is one.
pub(super) fn starting<T>(start: impl FnOnce() -> T) -> T {
    let _none = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    #[test]
    fn a_program_is_not_started_while_a_device_is_open_exclusively() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = open(File::options().read(true), 0, file.path()).unwrap();
        let is_closed = AtomicBool::new(false);
        thread::scope(|scope| {
            let started =
                scope.spawn(|| starting(|| (is_closed.load(Ordering::SeqCst), Command::new("true").status())));
            thread::sleep(std::time::Duration::from_millis(100));
            is_closed.store(true, Ordering::SeqCst);
            drop(device);
            let (was_closed, status) = started.join().unwrap();
            assert!(was_closed && status.unwrap().success());
        });
    }
}
