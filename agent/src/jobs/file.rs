//! The journal's file: made whole, checked before it is opened, opened anew after a write that failed.

use super::journal::{Entry, JournalError};
use lustre_api::job::JobId;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    panic::{self, AssertUnwindSafe},
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

/// What opens the database: redb on the file, or in tests on something that fails.
pub(super) type Open = fn(&Path) -> Result<Database, redb::Error>;

/// The open file.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    open: Open,
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
        let file = Self::open_with(path, on_file)?;
        sweep(path);
        Ok(file)
    }

    /// As [`open`](Self::open), of a file that needs no look.
    pub(super) fn open_with(path: &Path, open: Open) -> Result<Self, JournalError> {
        let database = Some(open_with_patience(path, open)?);
        Ok(Self { path: path.to_owned(), open, database, refused: Vec::new() })
    }

    /// All jobs, oldest first.
    pub(super) fn jobs(&mut self) -> Result<Vec<Entry>, JournalError> {
        let path = self.path.clone();
        load(&path, self.database()?)
    }

    /// Cancels of jobs that never came.
    pub(super) fn cancels(&mut self) -> Result<Vec<(JobId, u64)>, JournalError> {
        let path = self.path.clone();
        cancels(self.database()?).map_err(failed(&path))
    }

    /// Writes all of `changes`, in their order, or none; durable when this returns.
    pub(super) fn write(&mut self, changes: &[&Change]) -> Result<(), JournalError> {
        let database = self.take_database()?;
        // Not put back unless all goes well: after an error redb refuses everything, and after a panic nobody knows.
        let refused = &self.refused;
        let writing = AssertUnwindSafe(|| commit(&database, refused, changes).map(|()| database));
        match panic::catch_unwind(writing) {
            Ok(Ok(database)) => {
                self.database = Some(database);
                self.refused.clear();
                Ok(())
            }
            Ok(Err(error)) => Err(failed(&self.path)(error)),
            Err(panic) => Err(JournalError::GaveUp { path: self.path.clone(), reason: words_of(&*panic) }),
        }
    }

    /// Has the next write remove a job whose entry could not be written.
    pub(super) fn refuse(&mut self, id: JobId) {
        self.refused.push(id);
    }

    fn database(&mut self) -> Result<&Database, JournalError> {
        let database = self.take_database()?;
        Ok(self.database.insert(database))
    }

    /// The database, which is opened anew where a write failed before.
    fn take_database(&mut self) -> Result<Database, JournalError> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let database = open(&self.path, self.open)?;
        info!(journal = %self.path.display(), "the journal is open again after a write that failed");
        Ok(database)
    }
}

/// What a panic was told with.
fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "its database panicked".to_owned())
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

fn failed(path: &Path) -> impl Fn(redb::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::Io { path: path.clone(), source: Box::new(error) }
}

fn cancels(database: &Database) -> Result<Vec<(JobId, u64)>, redb::Error> {
    let read = database.begin_read()?;
    let table = read.open_table(CANCELS)?;
    let mut cancels = Vec::new();
    for row in table.iter()? {
        let (id, at) = row?;
        // What is no id can't be the id of a job that comes.
        cancels.extend(id.value().parse().ok().map(|id| (id, at.value())));
    }
    Ok(cancels)
}

/// Makes an empty journal beside its place and moves it there when it is whole: who is killed meanwhile leaves nothing that
/// would look like a damaged one.
fn create(path: &Path) -> Result<(), JournalError> {
    let io = |error| unusable(path, error);
    let new = tempfile::Builder::new().prefix(BESIDE).tempfile_in(dir_of(path)).map_err(io)?;
    // Closed, it is durable.
    drop(open(new.path(), on_file)?);
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

fn open_with_patience(path: &Path, how: Open) -> Result<Database, JournalError> {
    let asked = Instant::now();
    loop {
        match open(path, how) {
            Err(JournalError::Open { source, .. })
                if matches!(*source, redb::Error::DatabaseAlreadyOpen) && asked.elapsed() < PATIENCE =>
            {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn on_file(path: &Path) -> Result<Database, redb::Error> {
    Ok(Database::create(path)?)
}

fn open(path: &Path, how: Open) -> Result<Database, JournalError> {
    let open = || -> Result<Database, redb::Error> {
        let database = how(path)?;
        let write = database.begin_write()?;
        write.open_table(JOBS)?;
        write.open_table(CANCELS)?;
        write.commit()?;
        Ok(database)
    };
    let unopened = |source| match source {
        redb::Error::Io(_) => failed(path)(source),
        source => JournalError::Open { path: path.to_owned(), source: Box::new(source) },
    };
    match panic::catch_unwind(open) {
        Ok(opened) => opened.map_err(unopened),
        Err(panic) => Err(JournalError::GaveUp { path: path.to_owned(), reason: words_of(&*panic) }),
    }
}

fn load(path: &Path, database: &Database) -> Result<Vec<Entry>, JournalError> {
    let mut entries = Vec::new();
    for (id, bytes) in rows(database).map_err(failed(path))? {
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|source| JournalError::Entry { id, source })?;
        entries.push(entry);
    }
    entries.sort_by(|a, b| (a.job.created, &a.job.id).cmp(&(b.job.created, &b.job.id)));
    Ok(entries)
}

fn rows(database: &Database) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let read = database.begin_read()?;
    let table = read.open_table(JOBS)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (id, bytes) = row?;
        rows.push((id.value().to_owned(), bytes.value().to_vec()));
    }
    Ok(rows)
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
        match load(path, &database) {
            Err(JournalError::Io { source, .. }) => Err(damaged(source.to_string())),
            Err(other) => Err(other),
            Ok(_) => Ok(()),
        }
    });
    checked.unwrap_or_else(|| Err(damaged("its structure is inconsistent".to_owned())))
}

/// Runs `work` with nothing printed should it panic; none if it does. Only while no other thread runs that might.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work)).ok();
    panic::set_hook(hook);
    outcome
}
