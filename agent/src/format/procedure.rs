//! The format, step by step, and how it goes on after the agent was killed at any of them.

use super::{
    Begun, FormatEnd, Report, Wanted,
    begun::{check_identity, identity},
    command::command,
    follow::OUTPUT_LINES,
    guard,
};
use crate::host::{
    Device, Host, HostError, chain,
    detached::{Detached, Spawn, output_tail},
    lock::{self, DeviceLock},
    mke2fs::{has_said_done, last_lines},
};
use crate::observe::{Content, Observed, UNFINISHED_LABEL};
use lustre_api::{agent::FormatOp, job::FormatResult};
use std::{ffi::OsString, path::Path, thread, time::Instant};
use uuid::Uuid;

/// How often a format is begun again because agent and `mke2fs` were both killed.
const MAX_ATTEMPTS: u32 = 5;

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
            return self.finish(&device, &lock, begun, None).map_err(|end| self.cut_off(&device, begun.uuid, end));
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

    fn journal(&self, begun: &Begun) -> Result<(), FormatEnd> {
        self.report.begun(begun).map_err(|why| FormatEnd::Failed {
            message: format!(
                "the agent's journal can't be written ({why}), so {} was not touched",
                self.wanted.device.display()
            ),
            retryable: true,
        })
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
        let mark = if begun.attempts == 1 { Self::mark_first } else { Self::mark };
        mark(self, device, begun.uuid, &observed.signatures).map_err(not_begun)?;
        let command: Vec<OsString> = begun.command.iter().map(OsString::from).collect();
        let spawn = Spawn {
            command: &command,
            environment: &[],
            output_dir: self.dir,
            stdin: lock.at_end()?,
            package: "e2fsprogs",
        };
        let mut run = Detached::start(spawn)?;
        self.watch(device, &mut run, &begun)?;
        self.report.exited(run.exit_code());
        if run.has_failed() || !self.is_made(device, begun.uuid)? {
            let complaint = last_lines(&run.stderr_tail(), OUTPUT_LINES).join("; ");
            let left = self.leave_marked(device, begun.uuid, &[]);
            return Err(FormatEnd::Failed {
                message: format!(
                    "mke2fs on {} for {} ended with {}: {complaint}; {left}",
                    device.path.display(),
                    self.wanted.svname,
                    run.status(),
                ),
                retryable: false,
            });
        }
        self.finish(device, lock, &begun, Some(&observed.content))
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

    /// Everything on the medium, then the label: from then on it is a target. `before` is what was on the device, if it was
    /// seen by this agent.
    fn finish(
        &self,
        device: &Device,
        lock: &DeviceLock,
        begun: &Begun,
        before: Option<&Content>,
    ) -> Result<FormatResult, FormatEnd> {
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
        match self.host.read_back(device, before)? {
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
}
