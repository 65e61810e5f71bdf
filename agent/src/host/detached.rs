//! A program that outlives the agent, such as a `mke2fs` or a mount that hangs: started here, or by an earlier agent.

use super::{HostError, exclusive, session, tool};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{Pid, SysconfVar, getuid, sysconf},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::mpsc,
    thread,
    time::Duration,
};

/// How much of the output's end is read for progress and messages, bytes.
const TAIL: u64 = 8 << 10;

/// A process beyond doubt: ids are used again, but not with the same start time within the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id, which is its group's id too.
    pub pid: i32,
    /// Start time in clock ticks since boot; field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    /// Boot that it belongs to.
    pub boot_id: String,
}

/// What to run.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Program and arguments.
    pub command: &'a [OsString],
    /// Variables of its environment beside `PATH` and `LC_ALL`, as in `NAME=value`.
    pub environment: &'a [String],
    /// Directory of the files `stdout` and `stderr`.
    pub output_dir: &'a Path,
    /// Standard input. Of who writes to a device a handle to its lock ([`DeviceLock::at_end`](super::lock::DeviceLock::at_end)),
    /// so that the lock lives as long as the program does, whatever becomes of the agent.
    pub stdin: File,
    /// What it comes from, for whom it is missing.
    pub package: &'static str,
}

/// A program at work, or just ended.
#[derive(Debug)]
pub struct Detached {
    id: ProcessId,
    /// Only of a process that this agent started itself.
    child: Option<Child>,
    /// Hung up when the child has ended.
    ended: Option<mpsc::Receiver<()>>,
    output_dir: PathBuf,
}

/// A process that this agent started. Nobody else waits for it, so its id stays its own until it was seen to have ended.
#[derive(Debug)]
struct Child {
    pid: Pid,
    has_ended: bool,
    /// What it ended with, as far as that is known.
    status: Option<ExitStatus>,
}

impl Child {
    fn is_running(&mut self) -> bool {
        if !self.has_ended {
            (self.has_ended, self.status) = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => (true, Some(ExitStatus::from_raw(code << 8))),
                Ok(WaitStatus::Signaled(_, signal, _)) => (true, Some(ExitStatus::from_raw(signal as i32))),
                Ok(_) | Err(Errno::EINTR) => (false, None),
                Err(_) => (true, None),
            };
        }
        !self.has_ended
    }
}

impl ProcessId {
    /// For how long it has been running.
    pub fn age(&self) -> Duration {
        let ticks_per_s = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        let begun_ms = self.start_ticks.saturating_mul(1000) / ticks_per_s.unwrap_or(100).max(1);
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime_s = uptime.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        Duration::try_from_secs_f64(uptime_s).unwrap_or_default().saturating_sub(Duration::from_millis(begun_ms))
    }
}

/// Changes with every boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

impl Detached {
    /// Starts it in a session of its own, its output in files: so it outlives the agent undisturbed.
    ///
    /// A process group alone is not enough: the agent's death would orphan it, and the kernel sends SIGHUP to an orphaned
    /// group with a stopped process in it; so would a closing terminal. Session, group and process have one id.
    pub fn start(spawn: Spawn<'_>) -> Result<Self, HostError> {
        let file = |name: &str| {
            let path = spawn.output_dir.join(name);
            File::create(&path).map_err(HostError::io("create", &path))
        };
        let (stdout, stderr) = (file("stdout")?, file("stderr")?);
        let started =
            exclusive::starting(|| session::spawn(spawn.command, spawn.environment, [&spawn.stdin, &stdout, &stderr]));
        let pid = started.map_err(|errno| HostError::ToolMissing {
            tool: spawn.command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default(),
            package: spawn.package,
            source: errno.into(),
        })?;
        // Ours until it is waited for, so the entry can't be another process's.
        let start_ticks = stat(pid.as_raw()).map_or(0, |stat| stat.start_ticks);
        let id = ProcessId { pid: pid.as_raw(), start_ticks, boot_id: boot_id() };
        let child = Some(Child { pid, has_ended: false, status: None });
        Ok(Self { id, child, ended: watch_end(pid), output_dir: spawn.output_dir.to_owned() })
    }

    /// Takes over a process that an earlier agent started, if it still runs.
    pub fn adopt(id: ProcessId, output_dir: &Path) -> Option<Self> {
        let run = Self { id, child: None, ended: None, output_dir: output_dir.to_owned() };
        run.is_alive().then_some(run)
    }

    /// Which process it is.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Where its output is.
    pub fn output_dir(&self) -> &Path {
        &self.output_dir
    }

