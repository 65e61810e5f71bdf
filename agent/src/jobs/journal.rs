//! The agent's journal: every job, durable before it acts. What several jobs write at once goes into one commit.

use super::file::{Change, JournalFile};
use super::unmet::LATE_MS;
use crate::{format::Begun, tune::Rewrite};
use lustre_api::{Time, agent::AgentJob, job::JobId};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use thiserror::Error;

/// Finished jobs that are kept; younger ones are kept as long as a call that starts them again may be under way.
const KEEP_FINISHED: usize = 1000;

/// A job as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The job as callers see it.
    pub job: AgentJob,
    /// How far its format has come, where it is one and has touched the device.
    #[serde(default)]
    pub begun: Option<Begun>,
    /// What its change of a target writes, where it is one and may have touched the device.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// The ZFS pool that its start was about to import: it is exported again should the start come to nothing.
    #[serde(default)]
    pub imports: Option<String>,
}

/// A journal that can't be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file can't be opened as a journal.
    #[error("can't open the journal {path}; does another agent use it?")]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// The file is not what an agent left.
    #[error(
        "can't open the journal {path}, it is damaged ({reason}) and stays as it is; restore it or move it away: the agent \
         looks at the devices before it acts"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Reading or writing failed.
    #[error(
        "can't read or write the journal {path}; free some space there if its disk is full, the agent then goes on by itself"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// The database gave up in the middle.
    #[error("the journal {path} was not written ({reason}); it is opened anew for the next write")]
    GaveUp {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The thread that wrote for several jobs has died.
    #[error("the journal was not written to the end; see the agent's log")]
    Unfinished,
    /// An entry that this version doesn't understand.
    #[error("the journal's entry of job {id} can't be understood; was it written by a newer agent?")]
    Entry {
        /// The job.
        id: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The journal.
///
/// Lock order: `file`, then `waiting`.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<JournalFile>,
    waiting: Mutex<Vec<Waiting>>,
}

/// A change that whoever has the file next writes.
#[derive(Debug)]
struct Waiting {
    change: Change,
    outcome: Arc<OnceLock<Result<(), JournalError>>>,
}

impl Journal {
    /// Opens or creates it. Errors: another agent has it open; it is damaged (it is never overwritten).
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self { file: Mutex::new(JournalFile::open(path)?), waiting: Mutex::default() })
    }

    /// One on a database that is opened otherwise.
    #[cfg(test)]
    pub(super) fn open_with(path: &Path, open: super::file::Open) -> Result<Self, JournalError> {
        Ok(Self { file: Mutex::new(JournalFile::open_with(path, open)?), waiting: Mutex::default() })
    }

    /// All jobs, oldest first.
    pub fn load(&self) -> Result<Vec<Entry>, JournalError> {
        locked(&self.file).jobs()
    }

    /// Makes the entry of a new job durable; when this returns, it survives whatever comes.
    /// Errors: it can't be written; then there is no such job, also not after a restart.
    pub fn accept(&self, entry: &Entry) -> Result<(), JournalError> {
        self.put(entry).inspect_err(|_| locked(&self.file).refuse(entry.job.id.clone()))
    }

    /// Makes an entry durable; when this returns, it survives whatever comes. Errors: it can't be written now; it may be
    /// later, when there is room again.
    pub fn put(&self, entry: &Entry) -> Result<(), JournalError> {
        let id = entry.job.id.clone();
        let bytes = serde_json::to_vec(entry).map_err(|source| JournalError::Entry { id: id.to_string(), source })?;
        self.write(Change::Job(id, bytes))
    }

    /// Forgets the oldest finished jobs beyond those that are kept; says which.
    pub fn prune(&self, entries: &[Entry], now: Time) -> Result<Vec<JobId>, JournalError> {
        let finished: Vec<&AgentJob> =
            entries.iter().map(|entry| &entry.job).filter(|job| job.state.is_final()).collect();
        let is_old = |job: &&&AgentJob| {
            let ended = job.ended.unwrap_or(job.created);
            now.unix_ms().saturating_sub(ended.unix_ms()) > LATE_MS
        };
        let beyond = finished[..finished.len().saturating_sub(KEEP_FINISHED)].iter();
        let old: Vec<JobId> = beyond.filter(is_old).map(|job| job.id.clone()).collect();
        if !old.is_empty() {
            self.write(Change::Forget(old.clone()))?;
        }
        Ok(old)
    }

    /// Cancels of jobs that never came.
    pub fn cancels(&self) -> Result<Vec<(JobId, u64)>, JournalError> {
        locked(&self.file).cancels()
    }

    /// Makes a cancel durable, and forgets `old` ones.
    pub fn put_cancel(&self, id: &JobId, at_ms: u64, old: &[JobId]) -> Result<(), JournalError> {
        self.write(Change::Cancel(id.clone(), at_ms, old.to_vec()))
    }

    /// Writes a change. Who has the file writes for all that wait: behind one commit, they need but one more together.
    fn write(&self, change: Change) -> Result<(), JournalError> {
        let outcome = Arc::new(OnceLock::new());
        locked(&self.waiting).push(Waiting { change, outcome: outcome.clone() });
        {
            let mut file = locked(&self.file);
            if outcome.get().is_none() {
                let batch = std::mem::take(&mut *locked(&self.waiting));
                write_all(&mut file, &batch);
            }
        }
        // Whoever took the change has let go of it by now.
        let outcome = Arc::into_inner(outcome).and_then(OnceLock::into_inner);
        outcome.unwrap_or(Err(JournalError::Unfinished))
    }
}

