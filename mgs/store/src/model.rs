//! What a store holds and the trait that every backend implements.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Health, StoreError, Txn, Watch};

/// Number of a commit. The first is 1; there are no gaps; it never goes backward.
pub type Revision = u64;

/// Number of a lease, never 0, never reused within one store.
pub type LeaseId = u64;

/// Bytes of a key's value, shared between the readers of one snapshot.
pub type Value = Arc<[u8]>;

/// Who changed something, when and why. Part of every commit: the history is the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Milliseconds since 1970 UTC by the committer's clock. Revisions, not times, order commits.
    pub time_ms: u64,
    /// The caller's identity, as in `uid:0` or `node:oss1`.
    pub who: String,
    /// The request, as in `register scratch-OST0001`.
    pub why: String,
}

/// A key that exists at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Revision that created the key (since it was last absent).
    pub create_revision: Revision,
    /// Revision that wrote this value.
    pub mod_revision: Revision,
    /// How often the key was written since it was created; 1 when new.
    pub version: u64,
    /// The lease that the key vanishes with.
    pub lease: Option<LeaseId>,
}

/// What one commit did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Entry),
    /// The key is gone.
    Delete {
        /// The key.
        key: String,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Delete { key } => key,
        }
    }
}

/// One commit: all its changes became visible together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its number.
    pub revision: Revision,
    /// Who, when, why.
    pub meta: Meta,
    /// The changes, in the order of the transaction.
    pub changes: Vec<Change>,
}

/// One step in the life of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCommit {
    /// The commit's number.
    pub revision: Revision,
    /// Who, when, why; `None` where the commit itself was compacted and only the value is kept.
    pub meta: Option<Meta>,
    /// What happened to the key.
    pub change: Change,
}

/// Which keys to read: those that start with `prefix`, in byte order.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Empty for all keys.
    pub prefix: String,
    /// Go on after this key: the last one of the page before.
    pub after: Option<String>,
    /// At most so many entries; 0 for no limit.
    pub limit: usize,
    /// Read as of this revision; `None` for the newest. Pages of one listing pass [`Page::revision`] of the first.
    pub at: Option<Revision>,
}

impl Range {
    /// All keys that start with `prefix`, at the newest revision.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// A part of a range at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The revision that was read.
    pub revision: Revision,
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// There are more entries after the last one.
    pub more: bool,
}

/// The store under the MGS. Every method may be called from many tasks at once.
///
/// Reads see only what is durable. A future that is dropped before it is done leaves a commit's outcome unknown, as a
/// lost connection would; the history tells.
pub trait Store: Send + Sync + 'static {
    /// The newest durable revision; 0 in an empty store.
    fn head(&self) -> Revision;

    /// Everything up to this revision was compacted; 0 when nothing was.
    fn compacted(&self) -> Revision;

    /// Whether other processes may use the store at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether the store does its work.
    fn health(&self) -> Health;

    /// The newest revision that anybody had committed when this was called; reads here include it afterwards.
    ///
    /// At once where this is the only process on the store. Errors: [`StoreError::Unavailable`] when nobody can tell.
    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Commits `txn` if all its compares hold and answers with its revision once it is durable.
    ///
    /// Errors: [`StoreError::Conflict`] names the first compare that failed; nothing was changed then, nor with
    /// [`StoreError::Txn`] and [`StoreError::LeaseNotFound`]. After [`StoreError::Failed`] and
    /// [`StoreError::Unavailable`] the outcome is unknown.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// One key, at `at` or the newest revision. Errors: as [`Store::range`].
    fn get<'a>(&'a self, key: &'a str, at: Option<Revision>) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// A page of keys. Errors: [`StoreError::Compacted`], [`StoreError::Future`] for a revision that can't be read.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// At most `limit` commits from revision `from` on, oldest first.
    ///
    /// Errors: [`StoreError::Compacted`] when `from` (0 counts as 1) is no longer kept.
    fn history(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Commit>, StoreError>>;

    /// At most `limit` steps in the life of one key from revision `from` on, oldest first. What was compacted is left out.
    fn key_history<'a>(
        &'a self,
        key: &'a str,
        from: Revision,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<KeyCommit>, StoreError>>;

    /// Every commit from revision `from` on (0 counts as 1), each once and in order, also those from before the call.
    ///
    /// A `from` beyond the head waits for that revision and delivers nothing older.
    /// Errors: [`StoreError::Compacted`], at once or from [`Watch::next`] when a compaction overtakes a slow watcher.
    fn watch(&self, from: Revision) -> BoxFuture<'_, Result<Watch, StoreError>>;

    /// Forgets what can only be seen at revisions before `revision`: reads at `revision` and later still work.
    ///
    /// Errors: [`StoreError::Future`] beyond the head, [`StoreError::Compacted`] before the last compaction.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A new lease. Its keys are deleted in one commit when nobody keeps it alive for `ttl`.
    ///
    /// The clock is monotonic. In a store of one process it starts again, with the full `ttl`, when the store is opened;
    /// etcd's goes on, counts in seconds and gives at least about two.
    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>>;

    /// Starts the lease's time again. Errors: [`StoreError::LeaseNotFound`] once it has expired.
    fn lease_keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the lease now and deletes its keys. Errors: [`StoreError::LeaseNotFound`].
    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;
}
