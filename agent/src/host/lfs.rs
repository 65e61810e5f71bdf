//! `lfs find` and `lfs migrate` on a client: which files have objects on an OST, and moving one of them off it.
//!
//! Never by a shell, and names go between NUL bytes: a file may be called anything. Options: lfs-find(1), lfs-migrate(1).

use super::{Host, HostError, exclusive, tool};
use lustre_api::agent_ops::OstUsage;
use lustre_types::{FsName, SvName};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{ffi::OsStringExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Names that a search may be ahead of who takes them.
const AHEAD: usize = 1000;
/// The longest path that is taken from `lfs find`, bytes. The kernel takes none longer than 4096.
const PATH_MAX: u64 = 64 << 10;
/// How often a running `lfs migrate` is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to end by itself once told to.
const TERM_GRACE: Duration = Duration::from_millis(300);
const PACKAGE: &str = "lustre-client-utils (lustre-client with RPM)";

/// What a search said next.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(PathBuf),
    /// Nothing yet.
    Nothing,
    /// The search came to its end and named every file.
    End,
    /// The search ended badly; what it said.
    Failed(String),
}

/// A running `lfs find`; it waits while nobody takes what it found, and is killed when dropped.
#[derive(Debug)]
pub struct Scan {
    child: Child,
    names: Receiver<Vec<u8>>,
    /// Told when the reader of its complaints is through.
    complaint: Receiver<String>,
}

/// Searches that go on from one batch to the next, by OST. Lost with the agent: a new one begins from the front, and what
/// was moved is not found again.
#[derive(Debug, Default)]
pub struct Scans(Mutex<BTreeMap<SvName, Scan>>);

impl Scans {
    /// Takes the search of an OST, if one is under way.
    pub fn take(&self, ost: &SvName) -> Option<Scan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ost)
    }

    /// Keeps a search for the next batch.
    pub fn keep(&self, ost: &SvName, scan: Scan) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ost.clone(), scan);
    }
}

/// The arguments that find every file with an object on `ost` below `mountpoint`.
pub fn find_arguments(mountpoint: &Path, ost: &SvName) -> Vec<OsString> {
    let index = ost.index().map_or(0, |index| index.get());
    let words = ["--type", "f", "--ost", &index.to_string(), "--print0"].map(OsString::from);
    [OsString::from("find"), mountpoint.into()].into_iter().chain(words).collect()
}

/// The arguments that move one file, its layout as it is, to OSTs where files may be made; given up where somebody
/// else changes the file meanwhile.
pub fn migrate_arguments(file: &Path) -> Vec<OsString> {
    let mut copy = OsString::from("--copy=");
    copy.push(file);
    ["migrate", "--non-block"].map(OsString::from).into_iter().chain([copy, file.into()]).collect()
}

