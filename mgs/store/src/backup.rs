//! Backups: everything a store keeps, history and all, as lines of JSON that any backend can be made from again.
//!
//! | line | what |
//! |---|---|
//! | `{"header":…}` | first: format, version, revision, what is compacted |
//! | `{"entry":…}` | a key as it was at the compacted revision |
//! | `{"commit":…}`, then its `{"change":…}` lines | one commit after that |
//! | `{"end":…}` | last: number of lines before it, and their SHA-256 (each with its line feed) |
//!
//! Values are base64. The revision is fixed when the backup begins, so commits that come meanwhile are not in it. Leases
//! don't outlive their store: keys that one held are named in [`Restored::leased`], for who restores to remove.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::{Change, Entry, MAX_VALUE_BYTES, Meta, Range, Revision, Store, StoreError, Value};

const FORMAT: &str = "lustre-mgs backup";
const VERSION: u64 = 1;
/// Longest line that is taken: a value in base64 with its key, and some air.
const MAX_LINE: u64 = MAX_VALUE_BYTES as u64 * 2;
/// Keys and commits read at a time.
const PAGE: usize = 200;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Header(Header),
    Entry(Saved),
    Commit(SavedCommit),
    Change(Saved),
    End(End),
}

#[derive(Clone, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
    revision: Revision,
    compacted: Revision,
}

/// A key's value, or without one its removal.
#[derive(Serialize, Deserialize)]
struct Saved {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default)]
    create_revision: Revision,
    #[serde(default)]
    mod_revision: Revision,
    #[serde(default)]
    version: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leased: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedCommit {
    revision: Revision,
    #[serde(flatten)]
    meta: Meta,
    changes: usize,
}

#[derive(Serialize, Deserialize)]
struct End {
    lines: u64,
    sha256: String,
}

/// A backup that can't be used. Nothing was made of it.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file can't be read.
    #[error("can't read the backup {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{path} is no complete backup: line {line}: {reason}; take another one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store that it should go into.
    #[error("can't restore into {store}: {reason}")]
    Target {
        /// File or URL.
        store: String,
        /// Why.
        reason: String,
    },
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The newest revision of the backup, and now of the store.
    pub revision: Revision,
    /// Keys that a lease held when the backup was made.
    pub leased: Vec<String>,
}

/// Where a backup goes. Nothing of it is a store before [`Sink::finish`].
pub(crate) trait Sink {
    async fn version(&mut self, key: &str, revision: Revision, entry: Option<Entry>) -> Result<(), String>;
    async fn commit(&mut self, revision: Revision, meta: Meta, keys: Vec<String>) -> Result<(), String>;
    async fn finish(&mut self, revision: Revision, compacted: Revision) -> Result<(), String>;
}

/// The lines of a backup of the store as it is now, each without its line feed.
///
/// Errors end it: [`StoreError::Compacted`] when a compaction overtakes it. Needs a tokio runtime.
pub fn export(store: Arc<dyn Store>) -> mpsc::Receiver<Result<String, StoreError>> {
    let (out, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut out = Out { out, hash: Sha256::new(), lines: 0 };
        if let Err(Some(err)) = write(&*store, &mut out).await {
            let _ = out.out.send(Err(err)).await;
        }
    });
    lines
}

struct Out {
    out: mpsc::Sender<Result<String, StoreError>>,
    hash: Sha256,
    lines: u64,
}

impl Out {
    /// Errors: nobody reads any more (`None`).
    async fn line(&mut self, line: &Line) -> Result<(), Option<StoreError>> {
        let text = serde_json::to_string(line).expect("strings and numbers always serialize");
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        self.lines += 1;
        self.out.send(Ok(text)).await.map_err(|_| None)
    }
}

async fn write(store: &dyn Store, out: &mut Out) -> Result<(), Option<StoreError>> {
    let revision = store.sync().await?;
    let compacted = store.compacted();
    let header = Header { format: FORMAT.to_owned(), version: VERSION, revision, compacted };
    out.line(&Line::Header(header)).await?;
    let mut range = Range { limit: PAGE, at: Some(compacted), ..Range::default() };
    loop {
        let page = store.range(range.clone()).await?;
        for entry in &page.entries {
            out.line(&Line::Entry(saved(entry))).await?;
        }
        if !page.more {
            break;
        }
        range.after = page.entries.last().map(|entry| entry.key.clone());
    }
    let mut next = compacted + 1;
    while next <= revision {
        for commit in store.history(next, PAGE).await? {
            if commit.revision > revision {
                break;
            }
            next = commit.revision + 1;
            let changes = commit.changes.len();
            out.line(&Line::Commit(SavedCommit { revision: commit.revision, meta: commit.meta, changes })).await?;
            for change in &commit.changes {
                let saved = match change {
                    Change::Put(entry) => saved(entry),
                    Change::Delete { key } => gone(key),
                };
                out.line(&Line::Change(saved)).await?;
            }
        }
    }
    let sha256 = hex(&std::mem::take(&mut out.hash).finalize());
    let end = End { lines: out.lines, sha256 };
    out.line(&Line::End(end)).await
}

fn saved(entry: &Entry) -> Saved {
    Saved {
        key: entry.key.clone(),
        value: Some(STANDARD.encode(&entry.value)),
        create_revision: entry.create_revision,
        mod_revision: entry.mod_revision,
        version: entry.version,
        leased: entry.lease.is_some(),
    }
}

