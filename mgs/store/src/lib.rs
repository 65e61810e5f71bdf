//! The MGS's store: a revisioned key space modelled on etcd's, small enough that a backend is a few hundred lines.
//!
//! Every commit gets the next [`Revision`] and carries [`Meta`] (time, who, why), so the store *is* the history and the
//! audit log. Writers compare what they decided on ([`Compare`]) and commit all or nothing; readers page through one
//! fixed revision; a [`Watch`] delivers every committed change once, in revision order, from any revision still kept.
//!
//! ```
//! # use lustre_mgs_store::{MemoryStore, Meta, Store, Txn};
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = MemoryStore::new();
//! let meta = Meta { time_ms: 1_700_000_000_000, who: "uid:0".into(), why: "new target".into() };
//! let revision = store.commit(Txn::new(meta).if_absent("fs/scratch/ost/0").put("fs/scratch/ost/0", "oss1")).await?;
//! let mut watch = store.watch(revision).await?;
//! assert_eq!(watch.next().await?.revision, revision);
//! # Ok::<(), lustre_mgs_store::StoreError>(()) }).unwrap();
//! ```
//!
//! Invariants, checked by one contract suite for every backend: an acknowledged commit survives kill -9 and power loss
//! (durable backends); revisions have no gaps; a refused or conflicting commit leaves nothing behind.
//! Limits: [`MAX_OPS`] operations a commit, [`MAX_VALUE_BYTES`] a value, [`MAX_KEY_BYTES`] a key (etcd's own limits or below).

pub mod backup;
mod error;
mod etcd;
mod health;
mod lease;
mod memory;
mod model;
mod recent;
mod redb;
mod txn;
mod watch;

pub use error::{OpenError, StoreError, TxnError};
pub use etcd::{EtcdStore, EtcdUrl};
pub use health::Health;
pub use memory::MemoryStore;
pub use model::{Change, Commit, Entry, KeyCommit, LeaseId, Meta, Page, Range, Revision, Store, Value};
pub use redb::RedbStore;
pub use txn::{Compare, MAX_KEY_BYTES, MAX_OPS, MAX_VALUE_BYTES, Op, Txn};
pub use watch::Watch;
