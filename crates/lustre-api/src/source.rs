//! Wanted configuration that the MGS reads by itself, from a web server or a directory.

use crate::Time;
use crate::endpoint::endpoints;
use crate::plan::Plan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens with what a source says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceMode {
    /// Differences are shown.
    #[default]
    Report,
    /// Each new version is applied once; later differences are shown.
    Apply,
}

/// What came of a version of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceOutcome {
    /// Everything is as it says.
    Same,
    /// Something is not as it says, and nobody asked for it to be made so.
    Differs,
    /// It can't be applied, or not without a person: the plan has errors, or data would be lost.
    Refused,
    /// A change failed; those before it are made.
    Failed,
    /// It can't be read or understood.
    Unreadable,
}

impl SourceOutcome {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What is known of the source by all instances; each change of it is an event of object `source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceNote {
    /// The version: a commit of git, an entity tag, or the SHA-256 of the contents. Missing where nothing could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What came of it.
    pub outcome: SourceOutcome,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Objects that are not as it says.
    pub differences: u64,
    /// The version that was applied last, or given up: it is not applied again unasked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// Since when that is so.
    pub at: Time,
}

/// The source, as this instance sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    /// Where it is: a directory, or a URL without user, password and query.
    pub source: String,
    /// What happens with what it says.
    pub mode: SourceMode,
    /// How often it is read, in seconds.
    pub poll_s: u64,
    /// Whether this instance is the one that applies.
    pub is_owner: bool,
    /// When this instance read it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Time>,
    /// What all instances know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<SourceNote>,
    /// What would have to change, as of this instance's last reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// Query of a reading out of turn.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadSourceQuery {
    /// Apply what it says, also what was applied before or is only reported otherwise. Never what loses data.
    #[serde(default)]
    pub apply: bool,
}

endpoints! {
    /// Shows the source of wanted configuration and what came of it.
    GetSource = "get_source" Get "/v1/source" { reply: SourceStatus }
    /// Reads the source now: for webhooks of a git server or a pipeline; a body is ignored. The answer tells what came of it.
    ReadSource = "read_source" Post "/v1/source/read" { query: ReadSourceQuery, reply: SourceStatus }
}
