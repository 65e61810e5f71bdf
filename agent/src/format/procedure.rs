//! The format, step by step, and how it goes on after the agent was killed at any of them.

use super::{Wanted, guard};
use crate::host::{
    Device, Host, HostError, Signature, chain,
    lock::{self, DeviceLock},
    mke2fs::{Mke2fsRun, Spawn, find_by_argument, has_said_done, last_lines, latest_progress, output_tail},
    signatures,
};
use crate::observe::{Content, MARKER_LEN, Marker, Observed, UNFINISHED_LABEL};
use crate::time::now;
use lustre_api::{
    agent::FormatOp,
    device::Refusal,
    job::{FormatResult, Progress},
};
use lustre_wire::mountdata;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How often a running `mke2fs` is looked at for progress, and the job for a cancel: that must be obeyed within a second.
const POLL: Duration = Duration::from_millis(50);
/// How old progress may get before it is told again, even unchanged.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long `mke2fs` may take to end by itself once told to.
const TERM_GRACE: Duration = Duration::from_millis(300);
/// How often a format is begun again because agent and `mke2fs` were both killed.
const MAX_ATTEMPTS: u32 = 5;
/// Lines of `mke2fs`'s output that go with a result.
const OUTPUT_LINES: usize = 12;

/// What is journaled before the first write to the device, and what a restarted agent goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// UUID of the file system, chosen here: by it the process and its result are recognised.
    pub uuid: Uuid,
    /// The device by what doesn't change when it gets another name: size, serial number, WWN.
    pub identity: String,
    /// What was on it.
    pub formatted_over: String,
    /// Features that it is made without.
    pub missing_features: Vec<String>,
    /// Program and arguments. The process is found by the UUID in them.
    pub command: Vec<String>,
    /// How often `mke2fs` was started for it.
    pub attempts: u32,
}

/// Whom a format tells what it does. Blocking.
pub trait Report {
    /// Makes durable how far it has come; nothing goes on before that.
    fn begun(&self, begun: &Begun) -> Result<(), String>;
    /// Tells how much is done.
    fn progress(&self, progress: Progress);
    /// Tells what the program printed last.
    fn output(&self, lines: Vec<String>);
    /// Tells what the program exited with.
    fn exited(&self, status: Option<i32>);
    /// Whether it shall stop.
    fn is_cancelled(&self) -> bool;
}

/// How a format ended without reaching its goal.
#[derive(Debug)]
pub enum FormatEnd {
    /// Nothing was touched, for these reasons.
    Refused(Vec<Refusal>),
    /// Nothing was touched: the device isn't what the plan saw.
    Changed(String),
    /// The device can't be looked at, or a program can't be run; nothing was touched.
    Host(HostError),
    /// It didn't work; what is on the device now is in the message.
    Failed {
        /// What happened.
        message: String,
        /// Whether the same may work later.
        retryable: bool,
    },
    /// Stopped on request; what is on the device now.
    Cancelled(String),
}

impl From<HostError> for FormatEnd {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

/// One format.
pub struct Format<'a> {
    /// The host.
    pub host: &'a Host,
    /// What is asked for.
    pub op: &'a FormatOp,
    /// The same, checked.
    pub wanted: &'a Wanted,
    /// A directory of its own, for the program's output and the new file system's contents.
    pub dir: &'a Path,
    /// Whom to tell.
    pub report: &'a dyn Report,
}

