//! The evacuation of an OST: what its client does next, decided from what it did so far and the time it is.
//!
//! Files are moved in batches. Each has a time before which and one behind which no file is begun, so outside of the window
//! nothing moves, and as many bytes as the rate allows; the next begins when the bytes before have had their time. A pass is
//! one search through the whole file system; when it is over, another search must find nothing. Files that can't be moved
//! are tried again in the next pass; when three passes in a row move nothing, a person is asked.
//!
//! No clock and no I/O: what a batch came to is told, and everything survives in the job's record.

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::{FileFailure, FindFilesOp, FindFilesResult, MigrateOp, MigrateResult, OpResult, OstUsage};
use lustre_api::{Time, Window};
use lustre_types::SvName;
use serde::{Deserialize, Serialize};

/// The longest batch: how often progress is made durable.
pub const BATCH_MS: u64 = 300_000;
/// Most files of a batch.
pub const BATCH_FILES: u32 = 100_000;
/// Passes in a row that move nothing before it is given up.
const IDLE_PASSES: u32 = 3;
/// Wait before a pass that follows one without success.
const IDLE_PAUSE_MS: u64 = 60_000;
/// Errors of `lfs` in a row, and the wait behind the first; it doubles.
const MAX_ERRORS: u32 = 6;
const ERROR_PAUSE_MS: u64 = 10_000;
/// Files that are remembered by name.
const NAMED: usize = 100;

/// What an evacuation keeps to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvacuationLimits {
    /// Where the client has mounted the file system; looked up there when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Time of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Moving what a search finds.
    Moving,
    /// Searching for what is left.
    Searching,
    /// Nothing was left when the last search came to its end.
    Empty,
}

/// How far an evacuation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evacuation {
    /// What it keeps to.
    pub limits: EvacuationLimits,
    /// What it is doing.
    pub phase: Phase,
    /// A person lets it rest.
    pub is_paused: bool,
    /// Files moved.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Failures in the pass under way, and of the last one the first files by name.
    pub failed: u64,
    /// See `failed`.
    pub failures: Vec<FileFailure>,
    /// Passes that were begun.
    pub passes: u32,
    /// Passes in a row that moved nothing.
    pub idle_passes: u32,
    /// Errors of `lfs` in a row.
    pub errors: u32,
    /// What the OST has left, when that was last known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<OstUsage>,
    /// When the batch under way, or the last one, was given out.
    pub given: Time,
    /// No file is begun before: the bytes so far have not had their time, or something went wrong.
    pub not_before: Time,
    /// Whether the pass under way has moved a file.
    pub has_moved: bool,
}

/// What comes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is more to do.
    GoOn,
    /// The OST was empty when it was looked through.
    Empty,
    /// It can't be done; why.
    GiveUp(String),
}

impl Evacuation {
    /// One that has not begun.
    pub fn new(limits: EvacuationLimits, now: Time) -> Self {
        Self {
            limits,
            phase: Phase::Moving,
            is_paused: false,
            files: 0,
            bytes: 0,
            failed: 0,
            failures: Vec::new(),
            passes: 1,
            idle_passes: 0,
            errors: 0,
            left: None,
            given: now,
            not_before: now,
            has_moved: false,
        }
    }

    /// What the client does next, beginning at `now` or when it may.
    pub fn next(&mut self, ost: &SvName, now: Time) -> AgentOp {
        // The clock went back: what was to be waited for is waited for from here.
        if self.given > now {
            let wait = self.not_before.unix_ms().saturating_sub(self.given.unix_ms());
            self.not_before = after(now, wait);
        }
        self.given = now;
        if self.phase != Phase::Moving {
            let mountpoint = self.limits.mountpoint.clone();
            return AgentOp::FindFiles(FindFilesOp { ost: ost.clone(), mountpoint, max_files: 1000 });
        }
        let from =
            self.limits.window.map_or(self.not_before.max(now), |window| window.open_at(self.not_before.max(now)));
        let end = self.limits.window.map_or(u64::MAX, |window| window.closed_at(from).unix_ms());
        let until = Time::from_unix_ms((from.unix_ms() + BATCH_MS).min(end));
        // What the whole batch may take; never nothing, or it would never end.
        let lasts_ms = until.unix_ms() - from.unix_ms();
        let budget =
            |rate: u64| u64::try_from(u128::from(rate) * u128::from(lasts_ms) / 1000).unwrap_or(u64::MAX).max(1);
        AgentOp::Migrate(MigrateOp {
            ost: ost.clone(),
            mountpoint: self.limits.mountpoint.clone(),
            max_bytes: self.limits.rate_bytes_per_s.map_or(u64::MAX, budget),
            max_files: BATCH_FILES,
            rate_bytes_per_s: self.limits.rate_bytes_per_s,
            not_before: from,
            until,
        })
    }

