//! The store in memory: for tests and rehearsals. Nothing survives the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::lease::{self, Leases};
use crate::txn::{self, Head};
use crate::watch::Log;
use crate::{
    Change, Commit, Entry, Health, KeyCommit, LeaseId, Meta, Op, Page, Range, Revision, Store, StoreError, Txn, Watch,
};

/// A [`Store`] that lives in memory. Cheap to clone handles are made with `Arc`.
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    leases_changed: Condvar,
    head: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    head: Head,
    /// Every key at every revision that changed it and is still kept; `None` where it was deleted.
    versions: BTreeMap<String, BTreeMap<Revision, Option<Entry>>>,
    commits: BTreeMap<Revision, Commit>,
    revision: Revision,
    compacted: Revision,
    leases: Leases,
    last_lease: LeaseId,
    has_reaper: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let head = watch::Sender::new(0);
        Self { inner: Arc::new(Inner { state: Mutex::default(), leases_changed: Condvar::new(), head }) }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        // Wakes the reaper, which then finds the store gone.
        self.inner.leases_changed.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way through a change: `record` is the only one, and it doesn't fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &State) {
        self.head.send_replace(state.revision);
    }
}

impl State {
    fn record(&mut self, meta: Meta, changes: Vec<Change>) -> Revision {
        self.revision += 1;
        for change in &changes {
            let entry = match change {
                Change::Put(entry) => Some(entry.clone()),
                Change::Delete { .. } => None,
            };
            self.versions.entry(change.key().to_owned()).or_default().insert(self.revision, entry);
        }
        txn::apply(&mut self.head, changes.iter().cloned());
        self.commits.insert(self.revision, Commit { revision: self.revision, meta, changes });
        self.revision
    }

    fn end_lease(&mut self, id: LeaseId, why: &str) -> Result<(), StoreError> {
        self.leases.remove(id)?;
        let orphans = lease::orphans(&self.head, id);
        if !orphans.is_empty() {
            self.record(lease::meta(id, why), orphans);
        }
        Ok(())
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

    fn commits(&self, from: Revision, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let from = from.max(1);
        if from <= self.compacted {
            return Err(StoreError::Compacted { asked: from, compacted: self.compacted });
        }
        Ok(self.commits.range(from..).take(limit).map(|(_, commit)| commit.clone()).collect())
    }
}

fn entry_at(versions: &BTreeMap<Revision, Option<Entry>>, at: Revision) -> Option<&Entry> {
    versions.range(..=at).next_back()?.1.as_ref()
}

impl Log for Inner {
    fn read(self: Arc<Self>, from: Revision, limit: usize) -> BoxFuture<'static, Result<Vec<Commit>, StoreError>> {
        ready(self.lock().commits(from, limit)).boxed()
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Revision {
        self.inner.lock().revision
    }

    fn compacted(&self) -> Revision {
        self.inner.lock().compacted
    }

    fn health(&self) -> Health {
        Health::Good
    }

    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        ready(Ok(self.inner.lock().revision)).boxed()
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let commit = || {
            txn.check()?;
            let mut state = self.inner.lock();
            for op in &txn.ops {
                if let Op::Put { lease: Some(lease), .. } = op
                    && !state.leases.contains(*lease)
                {
                    return Err(StoreError::LeaseNotFound { lease: *lease });
                }
            }
            let changes = txn::evaluate(&state.head, &txn, state.revision + 1)?;
            let revision = state.record(txn.meta, changes);
            self.inner.publish(&state);
            Ok(revision)
        };
        ready(commit()).boxed()
    }

    fn get<'a>(&'a self, key: &'a str, at: Option<Revision>) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        let state = self.inner.lock();
        let entry =
            state.readable(at).map(|at| state.versions.get(key).and_then(|versions| entry_at(versions, at)).cloned());
        ready(entry).boxed()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        let state = self.inner.lock();
        let page = state.readable(range.at).map(|revision| {
            let start = match &range.after {
                Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
                _ => Bound::Included(range.prefix.as_str()),
            };
            let mut found = state
                .versions
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(&range.prefix))
                .filter_map(|(_, versions)| entry_at(versions, revision));
            let limit = if range.limit == 0 { usize::MAX } else { range.limit };
            let entries = found.by_ref().take(limit).cloned().collect();
            Page { revision, entries, more: found.next().is_some() }
        });
        ready(page).boxed()
    }

    fn history(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Commit>, StoreError>> {
        ready(self.inner.lock().commits(from, limit)).boxed()
    }

    fn key_history<'a>(
        &'a self,
        key: &'a str,
        from: Revision,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<KeyCommit>, StoreError>> {
        let state = self.inner.lock();
        let versions = state.versions.get(key).into_iter().flat_map(|versions| versions.range(from..));
        let steps = versions.take(limit).map(|(revision, entry)| KeyCommit {
            revision: *revision,
            meta: state.commits.get(revision).map(|commit| commit.meta.clone()),
            change: entry.clone().map_or(Change::Delete { key: key.to_owned() }, Change::Put),
        });
        ready(Ok(steps.collect())).boxed()
    }

    fn watch(&self, from: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        let log: Weak<dyn Log> = Arc::downgrade(&self.inner) as Weak<dyn Log>;
        let state = self.inner.lock();
        let watch = state.commits(from, 0).map(|_| Watch::new(log, self.inner.head.subscribe(), from));
        ready(watch).boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.inner.lock();
        let done = state.readable(Some(revision)).map(|_| {
            state.compacted = revision;
            state.commits = state.commits.split_off(&(revision + 1));
            for versions in state.versions.values_mut() {
                let mut kept = versions.split_off(&(revision + 1));
                if let Some((last, Some(entry))) = versions.pop_last() {
                    kept.insert(last, Some(entry));
                }
                *versions = kept;
            }
            state.versions.retain(|_, versions| !versions.is_empty());
        });
        ready(done).boxed()
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        let mut state = self.inner.lock();
        state.last_lease += 1;
        let id = state.last_lease;
        state.leases.add(id, ttl);
        if !std::mem::replace(&mut state.has_reaper, true) {
            let inner = Arc::downgrade(&self.inner);
            std::thread::spawn(move || reap(&inner));
        }
        self.inner.leases_changed.notify_all();
        ready(Ok(id)).boxed()
    }

    fn lease_keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.inner.lock().leases.keep_alive(lease)).boxed()
    }

    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.inner.lock();
        let done = state.end_lease(lease, "revoked");
        self.inner.publish(&state);
        ready(done).boxed()
    }
}

/// Ends leases that are due, until the store is dropped.
fn reap(inner: &Weak<Inner>) {
    /// How long the reaper may hold the last reference to a store that was dropped.
    const LONGEST_WAIT: Duration = Duration::from_millis(100);
    while let Some(inner) = inner.upgrade() {
        let mut state = inner.lock();
        for lease in state.leases.due() {
            state.end_lease(lease, "expired").expect("lease is alive: it was just found due");
            inner.publish(&state);
        }
        let wait = state.leases.next_due().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        drop(inner.leases_changed.wait_timeout(state, wait));
    }
}
