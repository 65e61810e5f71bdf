//! Who does what must be done once, where several instances share a store: running jobs, telling webhooks, ending what is over.
//!
//! Each duty is a key of the store that vanishes with its owner's lease. Commits in the name of a duty compare the key's
//! create revision ([`Guard`]), so whoever was frozen past its lease changes nothing any more, even before it has noticed.
//! What an owner does beside the store (asking an agent, posting to a receiver) has to be safe to repeat.

use std::sync::Arc;
use std::time::Duration;

use lustre_mgs_core::decide::mgs::STATE_VERSION;
use lustre_mgs_core::{Change, Key, OwnerRecord, Record};
use lustre_mgs_store::{LeaseId, Meta, StoreError, Txn};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::clock;
use crate::engine::Engine;

/// How long after an owner's death another instance takes over.
const TTL: Duration = Duration::from_secs(6);
/// How often an owner says that it lives.
const RENEW: Duration = Duration::from_millis(1500);
/// Between attempts where the store does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// What every commit in the name of a duty compares: that it is still this owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pub(crate) key: Key,
    pub(crate) created: u64,
}

/// One instance's lease on the duties that it has. They are given up when this is dropped, after the lease's time.
pub struct Ownership {
    engine: Arc<Engine>,
    /// Where the others reach this instance.
    url: Option<String>,
    lease: watch::Receiver<Option<LeaseId>>,
    keeper: JoinHandle<()>,
}

impl Drop for Ownership {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Ownership {
    /// Gets a lease and keeps it.
    pub fn start(engine: &Arc<Engine>) -> Arc<Self> {
        Self::start_at(engine, None)
    }

    /// As [`Ownership::start`], and tells the others where this instance is.
    pub fn start_at(engine: &Arc<Engine>, url: Option<String>) -> Arc<Self> {
        let (sender, lease) = watch::channel(None);
        let keeper = tokio::spawn(keep(engine.clone(), sender));
        Arc::new(Self { engine: engine.clone(), url, lease, keeper })
    }

    /// Does `work` whenever this instance owns `duty`, from its start; drops it when the duty is lost. Returns when `work` does.
    pub async fn run<W: Future<Output = ()>>(&self, duty: &str, work: impl Fn(Guard) -> W) {
        loop {
            let (guard, lease) = self.acquire(duty).await;
            info!(duty, "duty taken on");
            tokio::select! {
                () = work(guard.clone()) => return,
                () = self.lost(duty, &guard, lease) => warn!(duty, "duty lost: this instance was cut off or frozen too long"),
            }
        }
    }

    /// Gives up all duties at once: the daemon ends. Others take over without waiting for the lease's end.
    pub async fn release(&self) {
        let lease = *self.lease.borrow();
        self.keeper.abort();
        if let Some(lease) = lease
            && let Ok(Err(err)) = tokio::time::timeout(RETRY, self.engine.store().lease_revoke(lease)).await
        {
            debug!(error = %err, "the lease could not be given back; it ends by itself");
        }
    }

    /// Waits until the duty is ours.
    async fn acquire(&self, duty: &str) -> (Guard, LeaseId) {
        let key = Key::Owner(duty.to_owned());
        let (mut lease, mut applied) = (self.lease.clone(), self.engine.applied());
        loop {
            applied.mark_unchanged();
            let Some(ours) = *lease.borrow_and_update() else {
                changed(&mut lease).await;
                continue;
            };
            if self.engine.state().owners.contains_key(duty) {
                tokio::select! {
                    () = changed(&mut lease) => {}
                    () = changed(&mut applied) => {}
                }
                continue;
            }
            let owner = Record::Owner(OwnerRecord {
                instance: self.engine.instance().to_owned(),
                url: self.url.clone(),
                knows: Some(STATE_VERSION),
            });
            let (name, value) = Change { key: key.clone(), record: Some(owner) }.encode();
            let txn = Txn::new(meta(format!("take on {duty}"))).if_absent(&name);
            match self.engine.store().commit(txn.put_leased(&name, value.unwrap_or_default(), ours)).await {
                Ok(created) => {
                    if self.engine.wait_applied(created).await.is_ok() {
                        return (Guard { key, created }, ours);
                    }
                }
                Err(StoreError::Conflict { .. }) => drop(self.engine.wait_applied(self.engine.store().head()).await),
                Err(err) => {
                    debug!(duty, error = %err, "the duty can't be taken on now, will try again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Waits until the duty is not ours any more.
    async fn lost(&self, duty: &str, guard: &Guard, ours: LeaseId) {
        let (mut lease, mut applied) = (self.lease.clone(), self.engine.applied());
        loop {
            applied.mark_unchanged();
            let owner = self.engine.state().owners.get(duty).map(|owner| owner.created);
            if *lease.borrow_and_update() != Some(ours) || owner != Some(guard.created) {
                return;
            }
            tokio::select! {
                () = changed(&mut lease) => {}
                () = changed(&mut applied) => {}
            }
        }
    }
}

/// Waits for another value; for ever where there is nobody left to send one: the daemon is ending.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Always has a lease, as far as the store lets it.
async fn keep(engine: Arc<Engine>, lease: watch::Sender<Option<LeaseId>>) {
    let store = engine.shared_store();
    if !store.is_shared() {
        forget_the_dead(&engine).await;
    }
    loop {
        match tokio::time::timeout(TTL, store.lease_grant(TTL)).await {
            Ok(Ok(granted)) => {
                lease.send_replace(Some(granted));
                renew(&*store, granted).await;
                lease.send_replace(None);
            }
            Ok(Err(StoreError::Closed)) => return,
            Ok(Err(err)) => debug!(error = %err, "no lease from the store, will try again"),
            Err(_) => debug!("no lease from the store in time, will try again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Until the lease is over, or may be: nobody answered for that long.
async fn renew(store: &dyn lustre_mgs_store::Store, lease: LeaseId) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(RENEW).await;
        let asked = Instant::now();
        match tokio::time::timeout(TTL, store.lease_keepalive(lease)).await {
            Ok(Ok(())) => heard = asked,
            Ok(Err(StoreError::LeaseNotFound { .. } | StoreError::Closed)) => return,
            Ok(Err(_)) | Err(_) if heard.elapsed() >= TTL => return,
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// On a store of one process, whoever owned something before this process is dead.
async fn forget_the_dead(engine: &Engine) {
    let owned: Vec<String> = engine.state().owners.keys().map(|duty| Key::Owner(duty.clone()).to_string()).collect();
    if owned.is_empty() {
        return;
    }
    let txn = owned.into_iter().fold(Txn::new(meta("take on what the process before did".into())), Txn::delete);
    if let Err(err) = engine.store().commit(txn).await {
        debug!(error = %err, "duties of the process before can't be taken on yet; they are when its lease is over");
    }
}

fn meta(why: String) -> Meta {
    Meta { time_ms: clock::now().unix_ms(), who: "mgs".into(), why }
}