/// Writes what waited, and tells each how it went. Where it can't be written together, each is tried alone: it may be the
/// fault of one.
fn write_all(file: &mut JournalFile, batch: &[Waiting]) {
    let all: Vec<&Change> = batch.iter().map(|waiting| &waiting.change).collect();
    let together = batch.len() > 1 && file.write(&all).is_ok();
    for waiting in batch {
        let written = if together { Ok(()) } else { file.write(&[&waiting.change]) };
        let _ = waiting.outcome.set(written);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked left the database as its last commit.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::agent::AgentOp;

    fn entry(id: &str, version: u64) -> Entry {
        let created = Time::from_unix_ms(1_000_000_000_000);
        let job = AgentJob { version, ..AgentJob::new(id.parse().unwrap(), AgentOp::LoadProxy, "test", created) };
        Entry { job, begun: None, rewrite: None, imports: None }
    }

    #[test]
    fn what_many_jobs_write_at_once_is_all_there_each_as_it_was_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let journal = Journal::open(&path).unwrap();
        std::thread::scope(|scope| {
            for id in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                let journal = &journal;
                scope.spawn(move || {
                    for version in 1..=20 {
                        journal.put(&entry(id, version)).unwrap();
                    }
                });
            }
        });
        drop(journal);
        let found: Vec<_> = Journal::open(&path).unwrap().load().unwrap();
        let found: Vec<_> = found.iter().map(|entry| (entry.job.id.as_str(), entry.job.version)).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g", "h"].map(|id| (id, 20)));
    }

    #[test]
    fn changes_that_wait_behind_a_commit_are_all_written_and_each_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("agent.redb")).unwrap();
        std::thread::scope(|scope| {
            let busy = locked(&journal.file);
            let writers: Vec<_> = ["a", "b", "c"]
                .map(|id| {
                    scope.spawn({
                        let journal = &journal;
                        move || journal.put(&entry(id, 1))
                    })
                })
                .into_iter()
                .collect();
            while locked(&journal.waiting).len() < 3 {
                std::thread::yield_now();
            }
            drop(busy);
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        assert_eq!(journal.load().unwrap().len(), 3);
        assert!(locked(&journal.waiting).is_empty());
    }
}