    /// Whether it still runs. Collects the exit status of a child that has ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => child.is_running(),
            None => self.is_alive(),
        }
    }

    /// Waits until it ends, or until `patience` is over.
    pub fn wait_for_end(&self, patience: Duration) {
        match &self.ended {
            Some(ended) => {
                let _ = ended.recv_timeout(patience);
            }
            // Nobody tells of the end of somebody else's child.
            None => thread::sleep(patience),
        }
    }

    fn is_alive(&self) -> bool {
        self.id.boot_id == boot_id()
            && stat(self.id.pid).is_some_and(|stat| stat.start_ticks == self.id.start_ticks && !stat.is_dead())
    }

    /// Whether it is known to have ended badly: then something that it wrote may not have reached the medium.
    pub fn has_failed(&mut self) -> bool {
        self.exit_status().is_some_and(|status| !status.success())
    }

    /// What it exited with; none where a signal ended it, or it was adopted.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.exit_status()?.code()
    }

    /// None while it runs, and of one that was adopted.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        if child.is_running() { None } else { child.status }
    }

    /// Exit status in words; of an adopted process nobody knows it.
    pub fn status(&mut self) -> String {
        match self.exit_status() {
            Some(status) => status.to_string(),
            None => "an unknown status".to_owned(),
        }
    }

    /// Its bad end as an error of `tool`, which worked on `device`.
    pub fn failure(&mut self, tool: &str, device: &Path) -> HostError {
        HostError::ToolFailed {
            tool: tool.to_owned(),
            device: device.to_owned(),
            status: self.status(),
            stderr: tool::complaint(&self.stderr_tail()),
        }
    }

    /// Sends `signal` to the whole process group, if it is still this process's.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = Pid::from_raw(self.id.pid);
            // Where there is no such group, it is not the leader of one: nobody but the process itself is meant then.
            if killpg(pid, signal) == Err(Errno::ESRCH) {
                // It may end in between; then there is nobody to tell, which is what was wanted.
                let _ = kill(pid, signal);
            }
        }
    }

    /// The end of what it has printed so far.
    pub fn stdout_tail(&self) -> Vec<u8> {
        output_tail(&self.output_dir)
    }

    /// The end of its complaints.
    pub fn stderr_tail(&self) -> Vec<u8> {
        tail(&self.output_dir.join("stderr"))
    }
}

/// A channel that hangs up when the child `pid` ends. The child stays to be waited for, so that its id stays its own.
/// None where no thread can be had: then its end is noticed a little later.
fn watch_end(pid: Pid) -> Option<mpsc::Receiver<()>> {
    let (ended, receiver) = mpsc::channel();
    let watch = move || {
        let _hangs_up: mpsc::Sender<()> = ended;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
    };
    thread::Builder::new().name("program-end".to_owned()).spawn(watch).ok().map(|_| receiver)
}

/// The end of what the program with this directory has printed, whoever started it; nothing if that can't be read.
pub fn output_tail(output_dir: &Path) -> Vec<u8> {
    tail(&output_dir.join("stdout"))
}

/// The last few KiB of a file; nothing if it can't be read.
fn tail(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let len = file.metadata().map(|meta| meta.len()).unwrap_or(0);
        if file.seek(SeekFrom::Start(len.saturating_sub(TAIL))).is_ok() {
            // A short tail is as good as none: it is for people to read.
            let _ = file.take(TAIL).read_to_end(&mut bytes);
        }
    }
    bytes
}

/// The running process that has `argument` as one of its arguments, such as the UUID that a format chose: finds a program
/// whose start was not journaled any more.
pub fn find_by_argument(argument: &str) -> Option<ProcessId> {
    find("cmdline", |word| (word == argument.as_bytes()).then_some(())).map(|(id, ())| id)
}

/// A running process with a variable in its environment of which `is_it` makes something; with what it made. What a
/// program starts has its environment, and is found too.
pub fn find_by_variable<T>(is_it: impl Fn(&str) -> Option<T>) -> Option<(ProcessId, T)> {
    find("environ", |word| is_it(std::str::from_utf8(word).ok()?))
}

/// Looks through the words of a file that each process has in `/proc`.
fn find<T>(file: &str, is_it: impl Fn(&[u8]) -> Option<T>) -> Option<(ProcessId, T)> {
    let entries = fs::read_dir("/proc").ok()?;
    for entry in entries.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(words) = fs::read(entry.path().join(file)) else { continue };
        let Some(found) = words.split(|byte| *byte == 0).find_map(&is_it) else { continue };
        // Anybody may start a program with any arguments and variables.
        let Some(stat) = stat(pid).filter(|stat| !stat.is_dead() && is_ours(pid)) else { continue };
        return Some((ProcessId { pid, start_ticks: stat.start_ticks, boot_id: boot_id() }, found));
    }
    None
}