impl Scan {
    /// Starts `lfs find`. Errors: it can't be run.
    pub fn start(host: &Host, mountpoint: &Path, ost: &SvName) -> Result<Self, HostError> {
        let mut child = spawn(&host.tools.lfs, &find_arguments(mountpoint, ost), Stdio::piped())?;
        let stdout = child.stdout.take().expect("it was asked to be piped");
        let mut stderr = child.stderr.take().expect("it was asked to be piped");
        let (found, names) = sync_channel(AHEAD);
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            loop {
                let mut name = Vec::new();
                let read = reader.by_ref().take(PATH_MAX).read_until(0, &mut name);
                // A name that is cut off, at its end or by its length, is none.
                if read.is_err() || name.pop() != Some(0) || found.send(name).is_err() {
                    return;
                }
            }
        });
        let (said, complaint) = sync_channel(1);
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What does not fit is read all the same, or the program would wait for ever.
            let _ = stderr.by_ref().take(64 << 10).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            let _ = said.send(tool::complaint(&bytes));
        });
        Ok(Self { child, names, complaint })
    }

    /// What it found next; waits at most so long.
    pub fn next(&mut self, patience: Duration) -> Found {
        match self.names.recv_timeout(patience) {
            Ok(name) => Found::File(OsString::from_vec(name).into()),
            Err(RecvTimeoutError::Timeout) => Found::Nothing,
            Err(RecvTimeoutError::Disconnected) => match self.child.wait() {
                Ok(status) if status.success() => Found::End,
                ended => {
                    let said = self.complaint.recv().unwrap_or_default();
                    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    Found::Failed(format!("lfs find ended with {how}: {said}"))
                }
            },
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// How the move of a file ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    /// Its data is elsewhere.
    Done,
    /// There is no such file any more.
    Gone,
    /// It stays where it was, for now: it is in use, or something is wrong with it.
    Failed(String),
    /// It stays where it was, and others would, too: the client, or its `lfs`, is not up to it.
    Unfit(String),
    /// Stopped on request; it stays where it was.
    Cancelled,
}

/// A file system, or a directory of one, that is mounted here.
#[derive(Debug)]
pub(super) struct ClientMount {
    /// Its name.
    pub(super) fsname: String,
    /// The directory, where it is not the whole.
    pub(super) part: Option<String>,
    /// Where.
    pub(super) place: PathBuf,
    /// As it was mounted.
    pub(super) source: String,
}

/// What every file would fail with, where one does: the system's texts of ENOTCONN, ESHUTDOWN, ENODEV and EROFS, and what the
/// C library says of an option that this `lfs` does not have.
const UNFIT: [&str; 6] = [
    "Transport endpoint is not connected",
    "Cannot send after transport endpoint shutdown",
    "No such device",
    "Read-only file system",
    "unrecognized option",
    "invalid option",
];

/// Whether a complaint of `lfs migrate` is about more than its file.
fn is_unfit(complaint: &str) -> bool {
    UNFIT.iter().any(|text| complaint.contains(text))
}

impl Host {
    /// Where a file system is mounted here as a client, as a whole; none where it is not.
    pub fn client_mount(&self, fsname: &FsName) -> Result<Option<PathBuf>, HostError> {
        let is_whole = |mount: &ClientMount| mount.fsname == fsname.as_str() && mount.part.is_none();
        Ok(self.client_mounts()?.into_iter().find(is_whole).map(|mount| mount.place))
    }

    /// What is mounted here as a client.
    pub(super) fn client_mounts(&self) -> Result<Vec<ClientMount>, HostError> {
        let path = self.root.proc.join("mounts");
        let text = fs::read_to_string(&path).map_err(HostError::io("read", &path))?;
        let mount = |line: &str| {
            let mut words = line.split(' ');
            let (source, place, fstype) = (words.next()?, words.next()?, words.next()?);
            // <NIDs of the MGS>:/<fsname>, with a directory behind where only that is mounted: then not all files are seen.
            let (_, name) = source.rsplit_once(":/").filter(|_| fstype == "lustre")?;
            let (fsname, part) = name.split_once('/').map_or((name, None), |(fsname, part)| (fsname, Some(part)));
            let place = PathBuf::from(super::usage::unescape(place));
            let part = part.filter(|part| !part.is_empty()).map(str::to_owned);
            Some(ClientMount { fsname: fsname.to_owned(), part, place, source: source.to_owned() })
        };
        Ok(text.lines().filter_map(mount).collect())
    }

    /// Moves one file off the OSTs where none may be made. `is_cancelled` is asked often, and obeyed within a second.
    /// Errors: `lfs` can't be run.
    pub fn migrate(&self, file: &Path, is_cancelled: &dyn Fn() -> bool) -> Result<Moved, HostError> {
        let mut child = spawn(&self.tools.lfs, &migrate_arguments(file), Stdio::null())?;
        // What it complains of is a line or two, and fits into the pipe until somebody reads it.
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if is_cancelled() => {
                    end(&mut child);
                    return Ok(Moved::Cancelled);
                }
                Ok(None) => thread::sleep(POLL),
                Err(source) => {
                    return Err(HostError::Io { what: "wait for lfs migrate of", path: file.into(), source });
                }
            }
        };
        if status.success() {
            return Ok(Moved::Done);
        }
        if matches!(fs::symlink_metadata(file), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(Moved::Gone);
        }
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(4096).read_to_end(&mut said);
        }
        let complaint = tool::complaint(&said);
        let why = format!("lfs migrate ended with {status}: {complaint}");
        Ok(if is_unfit(&complaint) { Moved::Unfit(why) } else { Moved::Failed(why) })
    }

    /// What a client knows of an OST's contents, from its tunables; none where it isn't connected to it.
    pub fn ost_usage(&self, ost: &SvName) -> Option<OstUsage> {
        let value = |name: &str| -> Option<u64> {
            // On a client the device ends in the address of the mount, on an MDT in its name.
            let found = self.params(&format!("osc.{ost}-osc-*.{name}"), false);
            super::params::read(&found.first()?.path).ok()?.trim().parse().ok()
        };
        let used = |total: &str, free: &str| value(total)?.checked_sub(value(free)?);
        let used_bytes = used("kbytestotal", "kbytesfree")?.checked_mul(1024)?;
        Some(OstUsage { used_bytes, used_objects: used("filestotal", "filesfree") })
    }
}

/// In a process group of its own, so that all of it can be ended.
fn spawn(lfs: &str, arguments: &[OsString], stdout: Stdio) -> Result<Child, HostError> {
    let mut command = Command::new(lfs);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .process_group(0);
    exclusive::starting(|| command.spawn()).map_err(|source| HostError::ToolMissing {
        tool: lfs.to_owned(),
        package: PACKAGE,
        source,
    })
}

/// How a short command ended.
pub(super) enum Ended {
    /// With what it printed.
    Well(String),
    /// Or not at all in its time: what it complained of.
    Badly(String),
}

