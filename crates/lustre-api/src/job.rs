//! Jobs: what takes longer than a request.

use crate::device::FormattedAs;
use crate::{Time, endpoint::endpoints};
use lustre_types::{NodeName, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of a job: chosen by who starts it, so that asking twice starts it once. 1 to 64 of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(#[schemars(regex(pattern = "^[a-z0-9-]{1,64}$"))] String);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdError;
    fn try_from(text: String) -> Result<Self, JobIdError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
            return Err(JobIdError);
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for JobId {
    type Err = JobIdError;
    fn from_str(text: &str) -> Result<Self, JobIdError> {
        text.to_owned().try_into()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that is no [`JobId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id has 1 to 64 of the characters a-z, 0-9 and \"-\"")]
pub struct JobIdError;

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

/// How much of a step is done; `total` is missing where nobody can know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What is going on, as in `writing inode tables`.
    pub phase: String,
    /// Done so far, in `unit`.
    pub done: u64,
    /// All there is to do, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted: `bytes`, `groups`, `steps`.
    pub unit: String,
    /// When this was measured.
    pub at: Time,
}

impl Progress {
    /// Percent done, 0 to 100, where the total is known.
    pub fn percent(&self) -> Option<u8> {
        let total = self.total.filter(|total| *total > 0)?;
        u8::try_from((u128::from(self.done) * 100 / u128::from(total)).min(100)).ok()
    }
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Bring a target into being: format, start, register.
    EnsureTarget,
    /// Start a target.
    StartTarget,
    /// Stop a target.
    StopTarget,
    /// Stop a target and take it out of the configuration; its device is left as it is.
    DeregisterTarget,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Format the device (on the node).
    Format,
    /// Mount the target (on the node).
    Start,
    /// Unmount the target (on the node).
    Stop,
    /// Write the target into the configuration (on the MGS).
    Register,
    /// Take the target out of the configuration (on the MGS).
    Deregister,
}

/// One step of a job. Steps run in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The node that does it; missing for steps of the MGS itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// How far it has come.
    pub state: JobState,
    /// How often it was begun.
    #[serde(default)]
    pub attempts: u32,
    /// How much is done, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Why it failed or was cancelled, and what to do; or what it found (`already formatted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last lines that the step's program printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
}

/// A job of the MGS: steps on nodes towards one goal. Done means that what is observed equals what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is for.
    pub kind: JobKind,
    /// The target that it works on.
    pub svname: SvName,
    /// How far it has come.
    pub state: JobState,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Why it failed, naming node, object, cause and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who started it.
    pub who: String,
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was accepted.
    pub created: Time,
    /// When it reached a final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Grows with every change of the job or its progress; give it as `seen` to wait for the next.
    pub version: u64,
}

/// What a format step achieved on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormatResult {
    /// What is on the device now, read back from it.
    pub formatted_as: FormattedAs,
    /// What was on it before, as in `blank`.
    pub formatted_over: String,
    /// Whether anything was written; false when the same target was there already.
    pub changed: bool,
    /// Features that Lustre wants and the installed e2fsprogs lacks; the target was made without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_features: Vec<String>,
}

/// Path variable: a job.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobPath {
    /// The job.
    pub id: JobId,
}

/// Query of a job: answer at once, or wait for news.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Wait at most so many seconds (60 at most) until `version` is above `seen` or the job is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u32>,
    /// The version that the caller has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
}

endpoints! {
    /// Lists jobs, newest last.
    ListJobs = "list_jobs" Get "/v1/jobs" { query: crate::PageQuery, reply: crate::Page<Job> }
    /// Reads a job; with `wait_s` waits for news of it.
    GetJob = "get_job" Get "/v1/jobs/{id}" { path: JobPath, query: WaitQuery, reply: Job }
    /// Asks a job to stop. What has been done is not undone; the steps say how far it came.
    CancelJob = "cancel_job" Post "/v1/jobs/{id}/cancel" { path: JobPath, reply: Job, status: 202 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_needs_a_total() {
        let progress = |done, total| Progress {
            phase: String::new(),
            done,
            total,
            unit: "bytes".into(),
            at: Time::from_unix_ms(0),
        };
        assert_eq!(progress(1, None).percent(), None);
        assert_eq!(progress(1, Some(0)).percent(), None);
        assert_eq!(progress(u64::MAX, Some(u64::MAX)).percent(), Some(100));
        assert_eq!(progress(1, Some(3)).percent(), Some(33));
    }

    #[test]
    fn a_job_id_is_safe_in_paths() {
        assert!("ensure-scratch-ost0001-7".parse::<JobId>().is_ok());
        assert!("../x".parse::<JobId>().is_err());
        assert!("x".repeat(65).parse::<JobId>().is_err());
    }
}
