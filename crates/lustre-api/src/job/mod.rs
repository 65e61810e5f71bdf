//! Jobs: what takes longer than a request.
//!
//! A [`Job`] works on one [`JobObject`] and has [`Step`]s. A step begins when every step that it comes after is done, so steps
//! may be a chain, all at once, or anything in between. Each is one operation of a node's agent, something that the MGS does
//! itself, or another job. A job is named by who starts it ([`crate::WriteQuery::job`]): asking twice starts it once.

mod id;
mod plan;
mod progress;
mod state;
mod step;

pub use id::{JobId, JobIdError};
pub use plan::{Explanation, JobPlan, Move};
pub use progress::Progress;
pub use state::JobState;
pub use step::{Attempt, Step, StepKind};

use crate::device::FormattedAs;
use crate::{Time, endpoint::endpoints};
use lustre_types::{FsName, NodeName, ParamKey, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Load the kernel proxy on a node.
    EnsureProxy,
    /// Unload it.
    RemoveProxy,
    /// Stop a file system, have its configuration written anew, and start it in the right order.
    Writeconf,
    /// Stop a target on one node and start it on another.
    MoveTarget,
    /// Stop a file system, write other NIDs of a target into its configuration, and start it again.
    ReplaceNids,
    /// Empty an OST and take it out of the configuration.
    Evacuate,
    /// Set a tunable on nodes, one by one or all at once, and keep it.
    SetParam,
    /// Add OSTs to a file system, each by a job of its own.
    Grow,
    /// Write the label onto a target's device that it should have.
    Relabel,
    /// Add a partner node to a target.
    AddFailoverNode,
    /// Take a partner node from a target.
    RemoveFailoverNode,
    /// Move all targets of a node to their partner nodes, each by a job of its own.
    Failover,
    /// Move the targets of a node back to it, each by a job of its own.
    Failback,
    /// Look at the devices of nodes.
    Scan,
}

impl JobKind {
    /// In a word, as names of jobs begin: `ensure`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::EnsureTarget => "ensure",
            Self::StartTarget => "start",
            Self::StopTarget => "stop",
            Self::DeregisterTarget => "deregister",
            Self::EnsureProxy => "ensure-proxy",
            Self::RemoveProxy => "remove-proxy",
            Self::Writeconf => "writeconf",
            Self::MoveTarget => "move",
            Self::ReplaceNids => "replace-nids",
            Self::Evacuate => "evacuate",
            Self::SetParam => "set-param",
            Self::Grow => "grow",
            Self::Relabel => "relabel",
            Self::AddFailoverNode => "add-failover-node",
            Self::RemoveFailoverNode => "remove-failover-node",
            Self::Failover => "failover",
            Self::Failback => "failback",
            Self::Scan => "scan",
        }
    }

    /// How to go on with a job that ended without its goal, where that is not plain.
    pub fn way_on(self, object: &JobObject) -> Option<String> {
        match self {
            Self::Writeconf => {
                Some(format!("start it again to go on, it does what is left: mgsctl fs writeconf {object}"))
            }
            Self::MoveTarget if matches!(object, JobObject::Filesystem(_)) => {
                Some("mgsctl target start starts each of them where it was last".to_owned())
            }
            Self::MoveTarget => Some(format!("mgsctl target start {object} starts it where it was last")),
            Self::ReplaceNids => Some("start it again to go on; mgsctl target start starts what is stopped".to_owned()),
            Self::Evacuate => {
                Some(format!("start it again to go on with what is left: mgsctl target evacuate {object}"))
            }
            Self::SetParam => Some(
                "mgsctl job retry does what is left, mgsctl param temporary shows where it is set meanwhile".to_owned(),
            ),
            Self::Grow => Some("ask for the same again to go on, it makes what is left: mgsctl fs grow".to_owned()),
            Self::AddFailoverNode | Self::RemoveFailoverNode => Some(format!(
                "mgsctl target show {object} says which partner nodes it has; if it is stopped: mgsctl target start {object}"
            )),
            Self::Failover => {
                Some(format!("ask for it again to go on, it moves what is left: mgsctl node failover {object}"))
            }
            Self::Failback => {
                Some(format!("ask for it again to go on, it moves what is left: mgsctl node failback {object}"))
            }
            _ => None,
        }
    }
}

/// What a job works on, and what it keeps others from while it is not over: as JSON one of `"fsname"`, `"svname"`, `"node"`,
/// `"param"`, `"nodes"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JobObject {
    /// A file system with all its targets.
    #[serde(rename = "fsname")]
    Filesystem(FsName),
    /// A target.
    #[serde(rename = "svname")]
    Target(SvName),
    /// A node itself, not its targets.
    #[serde(rename = "node")]
    Node(NodeName),
    /// A tunable.
    #[serde(rename = "param")]
    Param(ParamKey),
    /// Many nodes at once, not each of them.
    #[serde(rename = "nodes")]
    Nodes(Nodes),
}

/// The nodes of a job on many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nodes {
    /// Any of them: there is one such job at a time.
    All,
}

impl JobObject {
    /// The file system that it is or belongs to.
    pub fn fsname(&self) -> Option<&FsName> {
        match self {
            Self::Filesystem(fsname) => Some(fsname),
            Self::Target(svname) => svname.fsname(),
            Self::Node(_) | Self::Nodes(_) => None,
            Self::Param(param) => param.filesystem.as_ref(),
        }
    }
}

