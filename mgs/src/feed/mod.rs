//! Committed changes for all who follow them at once: each is read, looked up and written out once, however many listen, and
//! then all are woken.

mod bell;
mod follower;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use lustre_api::Problem;
use lustre_api::event::Event;
use lustre_mgs_store::{Commit, StoreError};
use rest::Frame;
use tokio::sync::OnceCell;

use crate::engine::{Engine, unavailable};
use crate::history::{self, Filter, Named};
use bell::Bell;
pub(crate) use follower::Follower;

/// The newest changes are kept for those who are about to be told of them: at most so many, and so many bytes.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 16 << 20;
/// Changes that are written out before all are woken, where they come faster than that.
const AT_ONCE: u64 = 32;

/// A change as an event.
pub(crate) struct Told {
    event: Event,
    /// The objects in the event, in their order.
    names: Vec<Named>,
    frame: Frame<Event>,
}

type Cell = Arc<OnceCell<Arc<Told>>>;

/// The events of one MGS.
pub struct Feed {
    engine: Arc<Engine>,
    recent: Mutex<BTreeMap<u64, Cell>>,
    bell: Bell,
    herald: Once,
}

/// Why somebody can't be told of the next change.
pub(crate) enum Missed {
    /// For good: it is no longer kept.
    Compacted(Problem),
    /// For now; or the MGS is about to end.
    Away,
}

impl Feed {
    /// Of this MGS.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, recent: Mutex::default(), bell: Bell::default(), herald: Once::new() }
    }

    /// Follows the changes behind a revision.
    pub(crate) fn follow(self: &Arc<Self>, after: u64, filter: Filter) -> Follower {
        self.herald.call_once(|| {
            tokio::spawn(herald(self.engine.clone(), Arc::downgrade(self)));
        });
        Follower::new(self.clone(), after, self.engine.state().revision, filter)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Cell>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change that is written out already.
    fn kept(&self, revision: u64) -> Option<Arc<Told>> {
        self.known().get(&revision)?.get().cloned()
    }

    /// A change that was applied a moment ago: from those kept, or read and kept.
    async fn recent(&self, revision: u64) -> Result<Arc<Told>, Missed> {
        let cell = {
            let mut recent = self.known();
            match recent.get(&revision) {
                Some(known) => known.clone(),
                None => {
                    let size = |cell: &Cell| cell.get().map_or(0, |told| told.frame.size());
                    let mut bytes: usize = recent.values().map(size).sum();
                    while recent.len() >= KEPT || bytes > KEPT_BYTES {
                        bytes -= recent.pop_first().map_or(0, |(_, cell)| size(&cell));
                    }
                    recent.entry(revision).or_default().clone()
                }
            }
        };
        let read = async {
            let commit = self.read(revision, 1).await?.pop().ok_or(Missed::Away)?;
            self.tell(&commit).await
        };
        cell.get_or_try_init(|| read).await.cloned()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<Commit>, Missed> {
        self.engine.store().history(from, limit).await.map_err(|err| match err {
            StoreError::Compacted { compacted, .. } => Missed::Compacted(too_old(from - 1, compacted)),
            _ => Missed::Away,
        })
    }

    async fn tell(&self, commit: &Commit) -> Result<Arc<Told>, Missed> {
        let event = history::event(self.engine.store(), commit).await.map_err(|_| Missed::Away)?;
        let names = commit.changes.iter().map(|change| Named::of(change.key())).collect();
        Ok(Arc::new(Told { frame: Frame::new(event.revision, &event), event, names }))
    }
}

/// Rings until the MGS is about to end, and then for the last time.
async fn herald(engine: Arc<Engine>, feed: Weak<Feed>) {
    tokio::select! {
        () = ring(&engine, &feed) => {}
        () = engine.stopped() => {}
    }
    if let Some(feed) = feed.upgrade() {
        feed.bell.end();
    }
}

/// Writes out each change as it is applied, and only then wakes those who follow: nobody waits for somebody else to do it.
/// Nothing is written out where nobody follows. Returns when nobody can any more.
async fn ring(engine: &Engine, feed: &Weak<Feed>) {
    let mut applied = engine.applied();
    // Those who follow from now on read for themselves what was before them.
    let mut rung = *applied.borrow_and_update();
    if let Some(feed) = feed.upgrade() {
        feed.bell.ring(rung);
    }
    while applied.changed().await.is_ok() {
        let newest = *applied.borrow_and_update();
        while rung < newest {
            let Some(feed) = feed.upgrade() else { return };
            let mut up_to = newest;
            if feed.bell.is_awaited() {
                up_to = newest.min(rung + AT_ONCE);
                for next in rung + 1..=up_to {
                    if feed.recent(next).await.is_err() {
                        // Who follows asks for it again, and is told why it can't be read.
                        up_to = newest;
                        break;
                    }
                }
            }
            feed.bell.ring(up_to);
            rung = up_to;
        }
    }
}

impl Told {
    /// The part that a filter takes; where it takes none, nothing, or only how far it is.
    fn filtered(&self, filter: &Filter, is_due: bool) -> Option<Frame<Event>> {
        if self.names.iter().all(|name| filter.takes(name)) {
            return Some(self.frame.clone());
        }
        let taken: Vec<bool> = self.names.iter().map(|name| filter.takes(name)).collect();
        let is_any = taken.contains(&true);
        if !is_any && !is_due {
            return None;
        }
        let Event { revision, time, who, why, changes } = &self.event;
        let why = why.clone().filter(|_| is_any);
        let changes = changes.iter().zip(taken).filter(|(_, taken)| *taken).map(|(change, _)| change.clone()).collect();
        Some(Frame::new(*revision, &Event { revision: *revision, time: *time, who: who.clone(), why, changes }))
    }
}

/// Who wants to begin behind a revision that is no longer kept.
pub(crate) fn too_old(after: u64, compacted: u64) -> Problem {
    Problem::invalid(format!("the history begins after revision {compacted}; {after} is no longer kept"))
        .remedy("read a snapshot and follow from its revision")
        .attribute("after")
}

/// Who wants to begin behind a revision that was never made here: after a restore the newest may be older than what it has
/// seen, and it would wait for ever.
pub(crate) fn check_exists(engine: &Engine, after: u64) -> Result<(), Problem> {
    let head = engine.state().revision;
    if after <= head {
        return Ok(());
    }
    if !engine.store().health().is_good() {
        let reason = StoreError::Unavailable { reason: format!("revision {after} is not known here, {head} is") };
        return Err(unavailable(&reason));
    }
    Err(Problem::invalid(format!("revision {after} does not exist here, the newest is {head}"))
        .remedy("was this MGS restored from a backup? read a snapshot and follow from its revision")
        .attribute("after"))
}
