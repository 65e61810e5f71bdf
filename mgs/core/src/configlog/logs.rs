//! The logs of one file system, or `params` alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_wire::llog::AppendError;

use crate::configlog::{ConfigLog, LogEvent, LogOp};

/// Logs that share a counter of steps and an order of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FsLogs {
    logs: BTreeMap<String, Arc<ConfigLog>>,
    /// Names by [`ConfigLog::id`].
    ids: BTreeMap<u64, String>,
    /// The highest step in use; 0 while there are none.
    step: u32,
    /// How many events there were.
    events: u64,
}

impl FsLogs {
    /// A log by its full name.
    pub fn log(&self, name: &str) -> Option<&Arc<ConfigLog>> {
        self.logs.get(name)
    }

    /// A log by its id.
    pub fn by_id(&self, id: u64) -> Option<&Arc<ConfigLog>> {
        self.logs.get(self.ids.get(&id)?)
    }

    /// Every log, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ConfigLog>> {
        self.logs.values()
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
            if let Some(log) = self.logs.get_mut(op.log()) {
                Arc::make_mut(log).touched(revision);
            }
        }
    }

    /// Errors: a section that doesn't fit into the log; a section that isn't there. Nothing changes then.
    pub(super) fn apply_op(&mut self, op: &LogOp, at: u64, id: u64) -> Result<(), AppendError> {
        match op {
            LogOp::Append { log, section } => {
                let new = || Arc::new(ConfigLog::new(log.clone(), id, at));
                let is_new = !self.logs.contains_key(log);
                let entry = self.logs.entry(log.clone()).or_insert_with(new);
                let outcome = Arc::make_mut(entry).append(section.clone());
                if outcome.is_ok() {
                    self.step = self.step.max(section.step);
                    if is_new {
                        self.ids.insert(id, log.clone());
                    }
                } else if is_new {
                    self.logs.remove(log);
                }
                outcome?;
            }
            LogOp::Mark { log, index, flags, canceled } => {
                if let Some(log) = self.logs.get_mut(log) {
                    Arc::make_mut(log).mark(*index, *flags, *canceled);
                }
            }
            LogOp::Clear { log, indices } => {
                if let Some(log) = self.logs.get_mut(log) {
                    Arc::make_mut(log).clear(indices);
                }
            }
            LogOp::Erase { log } => {
                if let Some(log) = self.logs.remove(log) {
                    self.ids.remove(&log.id());
                }
                if self.logs.is_empty() {
                    self.step = 0;
                }
            }
        }
        Ok(())
    }
}