fn gone(key: &str) -> Saved {
    Saved { key: key.to_owned(), value: None, create_revision: 0, mod_revision: 0, version: 0, leased: false }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a backup file line by line, and checks what can be checked on the way.
struct Reader<'a> {
    path: &'a Path,
    file: std::io::BufReader<std::fs::File>,
    hash: Sha256,
    lines: u64,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self, BackupError> {
        let file = std::fs::File::open(path).map_err(|source| BackupError::Io { path: path.to_owned(), source })?;
        Ok(Self { path, file: std::io::BufReader::new(file), hash: Sha256::new(), lines: 0 })
    }

    fn damaged(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.to_owned(), line: self.lines, reason: reason.into() }
    }

    /// The next line; the checksum is verified when it is the last. Errors: the file ends before its end.
    fn next(&mut self) -> Result<Line, BackupError> {
        let mut text = Vec::new();
        let read = std::io::Read::take(&mut self.file, MAX_LINE).read_until(b'\n', &mut text);
        read.map_err(|source| BackupError::Io { path: self.path.to_owned(), source })?;
        self.lines += 1;
        if text.last() != Some(&b'\n') {
            return Err(self.damaged("the file ends here, or the line is too long"));
        }
        let line = serde_json::from_slice(&text).map_err(|err| self.damaged(err.to_string()))?;
        if let Line::End(end) = &line {
            if end.lines != self.lines - 1 || end.sha256 != hex(&std::mem::take(&mut self.hash).finalize()) {
                return Err(self.damaged("the checksum is not that of the lines before"));
            }
        } else {
            self.hash.update(&text);
        }
        Ok(line)
    }

    fn header(&mut self) -> Result<Header, BackupError> {
        match self.next()? {
            Line::Header(header) if header.format == FORMAT && header.version == VERSION => Ok(header),
            Line::Header(header) if header.format == FORMAT => Err(self.damaged(format!(
                "its version is {}, this program knows {VERSION}; restore it with the version that wrote it",
                header.version
            ))),
            _ => Err(self.damaged("it does not begin like a backup")),
        }
    }

    fn entry(&self, saved: Saved, revision: Revision) -> Result<Option<Entry>, BackupError> {
        let Some(value) = &saved.value else { return Ok(None) };
        let value = STANDARD.decode(value).map_err(|err| self.damaged(err.to_string()))?;
        let Saved { key, create_revision, version, .. } = saved;
        Ok(Some(Entry { key, value: value.into(), create_revision, mod_revision: revision, version, lease: None }))
    }
}

/// Reads a whole backup; gives its revision. Errors: [`BackupError`] for one that is not as it was written.
pub fn verify(path: &Path) -> Result<Revision, BackupError> {
    scan(path, |_, _| {})
}

/// The newest value of a key in a backup, which is read as a whole. Errors: as [`verify`].
pub fn find(path: &Path, key: &str) -> Result<Option<Value>, BackupError> {
    let mut found = None;
    scan(path, |there, entry| {
        if there == key {
            found = entry.map(|entry| entry.value);
        }
    })?;
    Ok(found)
}

fn scan(path: &Path, mut each: impl FnMut(&str, Option<Entry>)) -> Result<Revision, BackupError> {
    let mut reader = Reader::open(path)?;
    let header = reader.header()?;
    let (mut revision, mut changes) = (header.compacted, 0);
    loop {
        match reader.next()? {
            Line::End(_) if changes == 0 && revision == header.revision => return Ok(revision),
            Line::Entry(saved) if revision == header.compacted && changes == 0 => {
                let key = saved.key.clone();
                each(&key, reader.entry(saved, 0)?);
            }
            Line::Commit(commit) if changes == 0 && commit.revision == revision + 1 => {
                (revision, changes) = (commit.revision, commit.changes);
            }
            Line::Change(saved) if changes > 0 => {
                let key = saved.key.clone();
                each(&key, reader.entry(saved, revision)?);
                changes -= 1;
            }
            _ => return Err(reader.damaged("this line does not belong here")),
        }
    }
}

/// Writes a backup into `sink`. The file was verified before; it is read again.
pub(crate) async fn restore(path: &Path, store: &str, sink: &mut impl Sink) -> Result<Restored, BackupError> {
    verify(path)?;
    let refused = |reason| BackupError::Target { store: store.to_owned(), reason };
    let mut reader = Reader::open(path)?;
    let header = reader.header()?;
    let mut leased = std::collections::BTreeSet::new();
    let mut note = |saved: &Saved| match saved.leased {
        true => leased.insert(saved.key.clone()),
        false => leased.remove(&saved.key),
    };
    let mut commit: Option<(SavedCommit, Vec<String>)> = None;
    loop {
        let line = reader.next()?;
        if let Line::Change(saved) = line {
            note(&saved);
            let Some((commit, keys)) = &mut commit else { continue };
            keys.push(saved.key.clone());
            let (key, revision) = (saved.key.clone(), commit.revision);
            let entry = reader.entry(saved, revision)?;
            sink.version(&key, revision, entry).await.map_err(refused)?;
            continue;
        }
        if let Some((commit, keys)) = commit.take() {
            sink.commit(commit.revision, commit.meta, keys).await.map_err(refused)?;
        }
        match line {
            Line::Entry(saved) => {
                note(&saved);
                let (key, revision) = (saved.key.clone(), saved.mod_revision);
                let entry = reader.entry(saved, revision)?;
                sink.version(&key, revision, entry).await.map_err(refused)?;
            }
            Line::Commit(next) => commit = Some((next, Vec::new())),
            Line::End(_) => break,
            Line::Header(_) | Line::Change(_) => {}
        }
    }
    sink.finish(header.revision, header.compacted).await.map_err(refused)?;
    Ok(Restored { revision: header.revision, leased: leased.into_iter().collect() })
}
