//! Starts a target: has it mounted, and says for how long that takes.
//!
//! A mount of Lustre waits for its MGS and for recovery, maybe for ever, and can't be interrupted. So a program of its own
//! does it, which outlives the agent: a cancel, or the agent's death, ends the waiting for it. Whether one is under way is
//! asked of the processes themselves, which carry device and job in their environment. Until the last of them is gone,
//! nothing else is done to the target.

use crate::host::{
    Device, HostError,
    detached::{Detached, ProcessId, Spawn, find_by_variable},
    mount::MountCommand,
};
use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The variable of processes that mount: the job, a blank, and the device.
const VARIABLE: &str = "LUSTRE_AGENT_MOUNT";
/// How long a process may take until it can be asked for its environment: much longer than it does.
const SOON: Duration = Duration::from_secs(1);
/// How often a cancel is looked for.
const POLL: Duration = Duration::from_millis(50);
/// A mount that takes longer is told of, and again after so long.
const REMARKABLE: Duration = Duration::from_secs(30);

/// A mount that the kernel has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// The job that began it.
    pub job: String,
    /// The process that does it, or one that it has started.
    pub process: ProcessId,
}

/// How a mount ended.
#[derive(Debug)]
pub enum Mounted {
    /// It is mounted.
    Done,
    /// It ended while no agent waited for it: whether it is mounted, the kernel's tables say.
    Unknown,
    /// Nobody waits any more; the mount that had begun may still end.
    Cancelled,
    /// The kernel refused, or `mount` did.
    Failed(HostError),
}

/// A mount of the device that is under way, whichever agent began it.
pub fn under_way(device: &Device) -> Option<UnderWay> {
    let suffix = format!(" {}", device.path.display());
    let job_of = |word: &str| {
        let value = word.strip_prefix(VARIABLE)?.strip_prefix('=')?;
        value.strip_suffix(suffix.as_str()).filter(|job| !job.contains(' ')).map(str::to_owned)
    };
    find_by_variable(job_of).map(|(process, job)| UnderWay { job, process })
}

/// Whom a mount tells what it does, and who may end the waiting for it.
pub trait Watch {
    /// Told from time to time how long it takes.
    fn takes(&self, took: Duration);
    /// Whether somebody has cancelled it.
    fn is_cancelled(&self) -> bool;
}

/// Mounts `device` for `job`. `dir` is for what the program prints.
pub fn mount(job: &str, device: &Device, command: &MountCommand, dir: &Path, watch: &dyn Watch) -> Mounted {
    let start = || {
        let stdin = File::open("/dev/null").map_err(HostError::io("open", Path::new("/dev/null")))?;
        let environment = [format!("{VARIABLE}={job} {}", device.path.display())];
        let package = "mount";
        Detached::start(Spawn { command: &command.words, environment: &environment, output_dir: dir, stdin, package })
    };
    match start() {
        Ok(mut run) => {
            // While it becomes the program, its environment can't be read: nobody is told of it before it can.
            let begun = Instant::now();
            while run.is_running() && under_way(device).is_none() && begun.elapsed() < SOON {
                thread::yield_now();
            }
            follow(run, device, Duration::ZERO, watch)
        }
        Err(error) => Mounted::Failed(error),
    }
}

/// Waits for a mount that an earlier agent began.
pub fn outlive(earlier: UnderWay, device: &Device, dir: &Path, watch: &dyn Watch) -> Mounted {
    let age = earlier.process.age();
    match Detached::adopt(earlier.process, dir) {
        Some(run) => follow(run, device, age, watch),
        None => Mounted::Unknown,
    }
}

fn follow(mut run: Detached, device: &Device, age: Duration, watch: &dyn Watch) -> Mounted {
    let begun = Instant::now();
    let mut remarkable = REMARKABLE;
    loop {
        while run.is_running() {
            if watch.is_cancelled() {
                leave(run);
                return Mounted::Cancelled;
            }
            let took = age + begun.elapsed();
            if took >= remarkable {
                watch.takes(took);
                remarkable = took + REMARKABLE;
            }
            run.wait_for_end(POLL);
        }
        // What it had started may still hang when it itself was killed.
        let Some(other) = under_way(device).and_then(|left| Detached::adopt(left.process, run.output_dir())) else {
            break;
        };
        run = other;
    }
    match run.exit_code() {
        Some(0) => Mounted::Done,
        // Of somebody else's child nobody knows it.
        None => Mounted::Unknown,
        Some(_) => Mounted::Failed(run.failure("mount", &device.path)),
    }
}

