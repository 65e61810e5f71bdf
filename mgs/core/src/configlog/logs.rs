//! The logs of one file system, or `params` alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_wire::llog::AppendError;

use crate::configlog::{ConfigLog, LogEvent, LogOp};

/// Logs that share a counter of steps and an order of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FsLogs {
    /// By [`ConfigLog::id`]: nodes ask for each block by it.
    logs: BTreeMap<u64, Arc<ConfigLog>>,
    /// Ids by name.
    names: BTreeMap<String, u64>,
    /// The highest step in use; 0 while there are none.
    step: u32,
    /// How many events there were.
    events: u64,
}

impl FsLogs {
    /// A log by its full name.
    pub fn log(&self, name: &str) -> Option<&Arc<ConfigLog>> {
        self.logs.get(self.names.get(name)?)
    }

    fn log_mut(&mut self, name: &str) -> Option<&mut Arc<ConfigLog>> {
        self.logs.get_mut(self.names.get(name)?)
    }

    /// A log by its id.
    pub fn by_id(&self, id: u64) -> Option<&Arc<ConfigLog>> {
        self.logs.get(&id)
    }

    /// An id that no log has, and that none gets by a commit.
    pub(super) fn unused_id(&self) -> u64 {
        let mut id = u64::MAX;
        while self.logs.contains_key(&id) {
            id -= 1;
        }
        id
    }

    /// Every log, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ConfigLog>> {
        self.names.values().filter_map(|id| self.logs.get(id))
    }

    /// Whether there is no log.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The number of the next event.
    pub fn next_event(&self) -> u64 {
        self.events + 1
    }

    /// The step of the next section: counts from 2.
    pub fn next_step(&self) -> u32 {
        self.step.max(1) + 1
    }

    /// Takes in an event, committed as `revision`.
    pub(crate) fn apply(&mut self, number: u64, revision: u64, event: &LogEvent) {
        self.events = self.events.max(number);
        for (at, op) in (0u64..).zip(&event.ops) {
            // A commit holds at most 128 events of fewer than 512 changes each; revisions fill the rest of the id for longer
            // than anything lasts.
            let id = (revision << 16) | (number % 128) << 9 | at.min(511);
            let outcome = self.apply_op(op, event.at, id);
            debug_assert_eq!(outcome, Ok(()), "the draft that made the event did the same on the same logs");
            if let Some(log) = self.log_mut(op.log()) {
                Arc::make_mut(log).touched(revision);
            }
        }
    }

    /// `id` is for a log that is made by it, and no other log's. Errors: a section that doesn't fit into the log. Nothing
    /// changes then.
    pub(super) fn apply_op(&mut self, op: &LogOp, at: u64, id: u64) -> Result<(), AppendError> {
        match op {
            LogOp::Append { log, section } => {
                if let Some(known) = self.log_mut(log) {
                    Arc::make_mut(known).append(section.clone())?;
                } else {
                    let mut new = ConfigLog::new(log.clone(), id, at);
                    new.append(section.clone())?;
                    self.logs.insert(id, Arc::new(new));
                    self.names.insert(log.clone(), id);
                }
                self.step = self.step.max(section.step);
            }
            LogOp::Mark { log, index, flags, canceled } => {
                if let Some(log) = self.log_mut(log) {
                    Arc::make_mut(log).mark(*index, *flags, *canceled);
                }
            }
            LogOp::Clear { log, indices } => {
                if let Some(log) = self.log_mut(log) {
                    Arc::make_mut(log).clear(indices);
                }
            }
            LogOp::Erase { log } => {
                if let Some(id) = self.names.remove(log) {
                    self.logs.remove(&id);
                }
                if self.logs.is_empty() {
                    self.step = 0;
                }
            }
        }
        Ok(())
    }
}
