//! Tunables on a node, as its agent reads and sets them.

use crate::Time;
use crate::endpoint::endpoints;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tunable of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeParam {
    /// Its name, as `lctl get_param` has it: `osc.scratch-OST0000-osc-ffff8800.max_dirty_mb`.
    pub name: String,
    /// What the node prints, without the last line break; missing when it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether it can be written.
    pub is_writable: bool,
    /// Why it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A value in one of the node's own files, applied when the node starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileParam {
    /// The file, as in `/etc/lustre/site.params`.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// The name or pattern that it sets.
    pub name: String,
    /// The value.
    pub value: String,
}

/// An option that Lustre is mounted with on the node, and what it sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountOption {
    /// Where it is mounted.
    pub mountpoint: String,
    /// The option, as in `nochecksum`.
    pub option: String,
    /// The pattern of the tunables that it sets.
    pub name: String,
    /// The value.
    pub value: String,
}

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadNodeParams {
    /// Names or patterns, as `lctl get_param` takes them; at most 10,000.
    pub patterns: Vec<String>,
    /// Also those below what a pattern names, as `lctl list_param -R` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Names only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_only: bool,
    /// Compare what was read with what `lctl get_param` prints, where the node has it; of 500 tunables at most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cross_check: bool,
}

/// What `lctl get_param` says to the same question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LctlCheck {
    /// How many tunables were compared.
    pub compared: u32,
    /// Those that it prints otherwise, twice in a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disagreements: Vec<LctlDisagreement>,
    /// Why nothing was compared although it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A tunable that `lctl` prints otherwise than the agent reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LctlDisagreement {
    /// Its name.
    pub name: String,
    /// What the agent reads.
    pub own: String,
    /// What `lctl` prints; missing where it has no such tunable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lctl: Option<String>,
}

/// What was read, pattern by pattern, in the order asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeParams {
    /// What each pattern stands for here; empty where the node has no such tunable.
    pub found: Vec<Vec<NodeParam>>,
    /// What the node's own files set.
    pub files: Vec<FileParam>,
    /// What options of mounts set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<MountOption>,
    /// What `lctl` says, where that was asked for and the node has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lctl: Option<LctlCheck>,
    /// Changes with every boot of the node: temporary values end with it.
    pub boot_id: String,
    /// When it was read.
    pub at: Time,
}

/// A value to set, until the node restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeParamSetting {
    /// The name or pattern.
    pub pattern: String,
    /// The value.
    pub value: String,
}

/// Values to set, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNodeParams {
    /// The values; at most 10,000.
    pub settings: Vec<NodeParamSetting>,
}

/// What setting one tunable came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeParamSet {
    /// Its name.
    pub name: String,
    /// What the node printed before; missing when that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the node prints now; missing when that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why the node did not take the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was set, setting by setting, in the order asked; empty where the node has no such tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeParamsSet {
    /// The tunables that each pattern stands for here.
    pub set: Vec<Vec<NodeParamSet>>,
    /// Changes with every boot of the node.
    pub boot_id: String,
}

endpoints! {
    /// Reads tunables of the node, now.
    ReadParams = "read_node_params" Post "/v1/params/read" { body: ReadNodeParams, reply: NodeParams }
    /// Sets tunables of the node until it restarts, and reads each back.
    SetParams = "set_node_params" Post "/v1/params/set" { body: SetNodeParams, reply: NodeParamsSet }
}
