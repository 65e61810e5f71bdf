//! The store in one file, on redb: the default of a single MGS.
//!
//! One thread writes ([`writer`]): it puts everything that waits into one redb transaction with a two-phase commit, so
//! many writers share the price of making it durable, and answers them after. Readers use redb's snapshots.

mod disk;
mod file;
mod import;
mod queue;
mod read;
mod rehearsal;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::redb::{Database, StorageBackend};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::recent::Recent;
use crate::watch::Log;
use crate::{
    Commit, Entry, Health, KeyCommit, LeaseId, OpenError, Page, Range, Revision, Store, StoreError, Txn, Watch,
};
use disk::Disk;
use queue::Queue;
use writer::Request;

/// A durable [`Store`] in one file. Dropping it waits for the commits under way and closes the file.
pub struct RedbStore {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
    // Last: the lock is given up only when the file is closed.
    _lock: Option<file::Lock>,
}

/// What the writer and the readers share.
struct Shared {
    db: Database,
    path: PathBuf,
    head: watch::Sender<Revision>,
    compacted: AtomicU64,
    recent: Mutex<Recent<()>>,
    health: Mutex<Health>,
}

impl RedbStore {
    /// Opens the store at `path`, or creates it where there is no file yet (its directory must exist).
    ///
    /// Every page's checksum is verified first, on a copy-on-write view, so a file that is refused was not written to.
    /// Reads the whole file: about 50 ms for 100 MB.
    /// Errors: [`OpenError`] tells a file in use, a foreign, a damaged and a newer one apart.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let lock = file::lock(path)?;
        let db = file::open(path)?;
        Self::start(db, path.to_owned(), Some(lock))
    }

    /// Opens a store on any redb storage, without lock and without looking at it first. For fault simulation.
    pub fn open_on(storage: impl StorageBackend) -> Result<Self, OpenError> {
        let path = PathBuf::from("(storage)");
        let io = |source| OpenError::Io { action: "open", path: path.clone(), source };
        let db = Database::builder().create_with_backend(Disk::new(storage).map_err(io)?);
        let db = db.map_err(|err| file::refusal(&path, err))?;
        schema::create_tables(&db).map_err(|err| file::damaged(&path, &err))?;
        Self::start(db, path, None)
    }

    fn start(db: Database, path: PathBuf, lock: Option<file::Lock>) -> Result<Self, OpenError> {
        let loaded = read::load(&db).map_err(|err| file::damaged(&path, &err))?;
        let shared = Arc::new(Shared {
            db,
            path,
            head: watch::Sender::new(loaded.revision),
            compacted: AtomicU64::new(loaded.compacted),
            recent: Mutex::default(),
            health: Mutex::new(Health::Good),
        });
        let queue = Arc::new(Queue::default());
        let (thread_shared, requests) = (shared.clone(), queue.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer::run(&thread_shared, loaded, &requests))
            .map_err(|source| OpenError::Io { action: "start a writer for", path: shared.path.clone(), source })?;
        Ok(Self { shared, queue, writer: Some(writer), _lock: lock })
    }

    /// Hands a request to the writer and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(writer::Reply<T>) -> Request,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(request(reply));
        async move { answer.await.map_err(|_| StoreError::Closed)? }.boxed()
    }

    /// Reads on a thread that may block on the disk.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        blocking(self.shared.clone(), read)
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // The writer is gone already if it panicked; then there is nothing to wait for.
        self.queue.push(Request::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn blocking<T: Send + 'static>(
    shared: Arc<Shared>,
    read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
) -> BoxFuture<'static, Result<T, StoreError>> {
    async move {
        let done = tokio::task::spawn_blocking(move || read(&shared)).await;
        // The join fails when the runtime shuts down, or when redb panics on a file that was changed under it.
        done.unwrap_or_else(|err| Err(StoreError::Unreadable { reason: err.to_string() }))
    }
    .boxed()
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, Recent<()>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a history gives, where it is in memory.
    fn recent(&self, from: Revision, limit: usize) -> Option<Result<Vec<Commit>, StoreError>> {
        let commits = self.newest().read(from, limit)?;
        Some(self.check_kept(from).map(|()| commits))
    }
}

impl Log for Shared {
    fn read(self: Arc<Self>, from: Revision, limit: usize) -> BoxFuture<'static, Result<Vec<Commit>, StoreError>> {
        if let Some(recent) = self.recent(from, limit) {
            return async move { recent }.boxed();
        }
        blocking(self, move |shared| shared.history(from, limit))
    }
}

impl Store for RedbStore {
    fn head(&self) -> Revision {
        *self.shared.head.borrow()
    }

    fn compacted(&self) -> Revision {
        self.shared.compacted.load(Ordering::Acquire)
    }

    fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let head = *self.shared.head.borrow();
        async move { Ok(head) }.boxed()
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, StoreError>> {
        if let Err(err) = txn.check() {
            return async move { Err(err.into()) }.boxed();
        }
        self.ask(|reply| Request::Commit(txn, reply))
    }

    fn get<'a>(&'a self, key: &'a str, at: Option<Revision>) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        let key = key.to_owned();
        self.read(move |shared| shared.get(&key, at))
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.read(move |shared| shared.range(&range))
    }

    fn history(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Commit>, StoreError>> {
        Log::read(self.shared.clone(), from, limit)
    }

    fn key_history<'a>(
        &'a self,
        key: &'a str,
        from: Revision,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<KeyCommit>, StoreError>> {
        let key = key.to_owned();
        self.read(move |shared| shared.key_history(&key, from, limit))
    }

    fn watch(&self, from: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        let shared = self.shared.clone();
        async move {
            let log = Arc::downgrade(&shared) as std::sync::Weak<dyn Log>;
            let head = shared.head.subscribe();
            shared.check_kept(from)?;
            Ok(Watch::new(log, head, from))
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Request::Compact(revision, reply))
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.ask(|reply| Request::Grant(ttl, reply))
    }

    fn lease_keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Request::KeepAlive(lease, reply))
    }

    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Request::Revoke(lease, reply))
    }
}
