//! Steps of jobs.

use super::{JobId, JobState, Progress};
use crate::Time;
use lustre_types::{NodeName, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Run another job and wait for its end.
    Job,
    /// Load the kernel proxy (on the node).
    LoadProxy,
    /// Unload it (on the node).
    UnloadProxy,
    /// Change what the target's device says of it (on the node).
    Tune,
    /// Write other NIDs of the target into the configuration (on the MGS).
    ReplaceNids,
    /// Keep new files off the OST (on the MGS).
    NoCreate,
    /// Move files off the OST, batch by batch (on a client).
    Migrate,
    /// Tell clients and MDTs that the OST is inactive (on the MGS).
    Deactivate,
    /// See that no file is left on the OST (on a client).
    Verify,
    /// Take the OST out of its pools (on the MGS).
    LeavePools,
    /// Set a tunable until the node restarts (on the node).
    SetParam,
    /// Keep a tunable permanently (on the MGS).
    KeepParam,
    /// Write the label onto the target's device that it should have (on the node).
    Relabel,
    /// Write which partner nodes the target has into the configuration (on the MGS).
    FailoverNodes,
    /// Look at all devices (on the node).
    Scan,
}

impl StepKind {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Register => "register",
            Self::Deregister => "deregister",
            Self::Job => "job",
            Self::LoadProxy => "load_proxy",
            Self::UnloadProxy => "unload_proxy",
            Self::Tune => "tune",
            Self::ReplaceNids => "replace_nids",
            Self::NoCreate => "no_create",
            Self::Migrate => "migrate",
            Self::Deactivate => "deactivate",
            Self::Verify => "verify",
            Self::LeavePools => "leave_pools",
            Self::SetParam => "set_param",
            Self::KeepParam => "keep_param",
            Self::Relabel => "relabel",
            Self::FailoverNodes => "failover_nodes",
            Self::Scan => "scan",
        }
    }
}

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The steps, by their places in the job from 0, that must be done before it begins; none: it begins with the job.
    /// Missing: the step before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<usize>>,
    /// The node that does it; missing for steps of the MGS itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The target that it works on, where that is not the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub svname: Option<SvName>,
    /// The job that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// How far it has come.
    pub state: JobState,
    /// How often it was begun: more than once only after a retry.
    #[serde(default)]
    pub attempts: u32,
    /// How much is done, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Why it failed or was cancelled, and what to do; or what it found (`already formatted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The command that was run, with its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The last lines that the step's program printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// What the program exited with; missing where none ran to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// When this attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// How the attempts before this one ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
}

impl Step {
    /// A step that has not begun.
    pub fn new(kind: StepKind) -> Self {
        Self {
            kind,
            after: None,
            node: None,
            svname: None,
            job: None,
            state: JobState::Queued,
            attempts: 0,
            progress: None,
            message: None,
            command: Vec::new(),
            output: Vec::new(),
            exit_status: None,
            started: None,
            ended: None,
            earlier: Vec::new(),
        }
    }
}

/// An attempt of a step that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Which one, from 1.
    pub attempt: u32,
    /// `failed` or `cancelled`.
    pub state: JobState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last lines of its program's output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// What its program exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
}
