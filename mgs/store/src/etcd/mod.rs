//! The store on etcd: for several MGSs at once, or where the state shall not be on this machine.
//!
//! The store is a log in etcd. Commit *n* is the key `c/<n>`, its values are `v/<key>\t<n>`, and `head` holds *n*: all
//! written by one etcd transaction that compares the `mod_revision` of `head`. So every instance sees the same commits under
//! the same numbers, whatever else lives in that etcd, and a store can move between redb and etcd. An instance decides on its
//! [`mirror`] of the newest state; if another one was faster, the compare fails, it catches up and decides again. What waits
//! shares one etcd transaction ([`writer`]).
//!
//! Nothing relies on etcd's own history, so etcd may compact whenever it likes. Its watch ([`follow`]) only makes news
//! arrive sooner: revisions already seen are dropped (etcd issue 20221), a gap, a cancelled watch or a compaction is healed
//! by reading the log, and the head is read once a second anyway.
//!
//! A lease is an etcd lease with one key, `l/<lease>`. What it holds are ordinary keys, deleted by an ordinary commit once
//! that key is gone. Every commit that writes with a lease, or compares a key that a lease holds, also compares that
//! `l/<lease>` exists: who was frozen past its lease can't commit in its name, even before anybody has noticed.

mod blob;
mod client;
mod compact;
mod error;
mod follow;
mod import;
mod layout;
mod mirror;
mod open;
mod read;
mod url;
mod writer;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
mod rpc {
    // include! and not mod: rustfmt would reformat what `cargo xtask proto --check` compares.
    include!("generated/etcdserverpb.rs");
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::watch::Log;
use crate::{
    Commit, Entry, Health, KeyCommit, LeaseId, OpenError, Page, Range, Revision, Store, StoreError, Txn, Watch,
};
use client::Client;
use layout::Layout;
use mirror::Mirror;
use writer::Request;

pub use url::EtcdUrl;

/// How long a commit waits for an etcd that is out of reach to come back.
const LOST_PATIENCE: Duration = Duration::from_secs(3);

/// A durable [`Store`] on etcd, which other instances may use at the same time. Needs a tokio runtime.
///
/// Reads at the newest revision are answered from this instance's mirror; [`Store::sync`] brings that up to date first.
pub struct EtcdStore {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Request>,
    confirm: mpsc::UnboundedSender<oneshot::Sender<Result<Revision, StoreError>>>,
    tasks: [AbortHandle; 3],
}

/// What the tasks and the readers share.
struct Shared {
    client: Client,
    layout: Layout,
    /// The lock is never held across an await.
    mirror: Mutex<Mirror>,
    /// One at a time catches up; the others profit.
    catching_up: tokio::sync::Mutex<()>,
    head: watch::Sender<Revision>,
    health: watch::Sender<Health>,
    /// Why etcd refused the last commit, although it answers: no space, no permission.
    refused: Mutex<Option<String>>,
}

impl Shared {
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        // Changes of the mirror don't panic half way: they insert into maps.
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells watchers of what the mirror has by now.
    fn publish(&self) {
        let revision = self.mirror().revision;
        self.head.send_if_modified(|head| revision > std::mem::replace(head, revision.max(*head)));
    }
}

impl EtcdStore {
    /// Opens the store below the URL's prefix, or makes one where there is nothing yet.
    ///
    /// Reads the whole state. Errors: [`OpenError::Etcd`] for an etcd that can't be reached or refuses us, and for a prefix
    /// that holds something else; [`OpenError::Newer`].
    pub async fn open(url: &EtcdUrl) -> Result<Self, OpenError> {
        let shared = Arc::new(open::open(url).await?);
        let (queue, requests) = mpsc::unbounded_channel();
        let (confirm, asked) = mpsc::unbounded_channel();
        let tasks = [
            tokio::spawn(writer::run(shared.clone(), requests)).abort_handle(),
            tokio::spawn(follow::run(shared.clone(), queue.clone())).abort_handle(),
            tokio::spawn(follow::confirm(shared.clone(), asked)).abort_handle(),
        ];
        Ok(Self { shared, queue, confirm, tasks })
    }

    async fn ask<T>(&self, request: impl FnOnce(writer::Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(request(reply)).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        // A commit under way is in etcd or not; the next instance reads which.
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Log for Shared {
    fn read(self: Arc<Self>, from: Revision, limit: usize) -> BoxFuture<'static, Result<Vec<Commit>, StoreError>> {
        async move { self.history(from, limit).await }.boxed()
    }
}

impl Store for EtcdStore {
    fn head(&self) -> Revision {
        self.shared.mirror().revision
    }

    fn compacted(&self) -> Revision {
        self.shared.mirror().compacted
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn health(&self) -> Health {
        let health = self.shared.health.borrow().clone();
        match (&health, &*self.shared.refused()) {
            (Health::Good, Some(reason)) => Health::Lost { reason: reason.clone() },
            _ => health,
        }
    }

    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        async {
            let (reply, answer) = oneshot::channel();
            self.confirm.send(reply).map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?
        }
        .boxed()
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, StoreError>> {
        async move {
            txn.check()?;
            // While etcd is known to be out of reach nothing is tried: it is asked every second, and then changes go on. An
            // election is waited for.
            let mut health = self.shared.health.subscribe();
            let back = tokio::time::timeout(LOST_PATIENCE, health.wait_for(Health::is_good)).await.is_ok();
            if let Health::Lost { reason } = self.shared.health.borrow().clone()
                && !back
            {
                return Err(StoreError::Unavailable { reason });
            }
            self.ask(|reply| Request::commit(txn, reply)).await
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str, at: Option<Revision>) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.shared.get(key, at).boxed()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        async move { self.shared.range(&range).await }.boxed()
    }

    fn history(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Commit>, StoreError>> {
        self.shared.history(from, limit).boxed()
    }

    fn key_history<'a>(
        &'a self,
        key: &'a str,
        from: Revision,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<KeyCommit>, StoreError>> {
        self.shared.key_history(key, from, limit).boxed()
    }

    fn watch(&self, from: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        async move {
            let (from, compacted) = (from.max(1), self.shared.mirror().compacted);
            if from <= compacted {
                return Err(StoreError::Compacted { asked: from, compacted });
            }
            let log = Arc::downgrade(&self.shared) as Weak<dyn Log>;
            Ok(Watch::new(log, self.shared.head.subscribe(), from))
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.compact(revision).boxed()
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.shared.lease_grant(ttl).boxed()
    }

    fn lease_keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.lease_keepalive(lease).boxed()
    }

    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.shared.lease_revoke(lease).await?;
            self.ask(|reply| Request::Reap { lease, why: "revoked", reply: Some(reply) }).await
        }
        .boxed()
    }
}
