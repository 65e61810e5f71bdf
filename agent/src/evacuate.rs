//! Moves files off an OST, batch by batch, from a client of the file system.
//!
//! What is moved, when and how fast decides the MGS; a batch has limits, and this keeps them.

use crate::host::{
    Host, HostError, chain,
    lfs::{Found, Moved, Scan},
    lfs_df::lacks_room,
};
use crate::time::now;
use lustre_api::{
    agent_ops::{FileFailure, FindFilesOp, FindFilesResult, MigrateOp, MigrateResult},
    job::Progress,
};
use lustre_types::SvName;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tracing::warn;

/// How often a cancel and the end of the batch are looked for.
const POLL: Duration = Duration::from_millis(50);
/// Files named in a result.
const NAMED: usize = 100;
/// The most of a complaint about one file, characters.
const WHY_MAX: usize = 300;

/// The system's text of ENOSPC.
const NO_SPACE: &str = "No space left on device";

/// Whom a batch tells, and who ends it.
pub trait Watch {
    /// Tells how much is done.
    fn progress(&self, progress: Progress);
    /// Whether it shall stop.
    fn is_cancelled(&self) -> bool;
}

/// How a batch ended without a result.
#[derive(Debug)]
pub enum EvacuateEnd {
    /// It can't be done here.
    Failed {
        /// What happened.
        message: String,
        /// Whether the same may work later.
        retryable: bool,
    },
    /// Stopped on request; what had been done.
    Cancelled(MigrateResult),
}

impl From<HostError> for EvacuateEnd {
    fn from(error: HostError) -> Self {
        Self::Failed { message: chain(&error), retryable: false }
    }
}

/// Moves files until a limit of the batch is reached, or the search is at its end.
pub fn migrate(host: &Host, op: &MigrateOp, watch: &dyn Watch) -> Result<MigrateResult, EvacuateEnd> {
    let mountpoint = mountpoint(host, op.mountpoint.as_deref(), &op.ost)?;
    let mut scan = match host.scans.take(&op.ost) {
        Some(scan) => scan,
        None => {
            let scan = begin(host, &mountpoint, &op.ost)?;
            has_room(host, &mountpoint, &op.ost)?;
            scan
        }
    };
    let mut batch = Batch { op, watch, result: MigrateResult::default(), begun: Instant::now(), told: None };
    loop {
        batch.tell();
        if watch.is_cancelled() {
            // The search is not kept: who cancels an evacuation has no more use for it.
            return Err(EvacuateEnd::Cancelled(batch.result));
        }
        if now() < op.not_before && now() < op.until {
            // What is waited for takes nothing of the batch's rate.
            batch.begun = Instant::now();
            thread::sleep(POLL);
            continue;
        }
        if batch.is_over() {
            host.scans.keep(&op.ost, scan);
            break;
        }
        if batch.is_ahead_of_its_rate() {
            thread::sleep(POLL);
            continue;
        }
        match scan.next(POLL) {
            Found::Nothing => {}
            Found::End => {
                // What was unmounted meanwhile has no files either.
                is_mounted(host, &mountpoint, &op.ost)?;
                batch.result.is_pass_complete = true;
                break;
            }
            Found::Failed(message) => return Err(EvacuateEnd::Failed { message, retryable: true }),
            Found::File(file) => batch.move_one(host, &mountpoint, &file)?,
        }
    }
    let mut result = batch.result;
    result.left = host.ost_usage(&op.ost);
    Ok(result)
}

/// Looks for files to the end, or until there are enough of them.
pub fn find(host: &Host, op: &FindFilesOp, watch: &dyn Watch) -> Result<FindFilesResult, EvacuateEnd> {
    let mountpoint = mountpoint(host, op.mountpoint.as_deref(), &op.ost)?;
    let mut scan = begin(host, &mountpoint, &op.ost)?;
    let mut result = FindFilesResult::default();
    loop {
        if watch.is_cancelled() {
            return Err(EvacuateEnd::Cancelled(MigrateResult::default()));
        }
        match scan.next(POLL) {
            Found::Nothing => {}
            Found::End => {
                is_mounted(host, &mountpoint, &op.ost)?;
                break;
            }
            Found::Failed(message) => return Err(EvacuateEnd::Failed { message, retryable: true }),
            Found::File(file) => {
                result.files += 1;
                if result.paths.len() < NAMED {
                    result.paths.push(file.to_string_lossy().into_owned());
                }
                if result.files >= u64::from(op.max_files.max(1)) {
                    break;
                }
            }
        }
    }
    result.left = host.ost_usage(&op.ost);
    Ok(result)
}

