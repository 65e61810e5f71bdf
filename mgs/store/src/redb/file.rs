//! The store's file: created whole or not at all, locked against a second daemon, looked at before it is trusted.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::redb::backends::FileBackend;
use ::redb::{Database, DatabaseError, StorageError};

use super::disk::Disk;
use super::rehearsal::Rehearsal;
use super::{read, schema};
use crate::OpenError;

/// The first bytes of every redb file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Holds `<store>.lock` until it is dropped (or the process dies).
pub(super) struct Lock {
    _file: File,
}

/// Locks the store against other processes.
///
/// A file of its own, because the store's file may not exist yet, and because it can say who holds it.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let lock_path = beside(path, ".lock");
    let io = |action, source| OpenError::Io { action, path: lock_path.clone(), source };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
    let mut file = file.map_err(|source| io("create the lock file", source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let holder = match file.take(20).read_to_string(&mut pid) {
                Ok(_) if pid.trim().parse::<u32>().is_ok() => format!(" (pid {})", pid.trim()),
                _ => String::new(),
            };
            return Err(OpenError::Locked { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io("lock", source)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(|source| io("write to", source))?;
    Ok(Lock { _file: file })
}

/// Opens the store's file, or creates it. The caller holds the lock.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(source) => return Err(OpenError::Io { action: "open", path: path.to_owned(), source }),
        Ok(file) => examine(path, file)?,
    }
    let io = |source| OpenError::Io { action: "open", path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let backend = FileBackend::new(file).map_err(|err| refusal(path, err))?;
    let disk = Disk::new(backend).map_err(io)?;
    Database::builder().create_with_backend(disk).map_err(|err| refusal(path, err))
}

/// Makes an empty store beside `path` and moves it there when it is complete and durable.
fn create(path: &Path) -> Result<(), OpenError> {
    let new = new_file(path)?;
    let db = Database::builder().create(&new).map_err(|err| refusal(&new, err))?;
    schema::create_tables(&db).map_err(|err| damaged(&new, &err))?;
    drop(db);
    move_into_place(&new, path)
}

/// Where a new store is made before it is moved to `path`; what an earlier attempt left there is removed.
pub(super) fn new_file(path: &Path) -> Result<PathBuf, OpenError> {
    let new = beside(path, ".new");
    match std::fs::remove_file(&new) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::Io { action: "remove", path: new, source })
        }
        _ => Ok(new),
    }
}

/// Moves a complete store to its place, durably.
pub(super) fn move_into_place(new: &Path, path: &Path) -> Result<(), OpenError> {
    let io = |action, path: &Path, source| OpenError::Io { action, path: path.to_owned(), source };
    std::fs::rename(new, path).map_err(|err| io("create", path, err))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = File::open(directory).and_then(|directory| directory.sync_all());
    sync.map_err(|err| io("sync the directory", directory, err))
}

/// Opens, repairs, checks and reads the whole file in a rehearsal. Errors: what would go wrong with the file itself.
fn examine(path: &Path, file: File) -> Result<(), OpenError> {
    let foreign = |reason: &str| OpenError::Foreign { path: path.to_owned(), reason: reason.to_owned() };
    let io = |source| OpenError::Io { action: "read", path: path.to_owned(), source };
    if !file.metadata().map_err(io)?.is_file() {
        return Err(foreign("not a regular file"));
    }
    let mut magic = Vec::new();
    (&file).take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
    if magic.is_empty() {
        return Err(foreign("the file is empty"));
    }
    if magic != MAGIC {
        return Err(foreign("it does not begin like one"));
    }
    let rehearsal = Rehearsal::new(file).map_err(io)?;
    // redb may panic on a file that was changed behind its back; that is one more damaged file, not our end.
    let outcome = quietly(|| check(path, rehearsal));
    outcome.unwrap_or_else(|| {
        Err(OpenError::Damaged { path: path.to_owned(), reason: "its structure is inconsistent".into() })
    })
}

fn check(path: &Path, rehearsal: Rehearsal) -> Result<(), OpenError> {
    let mut db = Database::builder().create_with_backend(rehearsal).map_err(|err| refusal(path, err))?;
    if !db.check_integrity().map_err(|err| refusal(path, err))? {
        let reason = "a page does not match its checksum".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    match schema::version(&db).map_err(|err| damaged(path, &err))? {
        Some(schema::VERSION) => {}
        Some(found) if found > schema::VERSION => {
            return Err(OpenError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        Some(found) => {
            let reason = format!("schema {found} never existed");
            return Err(OpenError::Damaged { path: path.to_owned(), reason });
        }
        None => {
            let reason = "a redb file of another program".to_owned();
            return Err(OpenError::Foreign { path: path.to_owned(), reason });
        }
    }
    read::load(&db).map_err(|err| damaged(path, &err))?;
    Ok(())
}

/// Runs `f`; `None` when it panics.
fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// Why redb would not open a file.
pub(super) fn refusal(path: &Path, err: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match err {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::Locked { path, holder: String::new() }
        }
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                return OpenError::Damaged { path, reason: "it is shorter than it says".into() };
            }
            OpenError::Io { action: "open", path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}

/// A file that redb opens but that is not what we wrote.
pub(super) fn damaged(path: &Path, err: &dyn std::fmt::Display) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), reason: err.to_string() }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
