//! What can go wrong, told apart where a caller does something different.

use std::path::PathBuf;

use thiserror::Error;

use crate::{LeaseId, MAX_KEY_BYTES, MAX_OPS, MAX_VALUE_BYTES, Revision};

/// A store operation that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// A compare of the transaction does not hold; nothing was changed. Decide again on the newest state.
    #[error("{key} changed: expected {expected}, found {found}")]
    Conflict {
        /// The key whose compare failed.
        key: String,
        /// What the transaction expected, as in `revision 7` or `no such key`.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The transaction itself is unacceptable; nothing was changed.
    #[error(transparent)]
    Txn(#[from] TxnError),
    /// The revision was compacted away.
    #[error("revision {asked} is no longer kept, the history starts after {compacted}; list again at a newer revision")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The last one that was compacted.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    #[error("revision {asked} does not exist yet, the newest is {head}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest one.
        head: Revision,
    },
    /// The lease has expired, was revoked or never existed.
    #[error("lease {lease} has expired or never existed")]
    LeaseNotFound {
        /// The lease asked for.
        lease: LeaseId,
    },
    /// Writing failed. Whether the change under way is durable shows after a restart; none is accepted until then.
    #[error("the store can't write and accepts no change until it is opened again: {reason}")]
    Failed {
        /// What the backend said, with the file's name.
        reason: String,
    },
    /// The store can't be reached, or takes nothing at the moment. A change under way may have been made or not; the history
    /// tells, once the store is back.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Who does not answer or refuses, and what to do where that is known.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The backend could not read what it once wrote.
    #[error("the store can't be read: {reason}")]
    Unreadable {
        /// What the backend said, with the file's name.
        reason: String,
    },
}

/// Why a transaction is refused before it is tried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TxnError {
    /// It would change nothing.
    #[error("a transaction needs at least one operation")]
    Empty,
    /// It is larger than any backend takes.
    #[error("{count} operations or compares in one transaction, at most {MAX_OPS} are possible")]
    TooManyOps {
        /// How many there are.
        count: usize,
    },
    /// Two operations on one key have no order.
    #[error("key {key} is written twice in one transaction")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The key is empty, too long, or has control characters.
    #[error("key of {len} bytes, possible are 1 to {MAX_KEY_BYTES} without control characters: {start:?}")]
    BadKey {
        /// Its length in bytes.
        len: usize,
        /// How it begins.
        start: String,
    },
    /// The value is larger than any backend takes.
    #[error("value of {len} bytes for {key}, at most {MAX_VALUE_BYTES} are possible")]
    ValueTooLarge {
        /// The key.
        key: String,
        /// The value's length in bytes.
        len: usize,
    },
}

/// Why a store file was not opened. It was not written to in any of these cases.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A second daemon.
    #[error(
        "store {path} is in use by another process{holder}; stop that one first, or give this MGS its own store file"
    )]
    Locked {
        /// The store file.
        path: PathBuf,
        /// ` (pid 12)` where it is known, else empty.
        holder: String,
    },
    /// Not one of our files.
    #[error("{path} is not an MGS store: {reason}; it was left as it is, move it away or name another file")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        reason: String,
    },
    /// One of our files, broken.
    #[error(
        "store {path} is damaged: {reason}; it was left as it is, restore it from a backup or move it away to start empty"
    )]
    Damaged {
        /// The store file.
        path: PathBuf,
        /// What is broken.
        reason: String,
    },
    /// An etcd that can't be used, or a prefix in it.
    #[error("store {url}: {reason}")]
    Etcd {
        /// The store's URL, without secrets.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Written by a newer program.
    #[error(
        "store {path} has schema {found}, this program knows {known}; run the newer version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The store file.
        path: PathBuf,
        /// The file's schema version.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// The operating system refused.
    #[error("can't {action} {path}")]
    Io {
        /// What was tried, as in `open`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
