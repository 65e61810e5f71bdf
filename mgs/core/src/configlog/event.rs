//! What is stored of a change of the logs.

use serde::{Deserialize, Serialize};

use crate::configlog::Section;

/// One decision's changes of the logs of a file system, or of `params`. Stored once and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// When it was decided, seconds since 1970: the time of logs that begin with it.
    pub at: u64,
    /// What changes, in order.
    pub ops: Vec<LogOp>,
}

/// One change of one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogOp {
    /// Appends a section; the log is made if there is none.
    Append {
        /// The log's name.
        log: String,
        /// The section.
        section: Section,
    },
    /// Rewrites the markers of a section where they are.
    Mark {
        /// The log's name.
        log: String,
        /// Index of the section's START.
        index: u32,
        /// What the markers' flags have afterwards besides START and END.
        flags: u32,
        /// `cm_canceltime` afterwards.
        canceled: u64,
    },
    /// Takes records out of the log's bitmap; their bytes stay.
    Clear {
        /// The log's name.
        log: String,
        /// Which.
        indices: Vec<u32>,
    },
    /// Removes a log.
    Erase {
        /// The log's name.
        log: String,
    },
}

impl LogOp {
    /// The log that it changes.
    pub fn log(&self) -> &str {
        match self {
            Self::Append { log, .. } | Self::Mark { log, .. } | Self::Clear { log, .. } | Self::Erase { log } => log,
        }
    }
}
