//! An event in the making: what was written so far is seen by what is written next.

use lustre_types::FsName;
use lustre_wire::llog::{AppendError, LustreCfg, Marker, MarkerFlags};
use thiserror::Error;

use crate::configlog::{ConfigLog, FsLogs, LUSTRE_VERSION, LogEvent, LogOp, Section};
use crate::key::Key;
use crate::record::{Change, Record};

/// Most changes in one stored event: [`FsLogs`] counts them in ids of logs.
const OPS_PER_EVENT: usize = 400;
/// Most bytes of one stored event as JSON: half of what a value of the store may have. One section has 64 KiB at most.
const EVENT_BYTES: usize = 256 * 1024;

/// Why a change of the logs can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// A name or comment is longer than a marker holds.
    #[error("{0:?} has more than {max} bytes, which is all that a config log's marker holds", max = Marker::MAX_TEXT)]
    Text(String),
    /// A record doesn't fit.
    #[error("log {log}: {source}")]
    Append {
        /// The log.
        log: String,
        /// Why.
        source: AppendError,
    },
}

/// Collects an event on a copy of the logs.
#[derive(Clone, Debug)]
pub struct Draft {
    fsname: Option<FsName>,
    logs: FsLogs,
    now_s: u64,
    ops: Vec<LogOp>,
}

impl Draft {
    /// Begins on the logs of a file system, or on `params` for none. `now_s` is the decision's time, seconds since 1970.
    pub fn new(fsname: Option<FsName>, logs: Option<&FsLogs>, now_s: u64) -> Self {
        Self { fsname, logs: logs.cloned().unwrap_or_default(), now_s, ops: Vec::new() }
    }

    /// The logs as they will be.
    pub fn logs(&self) -> &FsLogs {
        &self.logs
    }

    /// A log as it will be.
    pub fn log(&self, name: &str) -> Option<&ConfigLog> {
        self.logs.log(name).map(|log| &**log)
    }

    /// What changes so far.
    pub fn ops(&self) -> &[LogOp] {
        &self.ops
    }

    /// Appends a section. Errors: a name too long for a marker; a log that is full.
    pub fn append(
        &mut self,
        log: &str,
        target: &str,
        comment: &str,
        records: Vec<LustreCfg>,
    ) -> Result<(), DraftError> {
        self.append_flagged(log, target, comment, 0, records)
    }

    /// Appends a section whose markers have more flags than START and END.
    pub fn append_flagged(
        &mut self,
        log: &str,
        target: &str,
        comment: &str,
        flags: u32,
        records: Vec<LustreCfg>,
    ) -> Result<(), DraftError> {
        let section = Section { flags, ..self.section(target, comment, records) };
        self.append_section(log, section)
    }

    /// A section of now with the next step.
    pub(super) fn section(&self, target: &str, comment: &str, records: Vec<LustreCfg>) -> Section {
        Section {
            step: self.logs.next_step(),
            flags: 0,
            version: LUSTRE_VERSION,
            created: self.now_s,
            canceled: 0,
            target: target.to_owned(),
            comment: comment.to_owned(),
            records,
        }
    }

    /// Appends a section as it is, step and times included.
    pub fn append_section(&mut self, log: &str, section: Section) -> Result<(), DraftError> {
        for text in [&section.target, &section.comment] {
            if text.len() > Marker::MAX_TEXT || text.contains('\0') {
                return Err(DraftError::Text(text.clone()));
            }
        }
        let op = LogOp::Append { log: log.to_owned(), section };
        self.push(op).map_err(|source| DraftError::Append { log: log.to_owned(), source })
    }

    /// Marks the valid sections of a target and comment as skipped. Gives how many there were.
    pub fn skip(&mut self, log: &str, target: &str, comment: &str) -> usize {
        let found = self.live_starts(log, target, comment);
        for (index, flags) in &found {
            self.mark(log, *index, flags | MarkerFlags::SKIP.0, self.now_s);
        }
        found.len()
    }

    /// Marks the valid sections of a target and comment as of an inactive target, or takes that back.
    pub fn exclude(&mut self, log: &str, target: &str, comment: &str, is_inactive: bool) {
        for (index, flags) in self.live_starts(log, target, comment) {
            let bit = MarkerFlags::EXCLUDE.0;
            match is_inactive {
                true => self.mark(log, index, flags | bit, self.now_s),
                false => self.mark(log, index, flags & !bit, 0),
            }
        }
    }

    /// Takes records out of a log's bitmap.
    pub fn clear(&mut self, log: &str, indices: Vec<u32>) {
        if !indices.is_empty() {
            self.change(LogOp::Clear { log: log.to_owned(), indices });
        }
    }

    /// Removes a log.
    pub fn erase(&mut self, log: &str) {
        if self.logs.log(log).is_some() {
            self.change(LogOp::Erase { log: log.to_owned() });
        }
    }

    /// The changes to commit; none when nothing was written.
    pub fn changes(self) -> Vec<Change> {
        let first = self.logs.next_event();
        let mut events: Vec<LogEvent> = Vec::new();
        let mut bytes = 0;
        for op in self.ops {
            let len = serde_json::to_vec(&op).map_or(0, |json| json.len());
            match events.last_mut().filter(|event| event.ops.len() < OPS_PER_EVENT && bytes + len <= EVENT_BYTES) {
                Some(event) => event.ops.push(op),
                None => {
                    bytes = 0;
                    events.push(LogEvent { at: self.now_s, ops: vec![op] });
                }
            }
            bytes += len;
        }
        let change = |(number, event)| Change {
            key: Key::Log(self.fsname.clone(), number),
            record: Some(Record::Log(Box::new(event))),
        };
        (first..).zip(events).map(change).collect()
    }

    /// Index and flags of the valid sections of a target and comment.
    fn live_starts(&self, log: &str, target: &str, comment: &str) -> Vec<(u32, u32)> {
        let Some(log) = self.log(log) else { return Vec::new() };
        log.live(target, comment).map(|placed| (placed.indices[0], placed.section.flags)).collect()
    }

    fn mark(&mut self, log: &str, index: u32, flags: u32, canceled: u64) {
        self.change(LogOp::Mark { log: log.to_owned(), index, flags, canceled });
    }

    /// A change that can't fail.
    fn change(&mut self, op: LogOp) {
        let outcome = self.push(op);
        debug_assert_eq!(outcome, Ok(()), "only appending fails");
    }

    fn push(&mut self, op: LogOp) -> Result<(), AppendError> {
        // A log that is made here has its real id only after the commit; until then one that no other log has.
        self.logs.apply_op(&op, self.now_s, self.logs.unused_id())?;
        self.ops.push(op);
        Ok(())
    }
}
