//! How far jobs and steps have come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a job or a step has come. `cancelled`, `failed` and `done` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted and durable, not begun.
    Queued,
    /// At work.
    Running,
    /// Asked to stop, not yet stopped.
    Cancelling,
    /// Stopped on request; the steps say what had been done.
    Cancelled,
    /// Ended without reaching its goal.
    Failed,
    /// Ended, and what was observed is what was wanted.
    Done,
}

impl JobState {
    /// Whether nothing will happen any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed | Self::Done)
    }

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }
}
