//! Reading: redb's snapshots, joined to entries and commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use thiserror::Error;

use super::Shared;
use super::schema::{COMMITS, LEASES, META, Record, VERSIONS, Version};
use crate::txn::Head;
use crate::{Change, Commit, Entry, KeyCommit, LeaseId, Meta, Page, Range, Revision, StoreError};

/// What the writer starts from.
pub(super) struct Loaded {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) head: Head,
    /// With their time to live in ms.
    pub(super) leases: Vec<(LeaseId, u64)>,
    pub(super) last_lease: LeaseId,
}

/// The file can't be read, or does not hold what was written.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Redb(Box<::redb::Error>),
    #[error("commit {revision} is not readable: {source}")]
    Record { revision: Revision, source: serde_json::Error },
    #[error("commit {revision} lost its change of {key}")]
    Lost { revision: Revision, key: String },
    #[error("commits {from} to {to} are missing")]
    Gap { from: Revision, to: Revision },
}

impl<E: Into<::redb::Error>> From<E> for ReadError {
    fn from(err: E) -> Self {
        Self::Redb(Box::new(err.into()))
    }
}

/// Reads the newest state and checks that the history has no gap.
pub(super) fn load(db: &Database) -> Result<Loaded, ReadError> {
    let snapshot = Snapshot::new(db)?;
    let mut last = snapshot.compacted;
    for commit in snapshot.commits.iter()? {
        let (revision, record) = commit?;
        let revision = revision.value();
        if revision != last + 1 {
            return Err(ReadError::Gap { from: last + 1, to: revision });
        }
        parse(revision, record.value())?;
        last = revision;
    }
    let mut head = Head::new();
    snapshot.each_key("", None, snapshot.revision, |entry| {
        head.insert(entry.key.clone(), entry);
        true
    })?;
    let txn = db.begin_read()?;
    let leases = txn.open_table(LEASES)?;
    let leases = leases.iter()?.map(|lease| lease.map(|(id, ttl)| (id.value(), ttl.value())));
    let leases = leases.collect::<Result<_, _>>()?;
    let last_lease = txn.open_table(META)?.get("last_lease")?.map_or(0, |id| id.value());
    Ok(Loaded { revision: snapshot.revision, compacted: snapshot.compacted, head, leases, last_lease })
}

struct Snapshot {
    versions: ReadOnlyTable<(&'static str, Revision), Version>,
    commits: ReadOnlyTable<Revision, &'static [u8]>,
    revision: Revision,
    compacted: Revision,
}

impl Snapshot {
    fn new(db: &Database) -> Result<Self, ReadError> {
        let txn: ReadTransaction = db.begin_read()?;
        let commits = txn.open_table(COMMITS)?;
        let compacted = txn.open_table(META)?.get("compacted")?.map_or(0, |revision| revision.value());
        let revision = commits.last()?.map_or(compacted, |(revision, _)| revision.value());
        Ok(Self { versions: txn.open_table(VERSIONS)?, commits, revision, compacted })
    }

    fn readable(&self, at: Option<Revision>) -> Result<Revision, StoreError> {
        let at = at.unwrap_or(self.revision);
        if at > self.revision {
            return Err(StoreError::Future { asked: at, head: self.revision });
        }
        if at < self.compacted {
            return Err(StoreError::Compacted { asked: at, compacted: self.compacted });
        }
        Ok(at)
    }

    /// Gives every key with `prefix` that exists at `at`, in order, after `after`, until `take` says no.
    fn each_key(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Revision,
        mut take: impl FnMut(Entry) -> bool,
    ) -> Result<(), ReadError> {
        let start = match after {
            Some(after) if after >= prefix => (after, Revision::MAX),
            _ => (prefix, 0),
        };
        // The versions of a key are neighbours, oldest first: the last one not after `at` counts.
        let mut found: Option<Entry> = None;
        for row in self.versions.range(start..)? {
            let (key, value) = row?;
            let (key, revision) = key.value();
            if !key.starts_with(prefix) {
                break;
            }
            if found.as_ref().is_some_and(|entry| entry.key != key)
                && let Some(entry) = found.take()
                && !take(entry)
            {
                return Ok(());
            }
            if revision <= at {
                found = entry(key, revision, value.value());
            }
        }
        if let Some(entry) = found {
            take(entry);
        }
        Ok(())
    }

