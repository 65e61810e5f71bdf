//! The MGS dies at every boundary between two commits of a job, with the commit made or not made; the next one goes on.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{Nodes, ensure, info, soon};
use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_api::WriteQuery;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::job::{Job, JobId, JobState};
use lustre_api::node::Announcement;
use lustre_api::target::TargetState;
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs::jobs::{Runner, progress::Board};
use lustre_mgs::ownership::Ownership;
use lustre_mgs_core::{Env, Request, State, decide};
use lustre_mgs_store::{
    Commit, Entry, Health, KeyCommit, LeaseId, MemoryStore, Page, Range, Revision, Store, StoreError, Txn, Watch,
};
use tokio::task::JoinHandle;

/// A store whose process dies: after so many commits nothing comes through any more.
struct Dying {
    store: Arc<MemoryStore>,
    left: AtomicUsize,
    /// The last commit is made, and nobody hears of it.
    is_last_made: bool,
}

fn dead<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable { reason: "the process is dead".into() })
}

impl Store for Dying {
    fn head(&self) -> Revision {
        self.store.head()
    }
    fn compacted(&self) -> Revision {
        self.store.compacted()
    }
    fn health(&self) -> Health {
        self.store.health()
    }
    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.store.sync()
    }
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, StoreError>> {
        async move {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            match left {
                Err(_) => dead(),
                Ok(1) if self.is_last_made => {
                    let _ = self.store.commit(txn).await;
                    dead()
                }
                Ok(_) => self.store.commit(txn).await,
            }
        }
        .boxed()
    }
    fn get<'a>(&'a self, key: &'a str, at: Option<Revision>) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.store.get(key, at)
    }
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.store.range(range)
    }
    fn history(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Commit>, StoreError>> {
        self.store.history(from, limit)
    }
    fn key_history<'a>(
        &'a self,
        key: &'a str,
        from: Revision,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<KeyCommit>, StoreError>> {
        self.store.key_history(key, from, limit)
    }
    fn watch(&self, from: Revision) -> BoxFuture<'_, Result<Watch, StoreError>> {
        self.store.watch(from)
    }
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.compact(revision)
    }
    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.store.lease_grant(ttl)
    }
    fn lease_keepalive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.lease_keepalive(lease)
    }
    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.lease_revoke(lease)
    }
}

/// A process of the MGS, with its job runner.
struct Mgs {
    engine: Arc<Engine>,
    runner: JoinHandle<()>,
    follower: JoinHandle<anyhow::Error>,
}

impl Drop for Mgs {
    fn drop(&mut self) {
        self.runner.abort();
        self.follower.abort();
    }
}

impl Mgs {
    async fn start(store: Arc<dyn Store>, nodes: &Arc<Nodes>) -> Self {
        let env = Env { mgs_nids: Some("10.0.0.1@tcp".parse().unwrap()), ..Env::default() };
        let (engine, follower) = Engine::start(store, env).await.unwrap();
        let (agents, board) = (nodes.clone(), Arc::new(Board::default()));
        let runner = Arc::new(Runner { engine: engine.clone(), agents, board });
        let runner = tokio::spawn(runner.run(Ownership::start(&engine)));
        Self { engine, runner, follower }
    }

    fn job(&self, id: &JobId) -> Job {
        self.engine.state().jobs[id].value.job.clone()
    }
}

/// A store with a node, a file system and a job that makes a target, not begun.
async fn prepared(nodes: &Arc<Nodes>) -> (Arc<MemoryStore>, JobId) {
    let store = Arc::new(MemoryStore::new());
    let mgs = Mgs::start(store.clone(), nodes).await;
    mgs.runner.abort();
    let (caller, query) = (Caller::new("uid:0"), WriteQuery::default());
    let announcement = Announcement { api_url: "http://oss1:7080".into(), info: info("oss1") };
    let node = "oss1".parse().unwrap();
    let announce = |state: &State, req: &Request<'_>| decide::node::announce(state, req, &node, announcement.clone());
    mgs.engine.write(&caller, &query, announce).await.unwrap();
    let spec = FilesystemSpec { name: "scratch".parse().unwrap(), description: None };
    let put =
        |state: &State, req: &Request<'_>| decide::filesystem::put_filesystem(state, req, &spec.name, spec.clone());
    mgs.engine.write(&caller, &query, put).await.unwrap();
    let seen = cluster::blank_check("/dev/sdb");
    let make = |state: &State, req: &Request<'_>| {
        decide::target::ensure(state, req, ensure("/dev/sdb"), Some(&seen), &std::collections::BTreeSet::new())
    };
    let id = mgs.engine.write(&caller, &query, make).await.unwrap().job.unwrap();
    (store, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_ends_once_wherever_the_mgs_dies_between_its_commits() {
    let mut boundaries = 0;
    for is_last_made in [false, true] {
        for commits in 0.. {
            let nodes = Arc::new(Nodes::default());
            let (store, id) = prepared(&nodes).await;
            let dying = Arc::new(Dying { store: store.clone(), left: AtomicUsize::new(commits), is_last_made });
            let ended_before = {
                let mgs = Mgs::start(dying.clone(), &nodes).await;
                let over = async {
                    while !mgs.job(&id).state.is_final() && dying.left.load(Ordering::SeqCst) > 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                soon(over).await;
                // What was under way may still reach the agent.
                tokio::time::sleep(Duration::from_millis(20)).await;
                mgs.job(&id).state.is_final() && dying.left.load(Ordering::SeqCst) > 0
            };
            let mgs = Mgs::start(store, &nodes).await;
            let over = async {
                while !mgs.job(&id).state.is_final() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            soon(over).await;
            assert_eq!(mgs.job(&id).state, JobState::Done, "dead after {commits} commits");
            assert!(mgs.job(&id).steps.iter().all(|step| step.attempts == 1));
            assert_eq!(nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
            let state = mgs.engine.state().targets.values().next().unwrap().value.state;
            assert_eq!(state, TargetState::Registered);
            assert!(mgs.engine.state().holds.is_empty(), "nothing is held by what is over");
            boundaries += 1;
            if ended_before {
                break;
            }
        }
    }
    assert!(boundaries >= 8, "it died at {boundaries} places only");
}