impl Format<'_> {
    /// Makes the target, or goes on making it where `begun` says that an earlier agent began.
    pub fn run(&self, begun: Option<Begun>) -> Result<FormatResult, FormatEnd> {
        let device = self.host.device(&self.wanted.device)?;
        if let Some(begun) = &begun {
            check_identity(&device, begun)?;
        }
        let lock = self.take_lock(&device, begun.as_ref())?;
        if let Some(begun) = &begun
            // Of a mke2fs that nobody waited for, its last word tells whether all of its writes went well.
            && has_said_done(&output_tail(self.dir))
            && self.is_made(&device, begun.uuid)?
        {
            return self.finish(&device, &lock, begun).map_err(|end| self.cut_off(&device, begun.uuid, end));
        }
        let observed = self.host.observe(&device)?;
        if let Content::Target(found) = &observed.content
            && guard::is_same(found, self.wanted)
        {
            if begun.is_some() {
                // The agent that wrote the label may have been killed before it was on the medium.
                self.host.sync(&device)?;
            }
            return Ok(FormatResult {
                // Where the final label was written just before the agent was killed, it was us after all.
                changed: begun.as_ref().is_some_and(|begun| found.uuid == begun.uuid.to_string()),
                formatted_over: begun.map_or_else(|| observed.content.to_string(), |begun| begun.formatted_over),
                formatted_as: (**found).clone(),
                missing_features: Vec::new(),
            });
        }
        self.check(&device, &lock, &observed, begun.as_ref())?;
        if self.report.is_cancelled() {
            // Of one that had begun, mke2fs died unseen, maybe after it had discarded the mark.
            return Err(match &begun {
                Some(begun) => self.cancelled(&device, begun, &observed.signatures),
                None => {
                    FormatEnd::Cancelled(format!("cancelled before anything was written to {}", device.path.display()))
                }
            });
        }
        let begun = self.begin(&device, &observed, begun)?;
        let uuid = begun.uuid;
        self.make(&device, &lock, &observed, begun).map_err(|end| self.cut_off(&device, uuid, end))
    }

    /// What a host that fails behind the first write to the device means.
    fn cut_off(&self, device: &Device, uuid: Uuid, end: FormatEnd) -> FormatEnd {
        let FormatEnd::Host(error) = end else { return end };
        let left = self.leave_marked(device, uuid, &[]);
        FormatEnd::Failed {
            message: format!("the format of {} was cut off: {}; {left}", self.wanted.svname, chain(&error)),
            retryable: true,
        }
    }

    /// Everything that must be true right before the first write, in this order: use, size, contents, other nodes,
    /// and that it is still what the plan saw.
    fn check(
        &self,
        device: &Device,
        lock: &DeviceLock,
        observed: &Observed,
        begun: Option<&Begun>,
    ) -> Result<(), FormatEnd> {
        let found = observed.content.to_string();
        let mut refusals = guard::against(self.host, device, observed, self.wanted, Some(lock))?;
        refusals.retain(|refusal| !(self.op.allow_reformat && refusal.code.is_overridable()));
        if let Some(begun) = begun {
            if !is_left_by_us(&observed.content) && found != begun.formatted_over {
                // Somebody made use of the device while nobody worked on it. No flag was given for that.
                return Err(FormatEnd::Changed(format!(
                    "{} holds {found} now, which came after the format had begun",
                    device.path.display()
                )));
            }
            if is_left_by_us(&observed.content) {
                refusals.retain(|refusal| !refusal.code.is_overridable());
            }
        }
        if !refusals.is_empty() {
            return Err(FormatEnd::Refused(refusals));
        }
        if let Some(expected) = self.op.expect_size_bytes.filter(|expected| *expected != device.size_bytes) {
            return Err(FormatEnd::Changed(format!(
                "{} has {} bytes now, the plan saw {expected}",
                device.path.display(),
                device.size_bytes
            )));
        }
        let is_ours = begun.is_some() || matches!(&observed.content, Content::Target(target) if target.incomplete);
        if let Some(expected) = self.op.expect_content.as_ref().filter(|expected| **expected != found && !is_ours) {
            return Err(FormatEnd::Changed(format!(
                "{} holds {found} now, the plan saw {expected}",
                device.path.display()
            )));
        }
        let superblock = self.host.superblock(device)?;
        if superblock.is_some_and(|superblock| superblock.has_mmp) && self.host.is_mounted_elsewhere(device)? {
            return Err(FormatEnd::Refused(vec![Refusal {
                code: lustre_api::device::RefusalCode::Mounted,
                message: format!(
                    "{} is mounted on another node, says its multi-mount protection",
                    device.path.display()
                ),
            }]));
        }
        Ok(())
    }

    /// Journals what is about to happen.
    fn begin(&self, device: &Device, observed: &Observed, before: Option<Begun>) -> Result<Begun, FormatEnd> {
        let begun = match before {
            Some(before) if before.attempts >= MAX_ATTEMPTS => {
                let left = self.leave_marked(device, before.uuid, &observed.signatures);
                return Err(FormatEnd::Failed {
                    message: format!("the format of {} was killed {MAX_ATTEMPTS} times; {left}", device.path.display()),
                    retryable: true,
                });
            }
            Some(before) => Begun { attempts: before.attempts + 1, ..before },
            None => {
                let mke2fs = self.host.mke2fs()?;
                let uuid = Uuid::new_v4();
                let backing = self.wanted.backing(device);
                Begun {
                    uuid,
                    identity: identity(device),
                    formatted_over: observed.content.to_string(),
                    missing_features: mke2fs.missing_for(&backing),
                    command: command(self.host, self.wanted, device, uuid, &self.dir.join("root"))?,
                    attempts: 1,
                }
            }
        };
        self.journal(&begun)?;
        Ok(begun)
    }

    fn make(
        &self,
        device: &Device,
        lock: &DeviceLock,
        observed: &Observed,
        begun: Begun,
    ) -> Result<FormatResult, FormatEnd> {
        let not_begun = |error: HostError| FormatEnd::Failed {
            message: format!("{}, so the format of {} did not begin", chain(&error), self.wanted.svname),
            retryable: true,
        };
        self.write_contents().map_err(not_begun)?;
        self.mark(device, begun.uuid, &observed.signatures).map_err(not_begun)?;
        let command: Vec<OsString> = begun.command.iter().map(OsString::from).collect();
        let mut run = Mke2fsRun::start(Spawn { command: &command, output_dir: self.dir, lock: lock.at_end()? })?;
        self.watch(device, &mut run, &begun)?;
        self.report.exited(run.exit_code());
        if run.has_failed() || !self.is_made(device, begun.uuid)? {
            let complaint = last_lines(&run.stderr_tail(), OUTPUT_LINES).join("; ");
            let left = self.leave_marked(device, begun.uuid, &[]);
            return Err(FormatEnd::Failed {
                message: format!(
                    "mke2fs on {} ended with {}: {complaint}; {left}",
                    device.path.display(),
                    run.status(),
                ),
                retryable: false,
            });
        }
        self.finish(device, lock, &begun)
    }

    /// Waits for a `mke2fs` of an earlier agent, if it still runs; whether it did.
    fn outlive(&self, device: &Device, begun: &Begun) -> Result<bool, FormatEnd> {
        // Found by the UUID in its arguments, which nobody else has: the id that it was started with need not be journaled.
        let found = find_by_argument(&begun.uuid.to_string());
        match found.and_then(|process| Mke2fsRun::adopt(process, self.dir)) {
            Some(mut run) => self.watch(device, &mut run, begun).map(|()| true),
            None => Ok(false),
        }
    }

    /// Follows a running `mke2fs` to its end, telling its progress; kills it when the job is cancelled.
    fn watch(&self, device: &Device, run: &mut Mke2fsRun, begun: &Begun) -> Result<(), FormatEnd> {
        let mut told = None;
        let mut told_at = Instant::now();
        while run.is_running() {
            if self.report.is_cancelled() {
                self.kill(run);
                return Err(self.cancelled(device, begun, &[]));
            }
            let progress = latest_progress(&run.stdout_tail());
            if progress != told || told_at.elapsed() >= REPORT_EVERY {
                self.report.progress(progress_of(progress.as_ref()));
                (told, told_at) = (progress, Instant::now());
            }
            run.wait_for_end(POLL);
        }
        self.report.output(last_lines(&run.stdout_tail(), OUTPUT_LINES));
        Ok(())
    }

    /// Ends the whole process group; comes back when it is gone, which a disk that doesn't answer may delay.
    fn kill(&self, run: &mut Mke2fsRun) {
        run.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while run.is_running() && asked.elapsed() < TERM_GRACE {
            run.wait_for_end(POLL / 5);
        }
        while run.is_running() {
            run.signal(Signal::SIGKILL);
            run.wait_for_end(POLL / 5);
        }
    }

    /// Whether `mke2fs` has done all of its work: our file system with our file in it is on the device.
    /// Its exit status alone proves nothing; after a restart nobody knows it, and it may lie.
    fn is_made(&self, device: &Device, uuid: Uuid) -> Result<bool, FormatEnd> {
        let Some(superblock) = self.host.superblock(device)? else { return Ok(false) };
        if superblock.uuid != uuid || superblock.label != UNFINISHED_LABEL || !superblock.is_clean {
            return Ok(false);
        }
        match self.host.mountdata(device) {
            Ok(bytes) => Ok(bytes.is_some_and(|bytes| bytes == self.wanted.mountdata.encode())),
            // A file system that was cut off in the middle can't be opened.
            Err(HostError::ToolFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything on the medium, then the label: from then on it is a target.
    fn finish(&self, device: &Device, lock: &DeviceLock, begun: &Begun) -> Result<FormatResult, FormatEnd> {
        if self.report.is_cancelled() {
            return Err(self.cancelled(device, begun, &[]));
        }
        if self.host.marker(device)?.is_some() {
            self.unmark(device)?;
        }
        let quotas = self.wanted.backing(device).quota_types(&self.host.mke2fs()?.missing);
        self.host.recount_quota(device, lock, &quotas)?;
        self.host.sync(device)?;
        self.host.set_label_at_rest(device, Some(lock), &self.wanted.mkfs.label().to_string())?;
        self.host.sync(device)?;
        let has_quota = self.host.superblock(device)?.is_some_and(|superblock| superblock.has_quota);
        match self.host.read_back(device)? {
            Content::Target(found)
                if found.uuid == begun.uuid.to_string()
                    && guard::is_same(&found, self.wanted)
                    && has_quota != quotas.is_empty() =>
            {
                Ok(FormatResult {
                    formatted_as: *found,
                    formatted_over: begun.formatted_over.clone(),
                    changed: true,
                    missing_features: begun.missing_features.clone(),
                })
            }
            other => {
                let left = self.leave_marked(device, begun.uuid, &[]);
                Err(FormatEnd::Failed {
                    message: format!(
                        "{} was formatted as {}, but reads back as {other}; {left}",
                        device.path.display(),
                        self.wanted.svname
                    ),
                    retryable: false,
                })
            }
        }
    }

    /// Says on the device that it is unfinished, and removes what else it said. Durable when it returns; the gigabytes that
    /// a killed `mke2fs` may have left on their way to the medium are not waited for.
    fn mark(&self, device: &Device, uuid: Uuid, others: &[Signature]) -> Result<(), HostError> {
        let marker = Marker { svname: self.wanted.svname.clone(), uuid };
        let path = &device.path;
        let file = device.open_for_durable_writing().map_err(HostError::io("open", path))?;
        file.write_all_at(&marker.encode(), 0).map_err(HostError::io("write", path))?;
        let behind: Vec<_> = others.iter().filter(|signature| signature.offset >= MARKER_LEN as u64).cloned().collect();
        signatures::erase(&device.path, &file, device.size_bytes, &behind)
    }

    /// [`mark`](Self::mark)s what a format left that came to no good end; what to say of that.
    fn leave_marked(&self, device: &Device, uuid: Uuid, others: &[Signature]) -> String {
        match self.mark(device, uuid, others) {
            Ok(()) => "the device is left marked unfinished".to_owned(),
            Err(error) => {
                let path = device.path.display();
                format!(
                    "{path} can't be marked unfinished ({}) and is to be formatted again before any use",
                    chain(&error)
                )
            }
        }
    }

    /// The end of a format that is cancelled after it had begun.
    fn cancelled(&self, device: &Device, begun: &Begun, others: &[Signature]) -> FormatEnd {
        let path = device.path.display();
        FormatEnd::Cancelled(match self.mark(device, begun.uuid, others) {
            Ok(()) => format!(
                "cancelled; {path} is left marked as an unfinished format of {}, what was on it is lost",
                self.wanted.svname
            ),
            Err(error) => format!(
                "cancelled; {path} can't be marked as an unfinished format of {} ({}) and is to be formatted again before \
                 any use",
                self.wanted.svname,
                chain(&error)
            ),
        })
    }

    /// Takes the mark away. Not durable by itself.
    fn unmark(&self, device: &Device) -> Result<(), HostError> {
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        file.write_all_at(&[0; MARKER_LEN], 0).map_err(HostError::io("write", &device.path))
    }

    /// The new file system's contents: `CONFIGS/mountdata`, with the modes that `mkfs.lustre` leaves.
    fn write_contents(&self) -> Result<(), HostError> {
        let root = self.dir.join("root");
        let file = root.join(mountdata::PATH);
        let configs = file.parent().expect("mountdata is in a directory");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| HostError::Io { what: "write", path, source }
        };
        fs::create_dir_all(configs).map_err(io(configs))?;
        fs::write(&file, self.wanted.mountdata.encode()).map_err(io(&file))?;
        for (path, mode) in [(root.as_path(), 0o755), (configs, 0o755), (&file, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io(path))?;
        }
        Ok(())
    }

    /// The lock of the device's disk. An earlier agent's `mke2fs` that still holds it is waited for.
    fn take_lock(&self, device: &Device, begun: Option<&Begun>) -> Result<DeviceLock, FormatEnd> {
        let mut asked = Instant::now();
        loop {
            // Looked for each time: an agent may have been killed before its mke2fs was more than a fork of itself.
            if let Some(begun) = begun
                && self.outlive(device, begun)?
            {
                asked = Instant::now();
            }
            if let Some(lock) = lock::lock(&self.host.root, device)? {
                return Ok(lock);
            }
            let may_be_own = begun.is_some() && !self.report.is_cancelled();
            if asked.elapsed() > if may_be_own { lock::PATIENCE_WITH_OWN } else { lock::PATIENCE } {
                let message = format!(
                    "{} is locked by another program that works on its disk; `lslocks` says which",
                    device.path.display()
                );
                return Err(FormatEnd::Failed { message, retryable: true });
            }
            thread::sleep(lock::PAUSE);
        }
    }

    fn journal(&self, begun: &Begun) -> Result<(), FormatEnd> {
        self.report.begun(begun).map_err(|why| FormatEnd::Failed {
            message: format!(
                "the agent's journal can't be written ({why}), so {} was not touched",
                self.wanted.device.display()
            ),
            retryable: true,
        })
    }
}

/// The whole command line for `wanted` on `device`.
pub(super) fn command(
    host: &Host,
    wanted: &Wanted,
    device: &Device,
    uuid: Uuid,
    root: &Path,
) -> Result<Vec<String>, HostError> {
    let backing = wanted.backing(device);
    let mut command = vec![host.tools.mke2fs.clone(), "-j".into(), "-b".into(), backing.block_bytes().to_string()];
    command.extend(["-L".into(), UNFINISHED_LABEL.into(), "-U".into(), uuid.to_string()]);
    command.extend(["-d".into(), root.to_string_lossy().into_owned()]);
    command.extend(backing.options(&host.mke2fs()?.missing));
    command.push(device.path.to_string_lossy().into_owned());
    Ok(command)
}

impl Format<'_> {
    /// The command that a format would run now, its UUID and directory not yet chosen.
    pub fn preview(host: &Host, wanted: &Wanted, device: &Device) -> Result<Vec<String>, HostError> {
        if let Some(dataset) = device.dataset() {
            return Ok(super::zfs::command(&dataset, wanted, Uuid::nil()));
        }
        command(host, wanted, device, Uuid::nil(), &PathBuf::from("root"))
    }
}

