//! The engine: decide, commit, wait until applied, reply. The store's watch is the only thing that changes the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::Context;
use lustre_api::job::JobId;
use lustre_api::{Problem, WriteQuery};
use lustre_mgs_core::serve;
use lustre_mgs_core::view::Stamp;
use lustre_mgs_core::{Change, Compare, Decision, Env, Key, Record, Request, State, decide};
use lustre_mgs_store::{self as store, Meta, Range, Store, StoreError, Txn};
use lustre_types::SvName;
use lustre_wire::ldlm::ResourceId;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::jobs::waiters::Waiters;
use crate::ownership::Guard;
use crate::turns::Turns;
use crate::{clock, state_version};

/// How often a request decides again before it gives up: each time, somebody else got ahead.
const MAX_ATTEMPTS: usize = 200;
/// Objects read at a time when the state is loaded.
const LOAD_PAGE: usize = 1000;

/// How long a read waits for the store's word that nothing is newer, and when the store is known to be lost.
const REFRESH: Duration = Duration::from_secs(3);
const REFRESH_LOST: Duration = Duration::from_millis(20);
/// Between attempts to follow a store that does not answer.
const RETRY: Duration = Duration::from_millis(200);

/// One MGS on a store.
pub struct Engine {
    store: Arc<dyn Store>,
    env: Env,
    /// Names this process.
    instance: String,
    state: RwLock<State>,
    applied: watch::Sender<u64>,
    /// Who waits for a commit that concerns a job.
    job_waiters: Waiters,
    /// Who waits for a revision, told once: thousands wait at a time, and waking them all for each revision costs more than
    /// the commits.
    awaited: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
    stopping: watch::Sender<bool>,
    /// Why the store takes no changes any more, once that is so.
    store_error: OnceLock<String>,
    /// Told which locks each commit makes stale.
    stale_locks: Mutex<Vec<mpsc::UnboundedSender<BTreeSet<ResourceId>>>>,
    /// Names that requests under way are about to claim: so that racing callers of this instance don't collide on each
    /// index in turn. Only the store's compare decides who gets one.
    claims: Mutex<BTreeSet<SvName>>,
    turns: Turns,
}

/// Who makes a change and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As it is kept in the history: `uid:0`, `tcp:10.0.0.7`, `mgs`.
    pub who: String,
    guard: Option<Guard>,
}

impl Caller {
    /// Somebody.
    pub fn new(who: impl Into<String>) -> Self {
        Self { who: who.into(), guard: None }
    }

    /// The MGS itself: its job runner, its clock.
    pub fn mgs() -> Self {
        Self::new("mgs")
    }

    /// The MGS itself as the owner of a duty: what it commits, it commits only as long as it is that.
    pub fn owner(guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::mgs() }
    }

    /// The same under another name.
    #[must_use]
    pub fn named(self, who: impl Into<String>) -> Self {
        Self { who: who.into(), ..self }
    }
}

impl Engine {
    /// Loads the state from a store, gives the store an identity if it has none, and follows it from then on.
    ///
    /// The returned task ends when the store is closed or holds something unreadable; then the daemon has to end too.
    /// Errors: a store that can't be read or written, an object in it that this version does not understand.
    pub async fn start(
        store: Arc<dyn Store>,
        env: Env,
    ) -> anyhow::Result<(Arc<Self>, tokio::task::JoinHandle<anyhow::Error>)> {
        let state = load(&*store).await?;
        let revision = state.revision;
        let watch = store.watch(revision + 1).await.context("the store can't be watched")?;
        let engine = Arc::new(Self {
            store,
            env,
            instance: uuid::Uuid::new_v4().to_string(),
            state: RwLock::new(state),
            applied: watch::Sender::new(revision),
            job_waiters: Waiters::default(),
            awaited: Mutex::default(),
            stopping: watch::Sender::new(false),
            store_error: OnceLock::new(),
            stale_locks: Mutex::default(),
            claims: Mutex::default(),
            turns: Turns::default(),
        });
        let follower = tokio::spawn(follow(engine.clone(), watch));
        engine.write_own(|state, req| Ok(decide::mgs::init(state, req))).await?;
        engine.catch_up().await?;
        info!(revision, uuid = engine.state().uuid(), "state loaded");
        Ok((engine, follower))
    }

