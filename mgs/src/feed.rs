//! Committed changes for all who follow them at once: each is read, looked up and written out once, however many listen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use lustre_api::Problem;
use lustre_api::event::Event;
use lustre_mgs_store::{Commit, StoreError};
use rest::Frame;
use tokio::sync::{OnceCell, watch};

use crate::engine::{Engine, unavailable};
use crate::history::{self, Filter};

/// The newest changes are kept for those who are about to be told of them: at most so many, and so many bytes.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 16 << 20;
/// Commits read at a time by who is further behind.
const BATCH: usize = 64;
/// Revisions that a filter may hide before the caller is told how far it is.
const BOOKMARK_EVERY: u64 = 1000;

/// A change as an event.
pub(crate) struct Told {
    event: Event,
    /// Of the objects in the event, in their order.
    keys: Vec<String>,
    frame: Frame<Event>,
}

type Cell = Arc<OnceCell<Arc<Told>>>;

/// The events of one MGS.
pub struct Feed {
    engine: Arc<Engine>,
    recent: Mutex<BTreeMap<u64, Cell>>,
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
        Self { engine, recent: Mutex::default() }
    }

    /// Follows the changes behind a revision.
    pub(crate) fn follow(self: &Arc<Self>, after: u64, filter: Filter) -> Follower {
        let applied = self.engine.applied();
        let newest = self.engine.state().revision;
        Follower { feed: self.clone(), applied, seen: after, told: after, newest, ahead: VecDeque::new(), filter }
    }

    /// A change that was applied a moment ago: from those kept, or read and kept.
    async fn recent(&self, revision: u64) -> Result<Arc<Told>, Missed> {
        let cell = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
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
        // Almost everybody comes here: somebody else was first.
        if let Some(told) = cell.get() {
            return Ok(told.clone());
        }
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
        let keys = commit.changes.iter().map(|change| change.key().to_owned()).collect();
        Ok(Arc::new(Told { frame: Frame::new(event.revision, &event), event, keys }))
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

/// Somebody who is told of every change that a filter takes, in order.
pub(crate) struct Follower {
    feed: Arc<Feed>,
    applied: watch::Receiver<u64>,
    /// The last revision that was looked at, and the last that was told.
    seen: u64,
    told: u64,
    /// The newest revision when it began.
    newest: u64,
    /// Changes long past, which nobody else is about to be told of.
    ahead: VecDeque<Commit>,
    filter: Filter,
}

impl Follower {
    /// What to send next; waits for it. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Frame<Event>, Missed> {
        loop {
            let told = self.next_change().await?;
            let revision = told.event.revision;
            self.seen = revision;
            // Who hears nothing for long must not fall behind the history; who asked for the past is told its end.
            let is_due = revision == self.newest || revision >= self.told + BOOKMARK_EVERY;
            if let Some(frame) = filtered(&told, &self.filter, is_due) {
                self.told = revision;
                return Ok(frame);
            }
        }
    }

    async fn next_change(&mut self) -> Result<Arc<Told>, Missed> {
        let next = self.seen + 1;
        let newest = *self.applied.wait_for(|applied| *applied >= next).await.map_err(|_| Missed::Away)?;
        if self.ahead.front().is_none_or(|commit| commit.revision != next) {
            self.ahead.clear();
            if newest - next < KEPT as u64 / 2 {
                return self.feed.recent(next).await;
            }
            self.ahead = self.feed.read(next, BATCH).await?.into();
        }
        let commit = self.ahead.front().ok_or(Missed::Away)?;
        let told = self.feed.tell(commit).await?;
        self.ahead.pop_front();
        Ok(told)
    }
}

/// The part of a change that a filter takes; where it takes none, nothing, or only how far it is.
fn filtered(told: &Told, filter: &Filter, is_due: bool) -> Option<Frame<Event>> {
    let taken: Vec<bool> = told.keys.iter().map(|key| filter.takes(key)).collect();
    if taken.iter().all(|taken| *taken) {
        return Some(told.frame.clone());
    }
    let is_any = taken.contains(&true);
    if !is_any && !is_due {
        return None;
    }
    let Event { revision, time, who, why, changes } = &told.event;
    let why = why.clone().filter(|_| is_any);
    let changes = changes.iter().zip(taken).filter(|(_, taken)| *taken).map(|(change, _)| change.clone()).collect();
    Some(Frame::new(*revision, &Event { revision: *revision, time: *time, who: who.clone(), why, changes }))
}