/// Collects it when it ends, that it does not stay among the processes for ever.
fn leave(mut run: Detached) {
    thread::spawn(move || {
        while run.is_running() {
            run.wait_for_end(Duration::from_secs(1));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::DeviceKind;
    use std::{cell::Cell, ffi::OsString};

    /// Asks at every look whether it is cancelled.
    struct Ask<F>(F);

    impl<F: Fn() -> bool> Watch for Ask<F> {
        fn takes(&self, _: Duration) {}

        fn is_cancelled(&self) -> bool {
            (self.0)()
        }
    }

    fn device(name: &str) -> Device {
        Device::plain(format!("/dev/{}-{name}", std::process::id()).into(), name, DeviceKind::Disk, 1)
    }

    fn command(script: &str) -> MountCommand {
        MountCommand { words: ["sh", "-c", script].map(OsString::from).into() }
    }

    fn mounted(script: &str, device: &Device, is_cancelled: impl Fn() -> bool) -> Mounted {
        let dir = tempfile::tempdir().unwrap();
        mount("job", device, &command(script), dir.path(), &Ask(is_cancelled))
    }

    fn wait_until_gone(device: &Device) {
        let begun = Instant::now();
        while under_way(device).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_mount_that_hangs_is_left_alone_by_a_cancel_and_known_until_the_kernel_answers() {
        let dir = tempfile::tempdir().unwrap();
        let (sdb, answer) = (device("sdb"), dir.path().join("answer"));
        let script = format!("while [ ! -e {} ]; do sleep 0.01; done", answer.display());
        let ended = mounted(&script, &sdb, || true);
        assert!(matches!(ended, Mounted::Cancelled), "{ended:?}");
        let known = under_way(&sdb).unwrap();
        assert!(known.job == "job" && known.process.age() < Duration::from_secs(60), "{known:?}");
        assert_eq!(under_way(&device("b")), None);
        // Another agent would wait for it, too.
        let asked = Cell::new(false);
        let second_time = Ask(|| asked.replace(true));
        assert!(matches!(outlive(known.clone(), &sdb, dir.path(), &second_time), Mounted::Cancelled));
        std::fs::write(&answer, "").unwrap();
        assert!(matches!(outlive(known, &sdb, dir.path(), &Ask(|| false)), Mounted::Unknown));
        wait_until_gone(&sdb);
    }

    #[test]
    fn what_the_kernel_answers_is_the_end_of_it() {
        let sdc = device("sdc");
        let done = mounted("exit 0", &sdc, || false);
        assert!(matches!(done, Mounted::Done), "{done:?}");
        let refused = mounted("echo no such file system >&2; exit 32", &sdc, || false);
        let Mounted::Failed(error) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("no such file system"), "{error}");
        assert_eq!(under_way(&sdc), None);
    }

    #[test]
    fn a_mount_whose_program_was_killed_is_under_way_as_long_as_what_that_had_started() {
        let dir = tempfile::tempdir().unwrap();
        let (sdd, answer) = (device("sdd"), dir.path().join("answer"));
        // The one that is started hangs; the one that started it is killed.
        let script = format!("(while [ ! -e {} ]; do sleep 0.01; done) & kill -9 $$", answer.display());
        let looks = Cell::new(0);
        let ended = mounted(&script, &sdd, || {
            looks.set(looks.get() + 1);
            if looks.get() == 5 {
                std::fs::write(&answer, "").unwrap();
            }
            false
        });
        assert!(looks.get() >= 5, "it was not waited for");
        assert!(matches!(ended, Mounted::Unknown), "{ended:?}");
        wait_until_gone(&sdd);
    }
}