    /// Writes the config logs that a store of a version without them lacks.
    async fn catch_up(&self) -> anyhow::Result<()> {
        loop {
            let decided = |state: &State, req: &Request<'_>| {
                let decision = decide::log::catch_up(state, req)?;
                Ok(decision.map_or_else(|| Decision::nothing().map(|()| false), |decision| decision.map(|()| true)))
            };
            let wrote = self.write_own(decided).await;
            if !wrote.context("the config logs of this store can't be written")? {
                return Ok(());
            }
        }
    }

    /// The state as it is now. Not to be held across an await.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this instance was configured with.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Names this process among those that share the store.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Why the store takes no changes any more, where it refused one for good. Reading goes on.
    ///
    /// Not undone while the process lives: after a failed fsync the kernel may drop what it could not write and call the
    /// next fsync a success, so only a fresh open, which checks the file, may be written to again.
    pub fn store_error(&self) -> Option<&str> {
        self.store_error.get().map(String::as_str)
    }

    /// The store, for history and events.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store, for what outlives a request.
    pub fn shared_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Lets go of everybody who waits for news: the daemon is about to end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the daemon is about to end.
    pub async fn stopped(&self) {
        // The sender lives as long as the engine, so the wait ends by its value only.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Tells of every revision that was applied.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Tells of every commit that concerns a job, after it was applied.
    pub fn applied_to(&self, job: &JobId) -> watch::Receiver<()> {
        self.job_waiters.on(job)
    }

    /// Decides, commits and waits until the change is durable and applied.
    ///
    /// `decide` runs again, on the newer state, as often as somebody else's commit came in between.
    /// Errors: what `decide` refuses; `unavailable` when the store can't write.
    pub async fn write<R: Stamp>(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        decide: impl Fn(&State, &Request<'_>) -> Result<Decision<R>, Problem>,
    ) -> Result<R, Problem> {
        if query.why.as_ref().is_some_and(|why| why.chars().count() > 256) {
            return Err(Problem::invalid("the reason has more than 256 characters").attribute("why"));
        }
        let request = Request {
            now: clock::now(),
            seed: clock::seed(),
            who: &caller.who,
            why: query.why.as_deref(),
            if_revision: query.if_revision,
            job: query.job.as_ref(),
            plan: query.plan.as_deref(),
            env: &self.env,
        };
        let (mut reply, revision) = self.settle(request, caller.guard.as_ref(), query.dry_run, decide).await?;
        if let Some(revision) = revision {
            reply.stamp(revision);
        }
        Ok(reply)
    }

    /// As [`Engine::write`], for the MGS's own doings.
    pub async fn write_own<R>(
        &self,
        decide: impl Fn(&State, &Request<'_>) -> Result<Decision<R>, Problem>,
    ) -> Result<R, Problem> {
        self.write_as(&Caller::mgs(), decide).await
    }

    /// As [`Engine::write_own`], for somebody else who has no reason to give.
    pub async fn write_as<R>(
        &self,
        caller: &Caller,
        decide: impl Fn(&State, &Request<'_>) -> Result<Decision<R>, Problem>,
    ) -> Result<R, Problem> {
        Ok(self.settle(self.request(caller), caller.guard.as_ref(), false, decide).await?.0)
    }

    /// A request of somebody who says nothing more.
    pub fn request<'a>(&'a self, caller: &'a Caller) -> Request<'a> {
        Request {
            now: clock::now(),
            seed: clock::seed(),
            who: &caller.who,
            why: None,
            if_revision: None,
            job: None,
            plan: None,
            env: &self.env,
        }
    }

    /// The decision's reply, and the revision that it was committed as where it changed something.
    async fn settle<R>(
        &self,
        request: Request<'_>,
        guard: Option<&Guard>,
        dry_run: bool,
        decide: impl Fn(&State, &Request<'_>) -> Result<Decision<R>, Problem>,
    ) -> Result<(R, Option<u64>), Problem> {
        let mut is_fresh = false;
        let mut turn = self.turns.turn();
        let mut lost_over = None;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(key) = lost_over.take() {
                turn.queue_for(key).await;
                self.wait_applied(self.store.head()).await?;
            }
            let _go = turn.next().await;
            let (decision, decided_on) = {
                let state = self.state();
                (decide(&state, &request), state.revision)
            };
            // What changes something is checked when it is committed. Anything else is only true of the newest state:
            // another instance may have made a moment ago what is said to be missing here.
            let needs_newest = decision.as_ref().map_or(true, |decision| decision.changes.is_empty() || dry_run);
            if needs_newest && !is_fresh {
                self.refresh().await.map_err(|reason| unavailable(&StoreError::Unavailable { reason }))?;
                is_fresh = true;
                if self.state().revision != decided_on {
                    continue;
                }
            }
            let decision = decision?;
            if decision.changes.is_empty() {
                return Ok((decision.reply, None));
            }
            let needs = decision.changes.iter().map(Change::needs).max().unwrap_or_default();
            if needs > self.state().version() {
                match self.raise(&request, needs, dry_run).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // Who stands in the way may be gone.
                    Err(_) if !is_fresh => {
                        self.refresh().await.map_err(|reason| unavailable(&StoreError::Unavailable { reason }))?;
                        is_fresh = true;
                        continue;
                    }
                    Err(problem) => return Err(problem),
                }
            }
            if dry_run {
                return Ok((decision.reply, Some(decided_on)));
            }
            lost_over = turn.to_queue_for(decision.compare.iter().map(compared));
            if lost_over.is_some() {
                continue;
            }
            match self.store.commit(transaction(&request, guard, &decision)).await {
                Ok(revision) => {
                    self.wait_applied(revision).await?;
                    return Ok((decision.reply, Some(revision)));
                }
                Err(StoreError::Conflict { key, .. }) if guard.is_some_and(|guard| guard.key.to_string() == key) => {
                    return Err(Problem::unavailable(format!("{key} is another instance's by now")));
                }
                Err(StoreError::Conflict { key, .. }) => {
                    tracing::debug!(key, decided_on, "somebody was faster, deciding again");
                    lost_over = Some(key);
                }
                Err(err) => return Err(self.refused(&err)),
            }
        }
        Err(Problem::unavailable("others kept changing the same objects").remedy("try again"))
    }

    /// Raises the version of the state, for a change that needs it; false where nothing was done.
    /// Errors: an instance of an older program that is alive.
    async fn raise(&self, request: &Request<'_>, version: u32, dry_run: bool) -> Result<bool, Problem> {
        let decision = decide::mgs::raise(&self.state(), request, version, self.store.is_shared())?;
        if dry_run || decision.changes.is_empty() {
            return Ok(false);
        }
        match self.store.commit(transaction(request, None, &decision)).await {
            Ok(revision) => {
                info!(
                    version,
                    revision, "the version of the state has risen: programs that do not know it refuse this store"
                );
                self.wait_applied(revision).await?;
            }
            Err(StoreError::Conflict { .. }) => self.wait_applied(self.store.head()).await?,
            Err(err) => return Err(self.refused(&err)),
        }
        Ok(true)
    }

    /// What a caller is told when the store refused to write; remembered where that is for good.
    fn refused(&self, err: &StoreError) -> Problem {
        if matches!(err, StoreError::Failed { .. }) {
            // The first failure is the cause; what comes after it only repeats it.
            let _ = self.store_error.set(err.to_string());
        }
        unavailable(err)
    }

    /// Waits until the state has everything up to `revision`.
    pub async fn wait_applied(&self, revision: u64) -> Result<(), Problem> {
        let applied = {
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked under the lock: who applies a revision says so first and then takes the lock.
            if *self.applied.borrow() >= revision {
                return Ok(());
            }
            let (sender, applied) = oneshot::channel();
            awaited.entry(revision).or_default().push(sender);
            applied
        };
        applied.await.map_err(|_| Problem::unavailable("the MGS is shutting down").remedy("try again"))
    }

    /// Tells of every commit which locks it makes stale, after it was applied.
    pub fn stale_locks(&self) -> mpsc::UnboundedReceiver<BTreeSet<ResourceId>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.stale_locks.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Makes sure that the state has what anybody had committed by now. Errors: why what is here may be old.
    pub async fn refresh(&self) -> Result<(), String> {
        // A store that is known to be lost is not waited for: somebody asks it every second.
        let patience = if self.store.health().is_good() { REFRESH } else { REFRESH_LOST };
        match tokio::time::timeout(patience, self.store.sync()).await {
            Ok(Ok(revision)) => self.wait_applied(revision).await.map_err(|problem| problem.to_string()),
            Ok(Err(err)) => Err(err.to_string()),
            Err(_) => Err("the store does not answer".into()),
        }
    }

    /// A place among the names that requests of this instance are about to claim.
    pub fn claim(&self) -> Claim<'_> {
        Claim { engine: self, name: Mutex::new(None) }
    }

    fn claims(&self) -> MutexGuard<'_, BTreeSet<SvName>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, revision: u64, changes: Vec<Change>) {
        let stale: BTreeSet<ResourceId> = changes.iter().filter_map(|change| serve::touched(&change.key)).collect();
        let job = |change: &Change| match &change.key {
            Key::Job(id) => Some(id.clone()),
            _ => None,
        };
        let jobs: Vec<JobId> = changes.iter().filter_map(job).collect();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            state.apply(revision, change);
        }
        state.advance(revision);
        drop(state);
        self.tell_applied(revision);
        jobs.iter().for_each(|id| self.job_waiters.tell(id));
        self.tell_stale(&stale);
    }

    fn tell_applied(&self, revision: u64) {
        self.applied.send_replace(revision);
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let later = awaited.split_off(&revision.saturating_add(1));
        let reached = std::mem::replace(&mut *awaited, later);
        drop(awaited);
        for waiting in reached.into_values().flatten() {
            // Who gave up waiting needs no word.
            let _ = waiting.send(());
        }
    }

    fn tell_stale(&self, stale: &BTreeSet<ResourceId>) {
        if !stale.is_empty() {
            let mut listeners = self.stale_locks.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.retain(|listener| listener.send(stale.clone()).is_ok());
        }
    }
}