fn mountpoint(host: &Host, given: Option<&str>, ost: &SvName) -> Result<PathBuf, EvacuateEnd> {
    let failed = |message: String| EvacuateEnd::Failed { message, retryable: false };
    if let Some(given) = given {
        let path = Path::new(given);
        return if path.is_absolute() {
            Ok(path.to_owned())
        } else {
            Err(failed(format!("{given:?} is no absolute path")))
        };
    }
    let fsname = ost.fsname().ok_or_else(|| failed(format!("{ost} is no OST of a file system")))?;
    host.client_mount(fsname)?.ok_or_else(|| {
        failed(format!("this node has not mounted {fsname}; mount it as a whole, or name another client for the job"))
    })
}

/// Begins a search, where the file system is mounted.
fn begin(host: &Host, mountpoint: &Path, ost: &SvName) -> Result<Scan, EvacuateEnd> {
    is_mounted(host, mountpoint, ost)?;
    Ok(Scan::start(host, mountpoint, ost)?)
}

/// Nobody may take the silence of another directory for an OST without files.
fn is_mounted(host: &Host, mountpoint: &Path, ost: &SvName) -> Result<(), EvacuateEnd> {
    let Some(fsname) = ost.fsname() else { return Ok(()) };
    match host.no_mount_of(fsname, mountpoint)? {
        Some(message) => Err(EvacuateEnd::Failed { message, retryable: true }),
        None => Ok(()),
    }
}

/// Ends an evacuation that the other OSTs have no room for; where nobody can tell, `lfs migrate` will.
fn has_room(host: &Host, mountpoint: &Path, ost: &SvName) -> Result<(), EvacuateEnd> {
    match host.rooms(mountpoint) {
        Ok(rooms) => match lacks_room(&rooms, ost) {
            Some(message) => Err(EvacuateEnd::Failed { message, retryable: true }),
            None => Ok(()),
        },
        Err(error) => {
            warn!(%ost, error, "the room of the other OSTs is not known: lfs df does not tell it");
            Ok(())
        }
    }
}

struct Batch<'a> {
    op: &'a MigrateOp,
    watch: &'a dyn Watch,
    result: MigrateResult,
    begun: Instant,
    told: Option<(u64, u64)>,
}

impl Batch<'_> {
    fn is_over(&self) -> bool {
        let tried = self.result.files + self.result.failed;
        now() >= self.op.until || tried >= u64::from(self.op.max_files) || self.result.bytes >= self.op.max_bytes
    }

    /// Whether less time has passed than the bytes so far may take.
    fn is_ahead_of_its_rate(&self) -> bool {
        self.op.rate_bytes_per_s.is_some_and(|rate| {
            let allowed = u128::from(rate.max(1)) * self.begun.elapsed().as_millis() / 1000;
            u128::from(self.result.bytes) > allowed
        })
    }

    fn move_one(&mut self, host: &Host, mountpoint: &Path, file: &Path) -> Result<(), EvacuateEnd> {
        // Found, and gone since: nothing is left to be moved.
        let Ok(size) = fs::symlink_metadata(file).map(|meta| meta.len()) else { return Ok(()) };
        match host.migrate(file, &|| self.watch.is_cancelled())? {
            Moved::Done => {
                self.result.files += 1;
                self.result.bytes = self.result.bytes.saturating_add(size);
            }
            Moved::Gone | Moved::Cancelled => {}
            Moved::Unfit(why) => {
                let message = format!("{}: {why}; so would every other file", file.display());
                return Err(EvacuateEnd::Failed { message, retryable: true });
            }
            Moved::Failed(why) => {
                if why.contains(NO_SPACE) {
                    // Of one file, or the end of it all.
                    has_room(host, mountpoint, &self.op.ost)?;
                }
                self.result.failed += 1;
                if self.result.failures.len() < NAMED {
                    let why = why.chars().take(WHY_MAX).collect();
                    self.result.failures.push(FileFailure { path: file.to_string_lossy().into_owned(), why });
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self) {
        let now_at = (self.result.bytes, self.result.files);
        if self.told != Some(now_at) {
            self.told = Some(now_at);
            self.watch.progress(Progress {
                phase: format!("moving files off {}, {} so far", self.op.ost, self.result.files),
                done: self.result.bytes,
                total: None,
                unit: "bytes".to_owned(),
                at: now(),
                rate_per_s: None,
                eta_s: None,
            });
        }
    }
}
