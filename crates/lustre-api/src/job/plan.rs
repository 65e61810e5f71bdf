//! What a job would do, before it is started; and what it waits for, once it was.

use super::{Job, JobId, JobState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job as it would be started, or was, and what else moves with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPlan {
    /// The job with its steps. Give its `digest` as `plan` to start this and nothing else.
    pub job: Job,
    /// Objects whose state changes with it, in the order of the steps.
    pub moves: Vec<Move>,
}

/// An object that changes its state because of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Move {
    /// The object, as in `filesystem scratch`.
    pub object: String,
    /// Its state now.
    pub now: String,
    /// Its state while the job runs, or after it.
    pub becomes: String,
    /// Whether the job itself brings it back.
    pub is_passing: bool,
    /// The states in which nobody is hindered.
    pub acceptable: Vec<String>,
    /// The one of them that it should have.
    pub preferred: String,
    /// How it gets back there where the job does not do that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What that means for people.
    pub why: String,
}

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// What it waits for, one line for each step that waits or is at work.
    pub waits_for: Vec<String>,
    /// What it does next.
    pub next: Vec<String>,
    /// What was done and stays done.
    pub done: Vec<String>,
    /// What was not done, or only half.
    pub not_done: Vec<String>,
    /// What a person must do; missing where nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}