/// Keeps the name that a request decided on away from other requests of this instance until it is dropped.
pub struct Claim<'a> {
    engine: &'a Engine,
    name: Mutex<Option<SvName>>,
}

impl Claim<'_> {
    /// Decides with the names that others are about to claim, and claims the one decided on.
    pub fn decide<R>(
        &self,
        decide: impl FnOnce(&BTreeSet<SvName>) -> Result<Decision<R>, Problem>,
        name: impl FnOnce(&R) -> SvName,
    ) -> Result<Decision<R>, Problem> {
        let mut claims = self.engine.claims();
        let mut own = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = own.take() {
            claims.remove(&before);
        }
        let decision = decide(&claims)?;
        let name = name(&decision.reply);
        // Who already has it by an earlier commit is not claiming it now.
        if !decision.changes.is_empty() && claims.insert(name.clone()) {
            *own = Some(name);
        }
        Ok(decision)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.engine.claims().remove(&name);
        }
    }
}

async fn load(store: &dyn Store) -> anyhow::Result<State> {
    state_version::check(store).await?;
    let mut state = State::default();
    let mut range = Range { limit: LOAD_PAGE, ..Range::default() };
    loop {
        let page = store.range(range.clone()).await.context("the store can't be read")?;
        for entry in &page.entries {
            let change = Change::decode(&entry.key, Some(&entry.value))
                .context("is the store of a newer version of this program? run that one, or restore a backup")?;
            state.load(entry.create_revision, entry.mod_revision, change);
        }
        state.advance(page.revision);
        if !page.more {
            return Ok(state);
        }
        range.at = Some(page.revision);
        range.after = page.entries.last().map(|entry| entry.key.clone());
    }
}

