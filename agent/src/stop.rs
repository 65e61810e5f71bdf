//! Stops a target: unmounts it, in a given time, and by no more force than was asked for.
//!
//! An unmount that hangs can't be interrupted. It is left alone, in a thread of its own, and the job says that it hangs:
//! nothing else is done to a target that may still be in use.

use crate::host::HostError;
use lustre_api::agent_ops::StopForce;
use nix::{errno::Errno, mount::MntFlags};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How often a cancel is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Pause before a mount that is in use is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// How an unmount ended.
#[derive(Debug)]
pub enum Unmounted {
    /// It is not mounted any more.
    Done,
    /// The same, and nobody waited for clients.
    ByForce,
    /// It is out of sight; whether the kernel is through with it, nobody can tell.
    Lazily,
    /// Somebody on this node uses it.
    Busy,
    /// The kernel doesn't answer, and may still.
    Hung,
    /// Nobody waits any more; the unmount that had begun may still end.
    Cancelled,
    /// The kernel refused.
    Failed(HostError),
}

/// The system call; another one in tests.
pub type Unmount = Arc<dyn Fn(&Path, MntFlags) -> Result<(), HostError> + Send + Sync>;

/// Unmounts `mountpoint`; each means gets `timeout`.
pub fn unmount(
    call: &Unmount,
    mountpoint: &Path,
    timeout: Duration,
    force: StopForce,
    is_cancelled: &dyn Fn() -> bool,
) -> Unmounted {
    let gentle_to_rough = [MntFlags::empty(), MntFlags::MNT_FORCE, MntFlags::MNT_DETACH];
    let means = match force {
        StopForce::Never => &gentle_to_rough[..1],
        StopForce::Force => &gentle_to_rough[..2],
        StopForce::Lazy => &gentle_to_rough[..],
    };
    let mut last = Unmounted::Hung;
    for flags in means {
        last = match by(call, mountpoint, *flags, timeout, is_cancelled) {
            Unmounted::Done if *flags == MntFlags::MNT_FORCE => return Unmounted::ByForce,
            Unmounted::Done if *flags == MntFlags::MNT_DETACH => return Unmounted::Lazily,
            ended @ (Unmounted::Busy | Unmounted::Hung) => ended,
            ended => return ended,
        };
    }
    last
}

fn by(
    call: &Unmount,
    mountpoint: &Path,
    flags: MntFlags,
    timeout: Duration,
    is_cancelled: &dyn Fn() -> bool,
) -> Unmounted {
    let begun = Instant::now();
    loop {
        let (told, ended) = mpsc::channel();
        let (call, place) = (call.clone(), PathBuf::from(mountpoint));
        thread::spawn(move || told.send(call(&place, flags)));
        let outcome = loop {
            if let Ok(outcome) = ended.recv_timeout(POLL) {
                break outcome;
            }
            if is_cancelled() {
                return Unmounted::Cancelled;
            }
            if begun.elapsed() >= timeout {
                return Unmounted::Hung;
            }
        };
        match outcome {
            Ok(()) => return Unmounted::Done,
            Err(HostError::Io { source, .. }) if source.raw_os_error() == Some(Errno::EBUSY as i32) => {
                let paused = Instant::now();
                while paused.elapsed() < BUSY_PAUSE {
                    if is_cancelled() {
                        return Unmounted::Cancelled;
                    }
                    if begun.elapsed() >= timeout {
                        return Unmounted::Busy;
                    }
                    thread::sleep(POLL.min(timeout));
                }
            }
            Err(error) => return Unmounted::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const SHORT: Duration = Duration::from_millis(80);

    /// A kernel where plain unmounts hang, forced ones are busy, and lazy ones work.
    fn stubborn(seen: &Arc<Mutex<Vec<MntFlags>>>) -> Unmount {
        let seen = seen.clone();
        Arc::new(move |place, flags| {
            seen.lock().unwrap().push(flags);
            match flags {
                MntFlags::MNT_DETACH => Ok(()),
                MntFlags::MNT_FORCE => Err(HostError::io("unmount", place)(Errno::EBUSY.into())),
                _ => {
                    thread::sleep(Duration::from_secs(3600));
                    Ok(())
                }
            }
        })
    }

    fn stop(force: StopForce, is_cancelled: bool) -> (Unmounted, Vec<MntFlags>) {
        let seen = Arc::default();
        let ended = unmount(&stubborn(&seen), Path::new("/mnt/x"), SHORT, force, &|| is_cancelled);
        let seen = seen.lock().unwrap().clone();
        (ended, seen)
    }

    #[test]
    fn force_is_used_only_when_asked_for_and_only_after_the_gentle_way() {
        let (ended, seen) = stop(StopForce::Never, false);
        assert!(matches!(ended, Unmounted::Hung), "{ended:?}");
        assert_eq!(seen, [MntFlags::empty()]);
        let (ended, seen) = stop(StopForce::Force, false);
        assert!(matches!(ended, Unmounted::Busy), "{ended:?}");
        assert_eq!(seen, [MntFlags::empty(), MntFlags::MNT_FORCE]);
        let (ended, seen) = stop(StopForce::Lazy, false);
        assert!(matches!(ended, Unmounted::Lazily), "{ended:?}");
        assert_eq!(seen, [MntFlags::empty(), MntFlags::MNT_FORCE, MntFlags::MNT_DETACH]);
    }

    #[test]
    fn a_hung_unmount_that_is_cancelled_is_left_alone() {
        let (ended, seen) = stop(StopForce::Lazy, true);
        assert!(matches!(ended, Unmounted::Cancelled), "{ended:?}");
        assert_eq!(seen, [MntFlags::empty()], "nothing more is done to it");
    }
}
