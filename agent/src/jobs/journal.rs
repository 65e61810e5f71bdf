//! The agent's journal: every job, durable before it acts. One redb file.

use super::unmet::LATE_MS;
use crate::{format::Begun, tune::Rewrite};
use lustre_api::{Time, agent::AgentJob, job::JobId};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;
use tracing::info;

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
/// Cancels of jobs that never came, with the time of each in milliseconds since 1970.
const CANCELS: TableDefinition<'_, &str, u64> = TableDefinition::new("cancels");
/// Finished jobs that are kept; younger ones are kept as long as a call that starts them again may be under way.
const KEEP_FINISHED: usize = 1000;
/// What the names of files begin with that are made beside the journal, and are of no use once it is open.
const BESIDE: &str = ".journal";
/// How long to wait for the file where somebody else has it. An agent that was killed leaves it for moments to a program
/// that another of its threads was just starting.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

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
    #[error("can't read or write the journal")]
    Io(#[source] Box<redb::Error>),
    /// An entry that this version doesn't understand.
    #[error("the journal's entry of job {id} can't be understood; was it written by a newer agent?")]
    Entry {
        /// The job.
        id: String,
        /// The cause.
        source: serde_json::Error,
    },
}

fn io<E: Into<redb::Error>>(error: E) -> JournalError {
    JournalError::Io(Box::new(error.into()))
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<JournalFile>,
}

/// The open file.
#[derive(Debug)]
struct JournalFile {
    /// None after a write that failed: redb then refuses everything until the file is opened anew.
    database: Option<Database>,
    /// Jobs that were refused because their entry could not be written. It may be there all the same, and must not come to
    /// life with the next agent: the next write removes it.
    refused: Vec<JobId>,
}