/// Applies every commit; ends with the reason why it can't any more.
async fn follow(engine: Arc<Engine>, mut watch: store::Watch) -> anyhow::Error {
    loop {
        let commit = match watch.next().await {
            Ok(commit) => commit,
            Err(StoreError::Closed) => return anyhow::anyhow!("the store was closed"),
            Err(StoreError::Unavailable { reason }) => {
                tracing::debug!(reason, "the store can't be followed now, will try again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(StoreError::Compacted { .. }) => match reload(&engine).await {
                Ok(Some(again)) => {
                    watch = again;
                    continue;
                }
                Ok(None) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(err) => return err,
            },
            Err(err) => {
                error!(error = %err, "the store can't be followed any more");
                return anyhow::Error::new(err).context("the store can't be followed any more");
            }
        };
        if let Err(err) = state_version::check_commit(&commit) {
            return err.into();
        }
        let changes = commit.changes.iter().map(|change| match change {
            store::Change::Put(entry) => Change::decode(&entry.key, Some(&entry.value)),
            store::Change::Delete { key } => Change::decode(key, None),
        });
        match changes.collect() {
            Ok(changes) => engine.apply(commit.revision, changes),
            Err(err) => {
                warn!(revision = commit.revision, error = %err, "a commit is not readable");
                return anyhow::Error::new(err).context(format!("revision {} is not readable", commit.revision));
            }
        }
    }
}

/// Reads the whole state again, after others compacted what this instance had not seen; gives the watch behind it, or `None`
/// when the store does not answer now.
async fn reload(engine: &Engine) -> anyhow::Result<Option<store::Watch>> {
    let state = match load(&*engine.store).await {
        Ok(state) => state,
        Err(err) if matches!(err.downcast_ref(), Some(StoreError::Unavailable { .. })) => return Ok(None),
        Err(err) => return Err(err),
    };
    let revision = state.revision;
    let watch = match engine.store.watch(revision + 1).await {
        Ok(watch) => watch,
        Err(_) => return Ok(None),
    };
    info!(revision, "state read again: others had compacted what was missing here");
    // What changed meanwhile is not known: whoever holds a lock reads again.
    let keys_of = |state: &State| {
        let logs = state.logs.keys().map(|fsname| Key::Log(fsname.clone(), 0));
        logs.chain(state.nid_tables.keys().cloned().map(Key::NidTable)).collect::<Vec<_>>()
    };
    let mut keys = keys_of(&state);
    {
        let mut before = engine.state.write().unwrap_or_else(PoisonError::into_inner);
        keys.extend(keys_of(&before));
        *before = state;
    }
    engine.tell_applied(revision);
    engine.job_waiters.tell_all();
    engine.tell_stale(&keys.iter().filter_map(serve::touched).collect());
    Ok(Some(watch))
}

/// Refuses a store that is not that of the MGS with this UUID. Reads only.
pub async fn check_identity(store: &dyn Store, expected: &str) -> anyhow::Result<()> {
    let key = Key::Mgs.to_string();
    let entry = store.get(&key, None).await.context("the store can't be read")?;
    let Some(entry) = entry else {
        anyhow::bail!(
            "the store is empty, but --uuid says that it holds MGS {expected}: is its file or prefix right? to make a new \
             MGS, start it without --uuid"
        );
    };
    match Change::decode(&key, Some(&entry.value))?.record {
        Some(Record::Mgs(mgs)) if mgs.uuid == expected => Ok(()),
        Some(Record::Mgs(mgs)) => {
            anyhow::bail!(
                "the store is that of MGS {}, but --uuid says {expected}: is its file or prefix right?",
                mgs.uuid
            )
        }
        _ => anyhow::bail!("the store does not say which MGS it is of"),
    }
}

/// What the store calls it when the comparison fails.
fn compared(compare: &Compare) -> String {
    match compare {
        Compare::Object(key, _) => key.to_string(),
        Compare::Prefix(prefix, _) => prefix.clone(),
    }
}

fn transaction<R>(request: &Request<'_>, guard: Option<&Guard>, decision: &Decision<R>) -> Txn {
    let meta = Meta { time_ms: request.now.unix_ms(), who: request.who.to_owned(), why: decision.what.clone() };
    let mut txn = Txn::new(meta);
    // First: the first compare that fails is the one that is told.
    if let Some(guard) = guard {
        txn = txn.if_create_revision(guard.key.to_string(), guard.created);
    }
    for compare in &decision.compare {
        txn = match compare {
            Compare::Object(key, revision) => txn.if_mod_revision(key.to_string(), *revision),
            Compare::Prefix(prefix, revision) => txn.if_prefix_unchanged(prefix, *revision),
        };
    }
    for change in &decision.changes {
        txn = match change.encode() {
            (key, Some(value)) => txn.put(key, value),
            (key, None) => txn.delete(key),
        };
    }
    txn
}

/// What a caller is told when the store does not do its work; the details are for the log.
pub fn unavailable(err: &StoreError) -> Problem {
    error!(error = %err, "the store refused");
    match err {
        StoreError::Txn(err) => Problem::refused(format!("the change is too large for the store: {err}")),
        StoreError::Compacted { .. } | StoreError::Future { .. } => Problem::invalid(err.to_string()),
        StoreError::Unavailable { .. } => {
            Problem::unavailable("this MGS has no connection to its store at the moment, or is refused there; whether the change was made is not known")
                .remedy("ask again here or at another MGS: the same request is safe to repeat; /v1/ready says why")
        }
        _ => Problem::unavailable("the MGS can't write to its store, so nothing is changed")
            .remedy("look at its log; free space or repair the disk, then restart it"),
    }
}