    fn commit(&self, revision: Revision, record: &[u8]) -> Result<Commit, ReadError> {
        let Record { meta, keys } = parse(revision, record)?;
        let mut changes = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(version) = self.versions.get((key.as_str(), revision))? else {
                return Err(ReadError::Lost { revision, key });
            };
            changes.push(change(&key, revision, version.value()));
        }
        Ok(Commit { revision, meta, changes })
    }
}

fn parse(revision: Revision, record: &[u8]) -> Result<Record<Meta, String>, ReadError> {
    serde_json::from_slice(record).map_err(|source| ReadError::Record { revision, source })
}

fn entry(key: &str, revision: Revision, version: (Revision, u64, LeaseId, Option<&[u8]>)) -> Option<Entry> {
    let (create_revision, version, lease, value) = version;
    Some(Entry {
        key: key.to_owned(),
        value: Arc::from(value?),
        create_revision,
        mod_revision: revision,
        version,
        lease: (lease != 0).then_some(lease),
    })
}

fn change(key: &str, revision: Revision, version: (Revision, u64, LeaseId, Option<&[u8]>)) -> Change {
    entry(key, revision, version).map_or_else(|| Change::Delete { key: key.to_owned() }, Change::Put)
}

impl Shared {
    fn unreadable(&self, err: &ReadError) -> StoreError {
        StoreError::Unreadable { reason: format!("{}: {err}", self.path.display()) }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(&self.db).map_err(|err| self.unreadable(&err))
    }

    /// Refuses a history that begins before what is kept.
    pub(super) fn check_kept(&self, from: Revision) -> Result<(), StoreError> {
        let (asked, compacted) = (from.max(1), self.compacted.load(Ordering::Acquire));
        if asked <= compacted { Err(StoreError::Compacted { asked, compacted }) } else { Ok(()) }
    }

    pub(super) fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>, StoreError> {
        let snapshot = self.snapshot()?;
        let at = snapshot.readable(at)?;
        let newest = || -> Result<Option<Entry>, ReadError> {
            let newest = snapshot.versions.range((key, 0)..=(key, at))?.next_back().transpose()?;
            Ok(newest.and_then(|(row, version)| entry(key, row.value().1, version.value())))
        };
        newest().map_err(|err| self.unreadable(&err))
    }

    pub(super) fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let snapshot = self.snapshot()?;
        let revision = snapshot.readable(range.at)?;
        let mut entries = Vec::new();
        let mut more = false;
        let take = |entry| {
            more = range.limit != 0 && entries.len() == range.limit;
            if !more {
                entries.push(entry);
            }
            !more
        };
        let read = snapshot.each_key(&range.prefix, range.after.as_deref(), revision, take);
        read.map_err(|err| self.unreadable(&err))?;
        Ok(Page { revision, entries, more })
    }

    pub(super) fn history(&self, from: Revision, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let snapshot = self.snapshot()?;
        let from = from.max(1);
        if from <= snapshot.compacted {
            return Err(StoreError::Compacted { asked: from, compacted: snapshot.compacted });
        }
        let read = || -> Result<Vec<Commit>, ReadError> {
            let mut commits = Vec::new();
            for row in snapshot.commits.range(from..)?.take(limit) {
                let (revision, record) = row?;
                commits.push(snapshot.commit(revision.value(), record.value())?);
            }
            Ok(commits)
        };
        read().map_err(|err| self.unreadable(&err))
    }

    pub(super) fn key_history(&self, key: &str, from: Revision, limit: usize) -> Result<Vec<KeyCommit>, StoreError> {
        let snapshot = self.snapshot()?;
        let read = || -> Result<Vec<KeyCommit>, ReadError> {
            let mut steps = Vec::new();
            for row in snapshot.versions.range((key, from)..=(key, Revision::MAX))?.take(limit) {
                let (row, version) = row?;
                let revision = row.value().1;
                let meta = match snapshot.commits.get(revision)? {
                    Some(record) => Some(parse(revision, record.value())?.meta),
                    None => None,
                };
                steps.push(KeyCommit { revision, meta, change: change(key, revision, version.value()) });
            }
            Ok(steps)
        };
        read().map_err(|err| self.unreadable(&err))
    }
}