impl Journal {
    /// Opens or creates it. Errors: another agent has it open; it is damaged (it is never overwritten).
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(unusable(path, error)),
            Ok(_) => rehearse(path)?,
        }
        let file = JournalFile { database: Some(open_with_patience(path)?), refused: Vec::new() };
        sweep(path);
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// All jobs, oldest first.
    pub fn load(&self) -> Result<Vec<Entry>, JournalError> {
        self.with(load)
    }

    /// Makes the entry of a new job durable; when this returns, it survives whatever comes.
    /// Errors: it can't be written; then there is no such job, also not after a restart.
    pub fn accept(&self, entry: &Entry) -> Result<(), JournalError> {
        self.put(entry).inspect_err(|_| self.locked().refused.push(entry.job.id.clone()))
    }

    /// Makes an entry durable; when this returns, it survives whatever comes. Errors: it can't be written now; it may be
    /// later, when there is room again.
    pub fn put(&self, entry: &Entry) -> Result<(), JournalError> {
        let bytes =
            serde_json::to_vec(entry).map_err(|source| JournalError::Entry { id: entry.job.id.to_string(), source })?;
        self.write(|table| table.insert(entry.job.id.as_str(), bytes.as_slice()).map(drop))
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
            self.write(|table| {
                for id in &old {
                    table.remove(id.as_str())?;
                }
                Ok(())
            })?;
        }
        Ok(old)
    }

    /// Cancels of jobs that never came.
    pub fn cancels(&self) -> Result<Vec<(JobId, u64)>, JournalError> {
        self.with(|database| {
            let read = database.begin_read().map_err(io)?;
            let table = read.open_table(CANCELS).map_err(io)?;
            let mut cancels = Vec::new();
            for row in table.iter().map_err(io)? {
                let (id, at) = row.map_err(io)?;
                // What is no id can't be the id of a job that comes.
                cancels.extend(id.value().parse().ok().map(|id| (id, at.value())));
            }
            Ok(cancels)
        })
    }

    /// Makes a cancel durable, and forgets `old` ones.
    pub fn put_cancel(&self, id: &JobId, at_ms: u64, old: &[JobId]) -> Result<(), JournalError> {
        self.transact(|write| {
            let mut table = write.open_table(CANCELS)?;
            for id in old {
                table.remove(id.as_str())?;
            }
            table.insert(id.as_str(), at_ms)?;
            Ok(())
        })
    }

    fn write<F>(&self, change: F) -> Result<(), JournalError>
    where
        F: FnOnce(&mut redb::Table<'_, &str, &[u8]>) -> Result<(), redb::StorageError>,
    {
        self.transact(|write| Ok(change(&mut write.open_table(JOBS)?)?))
    }

    fn transact(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), JournalError> {
        let refused = self.locked().refused.clone();
        let committed = self.with(|database| {
            let mut write = database.begin_write().map_err(io)?;
            write.set_durability(Durability::Immediate).map_err(io)?;
            // A torn write of the one-phase kind could roll back a commit that was acknowledged.
            write.set_two_phase_commit(true);
            for id in &refused {
                let mut table = write.open_table(JOBS).map_err(io)?;
                table.remove(id.as_str()).map_err(io)?;
            }
            change(&write).map_err(io)?;
            write.commit().map_err(io)
        });
        let mut file = self.locked();
        match committed {
            Ok(()) => file.refused.retain(|id| !refused.contains(id)),
            Err(_) => file.database = None,
        }
        committed
    }

    /// Works on the database, which is opened anew where a write failed before.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, JournalError>) -> Result<T, JournalError> {
        let mut file = self.locked();
        let database = match file.database.take() {
            Some(database) => database,
            None => {
                let database = open(&self.path)?;
                info!(journal = %self.path.display(), "the journal is open again after a write that failed");
                database
            }
        };
        work(file.database.insert(database))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, JournalFile> {
        // Whatever panicked left the database as its last commit.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an empty journal beside its place and moves it there when it is whole: who is killed meanwhile leaves nothing that
/// would look like a damaged one.
fn create(path: &Path) -> Result<(), JournalError> {
    let io = |error| unusable(path, error);
    let new = tempfile::Builder::new().prefix(BESIDE).tempfile_in(dir_of(path)).map_err(io)?;
    // Closed, it is durable.
    drop(open(new.path())?);
    match new.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != std::io::ErrorKind::AlreadyExists => Err(io(refused.error)),
        // Where another agent was faster, opening it tells.
        _ => std::fs::File::open(dir_of(path)).and_then(|dir| dir.sync_all()).map_err(io),
    }
}

/// Removes what agents that were killed when they started have left beside the journal. Who has it open is the only one here.
fn sweep(path: &Path) {
    for entry in std::fs::read_dir(dir_of(path)).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(BESIDE.as_bytes()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn unusable(path: &Path, error: std::io::Error) -> JournalError {
    JournalError::Open { path: path.to_owned(), source: Box::new(redb::Error::Io(error)) }
}

fn open_with_patience(path: &Path) -> Result<Database, JournalError> {
    let asked = Instant::now();
    loop {
        match open(path) {
            Err(JournalError::Open { source, .. })
                if matches!(*source, redb::Error::DatabaseAlreadyOpen) && asked.elapsed() < PATIENCE =>
            {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn open(path: &Path) -> Result<Database, JournalError> {
    let open = || -> Result<Database, redb::Error> {
        let database = Database::create(path)?;
        let write = database.begin_write()?;
        write.open_table(JOBS)?;
        write.open_table(CANCELS)?;
        write.commit()?;
        Ok(database)
    };
    open().map_err(|source| JournalError::Open { path: path.to_owned(), source: Box::new(source) })
}

fn load(database: &Database) -> Result<Vec<Entry>, JournalError> {
    let read = database.begin_read().map_err(io)?;
    let table = read.open_table(JOBS).map_err(io)?;
    let mut entries = Vec::new();
    for row in table.iter().map_err(io)? {
        let (id, bytes) = row.map_err(io)?;
        let entry: Entry = serde_json::from_slice(bytes.value())
            .map_err(|source| JournalError::Entry { id: id.value().to_owned(), source })?;
        entries.push(entry);
    }
    entries.sort_by(|a, b| (a.job.created, &a.job.id).cmp(&(b.job.created, &b.job.id)));
    Ok(entries)
}

/// Opens, checks and reads a copy: redb repairs what it opens, and may panic, and a broken file must stay as it is for
/// whoever can save it.
fn rehearse(path: &Path) -> Result<(), JournalError> {
    let damaged = |reason: String| JournalError::Damaged { path: path.to_owned(), reason };
    let copying = |error: std::io::Error| unusable(path, error);
    if path.metadata().map_err(copying)?.len() == 0 {
        // Made, and lost on its way to the medium: nothing was ever accepted in it.
        return Ok(());
    }
    let copy = tempfile::Builder::new().prefix(BESIDE).tempfile_in(dir_of(path)).map_err(copying)?;
    std::fs::copy(path, copy.path()).map_err(copying)?;
    let checked = quietly(|| {
        let mut database = Database::open(copy.path()).map_err(|error| damaged(error.to_string()))?;
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(damaged("a page does not match its checksum".to_owned())),
            Err(error) => return Err(damaged(error.to_string())),
        }
        match load(&database) {
            Err(JournalError::Io(error)) => Err(damaged(error.to_string())),
            Err(other) => Err(other),
            Ok(_) => Ok(()),
        }
    });
    checked.unwrap_or_else(|| Err(damaged("its structure is inconsistent".to_owned())))
}

/// Runs `work` with nothing printed should it panic; none if it does. Only while no other thread runs that might.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
    std::panic::set_hook(hook);
    outcome
}