/// What a killed `mke2fs` of ours may leave: nothing, our mark, or bytes that nobody recognises.
fn is_left_by_us(content: &Content) -> bool {
    match content {
        Content::Blank => true,
        Content::Target(target) => target.incomplete,
        Content::Unreadable { label, .. } => label == UNFINISHED_LABEL,
        Content::Foreign(found) => found.iter().all(|signature| signature.kind == signatures::UNKNOWN_DATA),
    }
}

fn identity(device: &Device) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("size={} wwn={} serial={}", device.size_bytes, text(&device.wwn), text(&device.serial))
}

fn check_identity(device: &Device, begun: &Begun) -> Result<(), FormatEnd> {
    let now = identity(device);
    if now == begun.identity {
        return Ok(());
    }
    Err(FormatEnd::Changed(format!(
        "{} is another device than the one whose format had begun: now {now}, then {}",
        device.path.display(),
        begun.identity
    )))
}

fn progress_of(progress: Option<&crate::host::mke2fs::Mke2fsProgress>) -> Progress {
    let (done, total) =
        progress.and_then(|progress| progress.counted).map_or((0, None), |(done, total)| (done, Some(total)));
    Progress {
        phase: progress.map_or_else(|| "starting mke2fs".to_owned(), |progress| progress.phase.clone()),
        done,
        total,
        unit: progress.map_or("steps", |progress| progress.unit()).to_owned(),
        at: now(),
        rate_per_s: None,
        eta_s: None,
    }
}
