//! Watching: reads the log from a cursor and waits for the head to move. No queue per watcher, so a slow watcher costs
//! nothing and misses nothing; it is told when compaction has overtaken it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Commit, Revision, StoreError};

/// Commits read at a time: bounds a watcher's memory (a commit has at most 128 values).
const BATCH: usize = 64;

/// Where a watch reads commits from.
pub(crate) trait Log: Send + Sync + 'static {
    /// As [`crate::Store::history`].
    fn read(self: Arc<Self>, from: Revision, limit: usize) -> BoxFuture<'static, Result<Vec<Commit>, StoreError>>;
}

/// Delivers every commit from a revision on, each once and in order. See [`crate::Store::watch`].
pub struct Watch {
    log: Weak<dyn Log>,
    head: watch::Receiver<Revision>,
    next: Revision,
    read_ahead: VecDeque<Commit>,
}

impl Watch {
    pub(crate) fn new(log: Weak<dyn Log>, head: watch::Receiver<Revision>, from: Revision) -> Self {
        Self { log, head, next: from.max(1), read_ahead: VecDeque::new() }
    }

    /// The next commit; waits for it. Dropping the future loses nothing.
    ///
    /// Errors: [`StoreError::Compacted`] when the commit is no longer kept, [`StoreError::Closed`] when the store is gone.
    pub async fn next(&mut self) -> Result<Commit, StoreError> {
        loop {
            if let Some(commit) = self.read_ahead.pop_front() {
                self.next = commit.revision + 1;
                return Ok(commit);
            }
            let next = self.next;
            self.head.wait_for(|head| *head >= next).await.map_err(|_| StoreError::Closed)?;
            let log = self.log.upgrade().ok_or(StoreError::Closed)?;
            let commits = log.read(next, BATCH).await?;
            self.read_ahead = commits.into();
        }
    }
}
