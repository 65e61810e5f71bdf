//! Targets: MGT, MDTs and OSTs.

use crate::endpoint::endpoints;
use crate::job::JobId;
use crate::{Page, PageQuery, Time, WriteQuery, Written};
use lustre_types::{FsName, Nid, NidList, NodeName, SvName, TargetIndex, TargetKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a person describes. Attributes: [`crate::attributes::TARGET`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// What it serves.
    pub kind: TargetKind,
    /// The file system; on an MGT only a name stored on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FsName>,
    /// The wanted index; the MGS assigns the lowest free one when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<TargetIndex>,
    /// The node that serves it.
    pub node: NodeName,
    /// The device's path on that node, or a ZFS dataset.
    pub device: String,
    /// What to make the dataset's pool of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vdevs: Vec<String>,
    /// NIDs of each partner node that can serve it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover_nodes: Vec<NidList>,
    /// More options for mke2fs, or settings of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkfs_options: Option<String>,
    /// Mount options stored on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<String>,
    /// Parameters stored on the target at format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub format_params: BTreeMap<String, String>,
    /// A comment stored on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl TargetSpec {
    /// A target on a device of a node, and nothing said beyond that.
    pub fn new(kind: TargetKind, filesystem: Option<FsName>, node: NodeName, device: impl Into<String>) -> Self {
        Self {
            kind,
            filesystem,
            index: None,
            node,
            device: device.into(),
            failover_nodes: Vec::new(),
            vdevs: Vec::new(),
            mkfs_options: None,
            mount_options: None,
            format_params: BTreeMap::new(),
            comment: None,
        }
    }

    /// The name that it gives, where it gives one: an MGT has one, others with an index.
    pub fn svname(&self) -> Option<SvName> {
        match (self.kind, &self.filesystem, self.index) {
            (TargetKind::Mgt, ..) => Some(SvName::mgs()),
            (kind, Some(filesystem), Some(index)) => Some(SvName::new(filesystem.clone(), kind, index)),
            _ => None,
        }
    }

    /// Whether a target of this name may be the one described.
    pub fn describes(&self, svname: &SvName) -> bool {
        let same_fs = self.kind == TargetKind::Mgt || self.filesystem.as_ref() == svname.fsname();
        self.kind == svname.kind() && same_fs && self.index.is_none_or(|index| Some(index) == svname.index())
    }
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Its description by a person; the index is always filled in (but on an MGT).
    #[serde(flatten)]
    pub spec: TargetSpec,
    /// Its name.
    pub svname: SvName,
    /// `<mgs uuid>/<fsname>/<svname>`.
    pub id: String,
    /// How far it has come.
    pub state: TargetState,
    /// Why it is in that state.
    pub state_reason: String,
    /// The volume label, once formatted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// UUID of the file system on its device, once formatted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Size of its device in bytes, once formatted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What was on the device before the format, as in `blank`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted_over: Option<String>,
    /// The NIDs that it registered with.
    #[serde(default)]
    pub nids: Vec<Nid>,
    /// The partner node that it was started on last; missing where that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<NodeName>,
    /// The last job on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// When its reservation ends, while nothing but the index is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<Time>,
    /// When its `failover_nodes` go back to what they were before, or a job begins that puts its NIDs back, unless somebody
    /// confirms them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Time>,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// How far a target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Its index is reserved; nothing is on a device.
    Reserved,
    /// Its device is being formatted.
    Formatting,
    /// Its device is formatted; it is not registered.
    Formatted,
    /// It is in the configuration; it is not started, or nobody can tell.
    Registered,
    /// It is in the configuration and mounted.
    Started,
    /// It was stopped on purpose.
    Stopped,
    /// The last job on it failed or was cancelled; the reason says how to go on.
    Failed,
}

impl TargetState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Formatting => "formatting",
            Self::Formatted => "formatted",
            Self::Registered => "registered",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether it is part of the file system's configuration.
    pub fn is_registered(self) -> bool {
        matches!(self, Self::Registered | Self::Started | Self::Stopped)
    }
}

/// Ensures a target: assigns its index, formats, starts, registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnsureTarget {
    /// The target.
    pub target: TargetSpec,
    /// What the plan saw on the device ([`crate::device::Device::content`]); anything else there now fails the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_content: Option<String>,
    /// The size of the device in bytes that the plan saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_size_bytes: Option<u64>,
    /// Format over data of others or over another target.
    #[serde(default)]
    pub allow_reformat: bool,
    /// Put changed `failover_nodes` of a registered target back unless somebody confirms them within so many seconds; 10 to
    /// 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

impl From<TargetSpec> for EnsureTarget {
    /// On a device that holds nothing, without a plan.
    fn from(target: TargetSpec) -> Self {
        Self { target, expect_content: None, expect_size_bytes: None, allow_reformat: false, confirm_within_s: None }
    }
}

/// Reserves an index before a format that the caller does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The target; its node and device say who will format.
    pub target: TargetSpec,
    /// How long the index is kept without registration, in seconds; 60 to 604800, 86400 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// A reserved index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reservation {
    /// The target that it is for.
    pub target: Target,
    /// Proves the reservation when the target is registered. Shown once.
    pub token: String,
    /// The MGS that the target must be formatted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgs_nids: Option<NidList>,
}

/// Registers a target that was formatted outside a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The reservation's token.
    pub token: String,
    /// The volume label.
    pub label: String,
    /// UUID of the file system on the device.
    pub uuid: String,
    /// Size of the device in bytes.
    pub size_bytes: u64,
    /// The NIDs of the node that serves it.
    pub nids: Vec<Nid>,
}

/// Path variable: a target.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TargetPath {
    /// The target.
    pub svname: SvName,
}

endpoints! {
    /// Lists targets.
    ListTargets = "list_targets" Get "/v1/targets" { query: PageQuery, reply: Page<Target> }
    /// Reads a target.
    GetTarget = "get_target" Get "/v1/targets/{svname}" { path: TargetPath, reply: Target }
    /// Ensures a target by a job. The same node and device again: the same target, and no second format.
    PostTarget = "ensure_target" Post "/v1/targets" { query: WriteQuery, body: EnsureTarget, reply: Written<Target>, status: 202 }
    /// Reserves an index, for a format that the caller does.
    ReserveTarget = "reserve_target" Post "/v1/reservations" { query: WriteQuery, body: Reserve, reply: Written<Reservation> }
    /// Registers a target under its reservation. The same registration again changes nothing.
    RegisterTarget = "register_target" Post "/v1/targets/{svname}/register" { path: TargetPath, query: WriteQuery, body: Register, reply: Written<Target> }
    /// Keeps the partner nodes of a target that would go back to those before.
    ConfirmTarget = "confirm_target" Post "/v1/targets/{svname}/confirm" { path: TargetPath, query: WriteQuery, reply: Written<Target> }
    /// Starts a target by a job.
    StartTarget = "start_target" Post "/v1/targets/{svname}/start" { path: TargetPath, query: WriteQuery, reply: Written<Target>, status: 202 }
    /// Stops a target by a job.
    StopTarget = "stop_target" Post "/v1/targets/{svname}/stop" { path: TargetPath, query: WriteQuery, reply: Written<Target>, status: 202 }
    /// Stops a target and takes it out of the configuration, by a job. Its device is left as it is.
    DeregisterTarget = "deregister_target" Delete "/v1/targets/{svname}" { path: TargetPath, query: WriteQuery, reply: Written<Target>, status: 202 }
}
