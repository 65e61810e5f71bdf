//! Starts a target: mounts it, and says for how long that takes.
//!
//! A mount of Lustre waits for its MGS and for recovery, maybe for ever, and can't be interrupted. It runs in a thread of its
//! own: a cancel ends the waiting for it, and until the kernel has answered nothing else is done to the target.

use crate::host::HostError;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How often a cancel is looked for.
const POLL: Duration = Duration::from_millis(50);
/// A mount that takes longer is told of, and again after so long.
const REMARKABLE: Duration = Duration::from_secs(30);

/// Mounts that the kernel has not answered yet, by device.
#[derive(Clone, Debug, Default)]
pub struct Mounting(Arc<Mutex<BTreeMap<PathBuf, Instant>>>);

/// How a mount ended.
#[derive(Debug)]
pub enum Mounted {
    /// It is mounted.
    Done,
    /// Nobody waits any more; the mount that had begun may still end.
    Cancelled,
    /// The kernel refused, or `mount` did.
    Failed(HostError),
}

/// The system call, or the program; another one in tests.
pub type Mount = Box<dyn FnOnce() -> Result<(), HostError> + Send>;

impl Mounting {
    /// For how long a mount of the device has been under way; none where there is none.
    pub fn since(&self, device: &Path) -> Option<Duration> {
        self.devices().get(device).map(Instant::elapsed)
    }

    /// Mounts a device. `tell` is told from time to time how long it takes.
    pub fn mount(
        &self,
        device: &Path,
        call: Mount,
        tell: &dyn Fn(Duration),
        is_cancelled: &dyn Fn() -> bool,
    ) -> Mounted {
        let begun = Instant::now();
        self.devices().insert(device.to_owned(), begun);
        let (told, ended) = mpsc::channel();
        let (mounting, place) = (self.clone(), device.to_owned());
        thread::spawn(move || {
            let outcome = call();
            mounting.devices().remove(&place);
            told.send(outcome)
        });
        let mut remarkable = REMARKABLE;
        loop {
            match ended.recv_timeout(POLL) {
                Ok(Ok(())) => return Mounted::Done,
                Ok(Err(error)) => return Mounted::Failed(error),
                Err(_) if is_cancelled() => return Mounted::Cancelled,
                Err(_) => {}
            }
            if begun.elapsed() >= remarkable {
                tell(begun.elapsed());
                remarkable += REMARKABLE;
            }
        }
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const DEVICE: &str = "/dev/sdb";

    #[test]
    fn a_mount_that_hangs_is_left_alone_by_a_cancel_and_known_until_the_kernel_answers() {
        let mounting = Mounting::default();
        let (answer, answered) = mpsc::channel::<()>();
        let hangs: Mount = Box::new(move || {
            let _ = answered.recv();
            Ok(())
        });
        let ended = mounting.mount(Path::new(DEVICE), hangs, &|_| {}, &|| true);
        assert!(matches!(ended, Mounted::Cancelled), "{ended:?}");
        assert!(mounting.since(Path::new(DEVICE)).is_some() && mounting.since(Path::new("/dev/sdc")).is_none());
        answer.send(()).unwrap();
        let begun = Instant::now();
        while mounting.since(Path::new(DEVICE)).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            thread::sleep(POLL);
        }
    }

    #[test]
    fn what_the_kernel_answers_is_the_end_of_it() {
        let mounting = Mounting::default();
        let asked = AtomicBool::new(false);
        let is_cancelled = || asked.swap(true, Ordering::Relaxed);
        let done = mounting.mount(Path::new(DEVICE), Box::new(|| Ok(())), &|_| {}, &is_cancelled);
        assert!(matches!(done, Mounted::Done), "{done:?}");
        let refuses: Mount = Box::new(|| Err(HostError::io("mount", Path::new(DEVICE))(std::io::Error::other("no"))));
        let refused = mounting.mount(Path::new(DEVICE), refuses, &|_| {}, &|| false);
        assert!(matches!(refused, Mounted::Failed(_)), "{refused:?}");
        assert!(mounting.since(Path::new(DEVICE)).is_none());
    }
}