    /// Takes in what the client did.
    pub fn done(&mut self, now: Time, result: &OpResult) -> Verdict {
        self.errors = 0;
        match result {
            OpResult::Migrated(batch) => self.moved(now, batch),
            OpResult::Found(found) => self.found(now, found),
            OpResult::Tuned(_) | OpResult::ParamSet(_) => {
                self.failed(now, "the client answered something else than was asked")
            }
        }
    }

    /// Takes in what a batch did that was stopped.
    pub fn stopped(&mut self, now: Time, result: Option<&OpResult>) {
        match result {
            Some(OpResult::Migrated(batch)) => self.count(now, batch),
            // Nobody can tell how much was moved: as if it had been all.
            _ if self.phase == Phase::Moving => self.not_before = after(now, self.lasting(u64::MAX).min(BATCH_MS)),
            _ => {}
        }
        // The search was given up with it.
        self.phase = Phase::Moving;
    }

    /// Takes in that the client could do nothing.
    pub fn failed(&mut self, now: Time, why: &str) -> Verdict {
        self.errors += 1;
        // What never worked is more likely set up wrong than out of order.
        if self.files == 0 && self.passes == 1 && self.failed == 0 {
            return Verdict::GiveUp(why.to_owned());
        }
        if self.errors >= MAX_ERRORS {
            return Verdict::GiveUp(format!("{why} ({} times in a row)", self.errors));
        }
        self.not_before = after(now, ERROR_PAUSE_MS << (self.errors - 1));
        Verdict::GoOn
    }

    fn moved(&mut self, now: Time, batch: &MigrateResult) -> Verdict {
        self.count(now, batch);
        if !batch.is_pass_complete {
            return Verdict::GoOn;
        }
        if self.has_moved {
            self.idle_passes = 0;
        } else if self.failed > 0 {
            self.idle_passes += 1;
        }
        if self.idle_passes >= IDLE_PASSES {
            return Verdict::GiveUp(self.stuck(self.failed));
        }
        self.phase = Phase::Searching;
        Verdict::GoOn
    }

    fn count(&mut self, now: Time, batch: &MigrateResult) {
        self.files += batch.files;
        self.bytes = self.bytes.saturating_add(batch.bytes);
        self.has_moved |= batch.files > 0;
        self.failed += batch.failed;
        let room = NAMED.saturating_sub(self.failures.len());
        self.failures.extend(batch.failures.iter().take(room).cloned());
        self.left = batch.left.or(self.left);
        self.not_before =
            after(now, self.lasting(batch.bytes).saturating_sub(now.unix_ms().saturating_sub(self.given.unix_ms())));
    }

    /// How long so many bytes take at the rate, milliseconds.
    fn lasting(&self, bytes: u64) -> u64 {
        match self.limits.rate_bytes_per_s {
            None => 0,
            Some(rate) => {
                u64::try_from((u128::from(bytes) * 1000).div_ceil(u128::from(rate.max(1)))).unwrap_or(u64::MAX)
            }
        }
    }

    fn found(&mut self, now: Time, found: &FindFilesResult) -> Verdict {
        self.left = found.left.or(self.left);
        if found.files == 0 {
            self.phase = Phase::Empty;
            return Verdict::Empty;
        }
        // Files that nobody could move, or new ones of clients that did not know yet. Without a failure and without a move
        // it would go round for ever: the search finds what the next pass does not.
        if !self.has_moved && self.failed == 0 {
            self.idle_passes += 1;
            if self.idle_passes >= IDLE_PASSES {
                return Verdict::GiveUp(self.stuck(found.files));
            }
        }
        if self.idle_passes > 0 {
            self.not_before = self.not_before.max(after(now, IDLE_PAUSE_MS));
        }
        self.phase = Phase::Moving;
        self.passes += 1;
        (self.failed, self.has_moved) = (0, false);
        self.failures.clear();
        Verdict::GoOn
    }

    fn stuck(&self, files: u64) -> String {
        let named = self.failures.first().map(|first| format!(", among them {}: {}", first.path, first.why));
        format!(
            "{files} files can't be moved{}; {IDLE_PASSES} passes in a row moved nothing",
            named.unwrap_or_default()
        )
    }

    /// In a line, for people.
    pub fn summary(&self) -> String {
        let rests = if self.is_paused { "rests; " } else { "" };
        let left = self.left.map_or_else(String::new, |left| format!(", {} bytes left on the OST", left.used_bytes));
        format!(
            "{rests}pass {}: {} files of {} bytes moved{left}, {} could not be moved",
            self.passes, self.files, self.bytes, self.failed
        )
    }
}

fn after(time: Time, ms: u64) -> Time {
    Time::from_unix_ms(time.unix_ms().saturating_add(ms).min(u64::MAX / 2))
}