/// Runs `lfs` for so long at most. Errors: it can't be run.
pub(super) fn run_for(lfs: &str, arguments: &[OsString], patience: Duration) -> Result<Ended, HostError> {
    let mut child = spawn(lfs, arguments, Stdio::piped())?;
    let mut stdout = child.stdout.take().expect("it was asked to be piped");
    let mut stderr = child.stderr.take().expect("it was asked to be piped");
    let (printed, output) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // The list of thousands of OSTs is some 100 KiB.
        let _ = stdout.by_ref().take(16 << 20).read_to_end(&mut bytes);
        let _ = printed.send(bytes);
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < patience => thread::sleep(POLL),
            Ok(None) => {
                end(&mut child);
                return Ok(Ended::Badly(format!("no answer within {} s", patience.as_secs())));
            }
            Err(error) => return Ok(Ended::Badly(error.to_string())),
        }
    };
    let bytes = output.recv().unwrap_or_default();
    if status.success() {
        return Ok(Ended::Well(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let mut said = Vec::new();
    let _ = stderr.by_ref().take(4096).read_to_end(&mut said);
    // Some complaints go to standard output.
    said.extend(bytes.iter().take(4096));
    Ok(Ended::Badly(format!("{status}: {}", tool::complaint(&said))))
}

/// Ends a program and all that it started.
fn end(child: &mut Child) {
    let Ok(group) = i32::try_from(child.id()).map(Pid::from_raw) else { return };
    let asked = Instant::now();
    let mut signal = Signal::SIGTERM;
    while matches!(child.try_wait(), Ok(None)) {
        let _ = killpg(group, signal);
        if asked.elapsed() > TERM_GRACE {
            signal = Signal::SIGKILL;
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Sysroot, Tools};

    fn host(dir: &Path) -> Host {
        let root = Sysroot { proc: dir.join("proc"), param_root: dir.join("root"), ..Sysroot::default() };
        Host::new(root, Tools::from_dir(None))
    }

    #[test]
    fn commands_are_those_of_the_manual() {
        let words =
            |all: Vec<OsString>| all.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ");
        let find = find_arguments(Path::new("/mnt/gold"), &"gold-OST001f".parse().unwrap());
        assert_eq!(words(find), "find /mnt/gold --type f --ost 31 --print0");
        assert_eq!(
            words(migrate_arguments(Path::new("/mnt/gold/-x y"))),
            "migrate --non-block --copy=/mnt/gold/-x y /mnt/gold/-x y"
        );
    }

    #[test]
    fn a_client_is_found_by_the_file_system_that_it_has_mounted_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        let mounts = "/dev/sda1 / ext4 rw 0 0\n\
                      10.9.0.1@tcp:/gold/sub /mnt/part lustre rw 0 0\n\
                      /dev/sdb /mnt/ost lustre_tgt rw 0 0\n\
                      10.9.0.1@tcp:10.9.0.2@tcp:/gold /mnt/all\\040gold lustre rw,checksum 0 0\n";
        fs::write(dir.path().join("proc/mounts"), mounts).unwrap();
        let host = host(dir.path());
        assert_eq!(host.client_mount(&"gold".parse().unwrap()).unwrap(), Some("/mnt/all gold".into()));
        assert_eq!(host.client_mount(&"other".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn what_every_file_would_fail_with_is_told_from_what_one_does() {
        // The texts are the C library's.
        use nix::errno::Errno;
        for (errno, is_of_all) in [
            (Errno::EBUSY, false),
            (Errno::EAGAIN, false),
            (Errno::ENOSPC, false),
            (Errno::EDQUOT, false),
            (Errno::EPERM, false),
            (Errno::EACCES, false),
            (Errno::EIO, false),
            (Errno::ESTALE, false),
            (Errno::ETXTBSY, false),
            (Errno::ENOENT, false),
            (Errno::ENOTCONN, true),
            (Errno::ESHUTDOWN, true),
            (Errno::ENODEV, true),
            (Errno::EROFS, true),
            // Of a layout that this release can not move.
            (Errno::EOPNOTSUPP, false),
        ] {
            let text = std::io::Error::from(errno).to_string();
            assert_eq!(is_unfit(&format!("lfs: /mnt/gold/a: {text}")), is_of_all, "{text}");
        }
        assert!(is_unfit("lfs: unrecognized option '--copy=/mnt/gold/a'"));
    }

    /// Names and values from a client of 2.17.57 with an empty OST.
    #[test]
    fn what_an_ost_holds_is_read_as_a_client_of_2_17_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let osc = dir.path().join("root/sys/fs/lustre/osc/gold-OST0000-osc-ff11000009420800");
        fs::create_dir_all(&osc).unwrap();
        for (name, value) in
            [("kbytestotal", "236008"), ("kbytesfree", "234616"), ("filestotal", "76800"), ("filesfree", "76497")]
        {
            fs::write(osc.join(name), format!("{value}\n")).unwrap();
        }
        let host = host(dir.path());
        let usage = host.ost_usage(&"gold-OST0000".parse().unwrap()).unwrap();
        assert_eq!((usage.used_bytes, usage.used_objects), (1392 * 1024, Some(303)));
        assert_eq!(host.ost_usage(&"gold-OST0001".parse().unwrap()), None);
    }
}
