//! The journal's file: made whole, checked before it is opened, opened anew after a write that failed.

use super::journal::{Entry, JournalError};
use lustre_api::job::JobId;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tracing::info;

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
/// Cancels of jobs that never came, with the time of each in milliseconds since 1970.
const CANCELS: TableDefinition<'_, &str, u64> = TableDefinition::new("cancels");
/// What the names of files begin with that are made beside the journal, and are of no use once it is open.
const BESIDE: &str = ".journal";
/// How long to wait for the file where somebody else has it. An agent that was killed leaves it for moments to a program
/// that another of its threads was just starting.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// What is written at once, or not at all.
#[derive(Debug)]
pub(super) enum Change {
    /// The entry of a job.
    Job(JobId, Vec<u8>),
    /// Jobs that are forgotten.
    Forget(Vec<JobId>),
    /// A cancel of a job that never came, with its time, and old ones that are forgotten.
    Cancel(JobId, u64, Vec<JobId>),
}

/// The open file.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    /// None after a write that failed: redb then refuses everything until the file is opened anew.
    database: Option<Database>,
    /// Jobs that were refused because their entry could not be written. It may be there all the same, and must not come to
    /// life with the next agent: the next write removes it.
    refused: Vec<JobId>,
}

impl JournalFile {
    /// Opens or makes it. Errors: another agent has it open; it is damaged (it is never overwritten).
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path)?,
            Err(error) => return Err(unusable(path, error)),
            Ok(_) => rehearse(path)?,
        }
        let file = Self { path: path.to_owned(), database: Some(open_with_patience(path)?), refused: Vec::new() };
        sweep(path);
        Ok(file)
    }

    /// All jobs, oldest first.
    pub(super) fn jobs(&mut self) -> Result<Vec<Entry>, JournalError> {
        load(self.database()?)
    }

    /// Cancels of jobs that never came.
    pub(super) fn cancels(&mut self) -> Result<Vec<(JobId, u64)>, JournalError> {
        let read = self.database()?.begin_read().map_err(io)?;
        let table = read.open_table(CANCELS).map_err(io)?;
        let mut cancels = Vec::new();
        for row in table.iter().map_err(io)? {
            let (id, at) = row.map_err(io)?;
            // What is no id can't be the id of a job that comes.
            cancels.extend(id.value().parse().ok().map(|id| (id, at.value())));
        }
        Ok(cancels)
    }

    /// Writes all of `changes`, in their order, or none; durable when this returns.
    pub(super) fn write(&mut self, changes: &[&Change]) -> Result<(), JournalError> {
        let refused = std::mem::take(&mut self.refused);
        let written = self.database().and_then(|database| commit(database, &refused, changes).map_err(io));
        if written.is_err() {
            (self.database, self.refused) = (None, refused);
        }
        written
    }

    /// Has the next write remove a job whose entry could not be written.
    pub(super) fn refuse(&mut self, id: JobId) {
        self.refused.push(id);
    }

    /// The database, which is opened anew where a write failed before.
    fn database(&mut self) -> Result<&Database, JournalError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let database = open(&self.path)?;
                info!(journal = %self.path.display(), "the journal is open again after a write that failed");
                database
            }
        };
        Ok(self.database.insert(database))
    }
}

fn commit(database: &Database, refused: &[JobId], changes: &[&Change]) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    // A torn write of the one-phase kind could roll back a commit that was acknowledged.
    write.set_two_phase_commit(true);
    {
        let (mut jobs, mut cancels) = (write.open_table(JOBS)?, write.open_table(CANCELS)?);
        for id in refused {
            jobs.remove(id.as_str())?;
        }
        for change in changes {
            match change {
                Change::Job(id, bytes) => drop(jobs.insert(id.as_str(), bytes.as_slice())?),
                Change::Forget(old) => {
                    for id in old {
                        jobs.remove(id.as_str())?;
                    }
                }
                Change::Cancel(id, at_ms, old) => {
                    for id in old {
                        cancels.remove(id.as_str())?;
                    }
                    cancels.insert(id.as_str(), *at_ms)?;
                }
            }
        }
    }
    Ok(write.commit()?)
}

fn io<E: Into<redb::Error>>(error: E) -> JournalError {
    JournalError::Io(Box::new(error.into()))
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