/// Whether who runs the process is who runs this one: by the real user, which is a user's own also in what is set-uid.
fn is_ours(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let real = users.and_then(|users| users.split_ascii_whitespace().next()?.parse::<u32>().ok());
    real == Some(getuid().as_raw())
}

struct Stat {
    state: u8,
    start_ticks: u64,
}

impl Stat {
    /// Ended, and maybe not yet collected by its parent.
    fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5). The program's name, field 2, may hold blanks and brackets: fields count from its last bracket.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some(Stat { state, start_ticks: fields.nth(18)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn<'a>(command: &'a [OsString], output_dir: &'a Path) -> Spawn<'a> {
        let stdin = File::open("/dev/null").unwrap();
        Spawn { command, environment: &[], output_dir, stdin, package: "e2fsprogs" }
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = parse_stat(&format!("7 (a) (b) c) S {}", fields.join(" "))).unwrap();
        assert_eq!((stat.state, stat.start_ticks), (b'S', 22));
        assert!(parse_stat("7 (x) S 1").is_none());
    }

    #[test]
    fn a_process_is_found_by_an_argument_and_taken_over_only_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let argument = uuid::Uuid::new_v4().to_string();
        let command: Vec<OsString> = ["sh", "-c", "sleep 60; true", &argument].map(Into::into).into();
        let variable = format!("DETACHED_TEST={argument}");
        let environment = [variable.clone()];
        let mut run = Detached::start(Spawn { environment: &environment, ..spawn(&command, dir.path()) }).unwrap();
        // While it becomes another program, its arguments can't be read.
        let mut found = find_by_argument(&argument);
        while found.is_none() {
            std::thread::yield_now();
            found = find_by_argument(&argument);
        }
        let found = found.unwrap();
        assert_eq!(&found, run.id());
        assert!(found.age() < Duration::from_secs(60), "{:?}", found.age());
        let by_variable = find_by_variable(|word| (word == variable).then_some("it")).unwrap();
        assert_eq!(by_variable.1, "it");
        assert!(Detached::adopt(found.clone(), dir.path()).is_some());
        let other_boot = ProcessId { boot_id: "another".into(), ..found.clone() };
        assert!(Detached::adopt(other_boot, dir.path()).is_none());
        let reused = ProcessId { start_ticks: found.start_ticks + 1, ..found.clone() };
        assert!(Detached::adopt(reused, dir.path()).is_none());

        run.signal(Signal::SIGKILL);
        while run.is_running() {
            run.wait_for_end(Duration::from_secs(1));
        }
        assert!(run.status().contains("signal: 9"), "{}", run.status());
        assert!(Detached::adopt(found, dir.path()).is_none());
        // The shell's child has the shell's arguments until it is another program, and dies a moment later.
        while find_by_argument(&argument).is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_that_was_halted_at_its_very_beginning_dies_by_the_first_signal() {
        let dir = tempfile::tempdir().unwrap();
        // Many at once: some are met before they have become the program.
        let mut runs: Vec<Detached> = (0..16)
            .map(|n| {
                let dir = dir.path().join(n.to_string());
                fs::create_dir(&dir).unwrap();
                let command: Vec<OsString> = ["sleep", "60"].map(Into::into).into();
                let run = Detached::start(spawn(&command, &dir)).unwrap();
                kill(Pid::from_raw(run.id().pid), Signal::SIGSTOP).unwrap();
                run
            })
            .collect();
        for run in &mut runs {
            run.signal(Signal::SIGKILL);
            run.wait_for_end(Duration::from_secs(30));
            assert!(!run.is_running());
            assert_eq!(run.exit_code(), None);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_said_to_be_missing_and_its_end_is_known_by_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let start = |words: &[&str]| {
            let command: Vec<OsString> = words.iter().map(Into::into).collect();
            Detached::start(spawn(&command, dir.path()))
        };
        let missing = start(&["/nowhere/mke2fs"]).unwrap_err();
        assert!(missing.to_string().contains("can't run /nowhere/mke2fs; install the package e2fsprogs"), "{missing}");
        let mut run = start(&["sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
        run.wait_for_end(Duration::from_secs(30));
        assert!(!run.is_running() && run.has_failed());
        assert_eq!((run.exit_code(), run.status().as_str()), (Some(3), "exit status: 3"));
        assert_eq!((run.stdout_tail().as_slice(), run.stderr_tail().as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }
}