impl std::fmt::Display for JobObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filesystem(fsname) => f.pad(fsname.as_str()),
            Self::Target(svname) => f.pad(&svname.to_string()),
            Self::Node(node) => f.pad(node.as_str()),
            Self::Param(param) => param.fmt(f),
            Self::Nodes(Nodes::All) => f.pad("nodes"),
        }
    }
}

/// A job of the MGS: steps towards one goal. Done means that what is observed equals what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is for.
    pub kind: JobKind,
    /// What it works on.
    #[serde(flatten)]
    pub object: JobObject,
    /// The job that this one is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
    /// How far it has come.
    pub state: JobState,
    /// Its steps. Each comes after steps before it in this list only.
    pub steps: Vec<Step>,
    /// SHA-256 of what it does: kind, object and steps, in hex. A `dry_run` tells it; give it as `plan` to start what was
    /// shown and nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
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

impl Job {
    /// The steps that have to be done before a step begins.
    pub fn predecessors(&self, step: usize) -> Vec<usize> {
        match self.steps.get(step).map(|step| &step.after) {
            Some(Some(after)) => after.clone(),
            Some(None) => step.checked_sub(1).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Percent done, 0 to 100: each step counts the same, and one at work as far as it says.
    pub fn percent(&self) -> u8 {
        let done = self.steps.iter().filter(|step| step.state == JobState::Done).count();
        let at_work = self.steps.iter().filter(|step| step.state == JobState::Running);
        let parts: usize = at_work.filter_map(|step| step.progress.as_ref()?.percent()).map(usize::from).sum();
        u8::try_from((done * 100 + parts) / self.steps.len().max(1)).unwrap_or(100)
    }

    /// The target that a step works on: its own, or the job's.
    pub fn svname_of(&self, step: usize) -> Option<&SvName> {
        self.steps.get(step)?.svname.as_ref().or_else(|| self.svname())
    }

    /// The target, where it works on one.
    pub fn svname(&self) -> Option<&SvName> {
        match &self.object {
            JobObject::Target(svname) => Some(svname),
            JobObject::Filesystem(_) | JobObject::Node(_) | JobObject::Param(_) | JobObject::Nodes(_) => None,
        }
    }
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

/// Query of the list of jobs: which ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// At most so many items; 1 to 1000, 100 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only those on this file system and its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// Only those on this object, as jobs print it: a target, a file system or a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Only the parts of this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
}

/// Query of the stream of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    /// The event id that was seen last, a revision: goes on from there, and tells again of jobs at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only jobs on this file system and its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
}

endpoints! {
    /// Lists jobs, newest last.
    ListJobs = "list_jobs" Get "/v1/jobs" { query: JobQuery, reply: crate::Page<Job> }
    /// Streams jobs as server-sent events: those at work now, and every job whenever it or its progress changes. The event id is the revision.
    WatchJobs = "watch_jobs" Get "/v1/watch/jobs" { query: WatchQuery, reply: Job, stream: true }
    /// Has a job that failed or was cancelled try its unfinished steps again, where that is safe; says why where it is not.
    RetryJob = "retry_job" Post "/v1/jobs/{id}/retry" { path: JobPath, reply: Job, status: 202 }
    /// Says why a job is where it is: what it waits for, what comes next, what was done and what not, and what a person must do.
    ExplainJob = "explain_job" Get "/v1/jobs/{id}/explain" { path: JobPath, reply: Explanation }
    /// Reads a job; with `wait_s` waits for news of it.
    GetJob = "get_job" Get "/v1/jobs/{id}" { path: JobPath, query: WaitQuery, reply: Job }
    /// Asks a job to stop. What has been done is not undone; the steps say how far it came.
    CancelJob = "cancel_job" Post "/v1/jobs/{id}/cancel" { path: JobPath, reply: Job, status: 202 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_id_is_safe_in_paths() {
        assert!("ensure-scratch-ost0001-7".parse::<JobId>().is_ok());
        assert!("../x".parse::<JobId>().is_err());
        assert!("x".repeat(65).parse::<JobId>().is_err());
    }

    #[test]
    fn a_job_of_the_first_version_reads_as_a_chain_on_its_target() {
        let old = json!({
            "id": "ensure-1", "kind": "ensure_target", "svname": "scratch-OST0001", "state": "running", "who": "uid:0",
            "created": "2026-01-01T00:00:00Z", "version": 0,
            "steps": [{"kind": "format", "node": "oss1", "state": "done", "attempts": 1}, {"kind": "register", "state": "queued"}],
        });
        let job: Job = serde_json::from_value(old).unwrap();
        assert_eq!(job.object, JobObject::Target("scratch-OST0001".parse().unwrap()));
        assert_eq!((job.predecessors(0), job.predecessors(1)), (vec![], vec![0]));
        assert_eq!(job.svname_of(1), job.svname());
        let again = serde_json::to_value(&job).unwrap();
        assert_eq!(again["svname"], "scratch-OST0001");
        assert_eq!(serde_json::from_value::<Job>(again).unwrap(), job);
    }
}
