//! What an agent does besides format, start and stop: changes to targets at rest, and files moved off an OST.

use crate::Time;
use crate::device::FormattedAs;
use crate::node_param::NodeParamSet;
use lustre_types::{FsName, NidList, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a stop does with a target that doesn't let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopForce {
    /// Nothing: the job fails and says who or what holds it.
    #[default]
    Never,
    /// `umount -f` after the timeout: clients are cut off and have to recover what they had under way.
    Force,
    /// `umount -f`, and after the timeout again `umount -l`: the target is out of sight, and may be in use by the kernel still.
    Lazy,
}

impl StopForce {
    /// Whether it is the usual one, which is not sent.
    pub fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// Changes what a target at rest says of itself, as `tunefs.lustre` does. What is missing stays as it is. Asking again
/// changes nothing. Refused as a format is: where the device is in use, by whom ever, or holds anything but this target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TuneOp {
    /// The target.
    pub svname: SvName,
    /// The device's path.
    pub device: String,
    /// UUID of the target's file system that the plan saw; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_uuid: Option<String>,
    /// True: the target has its configuration written anew when it starts next (`tunefs.lustre --writeconf`). False: it has
    /// not, and is marked registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writeconf: Option<bool>,
    /// The NIDs of its MGS, in place of all that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgs_nids: Option<NidList>,
    /// NIDs of each partner node, in place of all that it has; an empty list: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_nodes: Option<Vec<NidList>>,
}

/// What a [`TuneOp`] achieved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TuneResult {
    /// What the device says now, read back from it.
    pub formatted_as: FormattedAs,
    /// Whether anything was written; false when all was as wanted.
    pub changed: bool,
}

/// Writes the label onto a target at rest that it should have, where something else is there: as after `e2label` by hand, or a
/// mark that was left. Which target it is, its mountdata says: one of another name is refused. Guarded as a [`TuneOp`] is; asking
/// again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelabelOp {
    /// The target.
    pub svname: SvName,
    /// The device's path.
    pub device: String,
    /// UUID of the target's file system that is known; another one is refused. Without it, so is a label of another target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_uuid: Option<String>,
    /// Whether it is in the configuration: its label says `-` then, else `:`.
    pub registered: bool,
}

/// Looks at all devices of the node, each in a time of its own: one that does not answer is named and keeps nobody waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanOp {
    /// Seconds that each device may take, 1 to 600; 10 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_timeout_s: Option<u32>,
}

/// Moves files off an OST, from a client of the file system: one batch of what `lfs find` finds, each by `lfs migrate`.
///
/// A batch ends with its limits, and the next goes on where it ended, for as long as the agent runs; else it begins anew,
/// and finds what is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateOp {
    /// The OST to be emptied.
    pub ost: SvName,
    /// Where the client has the file system mounted; looked up when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// No file is begun with which this many bytes would be exceeded, but for the first.
    pub max_bytes: u64,
    /// At most so many files.
    pub max_files: u32,
    /// At most so many bytes a second, on the average of the batch; without limit when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// No file is begun before this time; it is waited for.
    pub not_before: Time,
    /// No file is begun at or after this time.
    pub until: Time,
}

impl MigrateOp {
    /// The file system.
    pub fn fsname(&self) -> Option<&FsName> {
        self.ost.fsname()
    }
}

/// How a batch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MigrateResult {
    /// Files that were moved.
    pub files: u64,
    /// Their sizes, bytes.
    pub bytes: u64,
    /// Files that could not be moved.
    pub failed: u64,
    /// The first of them, 100 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FileFailure>,
    /// Whether `lfs find` came to its end: every file that it named since it began was tried.
    pub is_pass_complete: bool,
    /// What the OST has left, by `lfs df`; missing where that could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<OstUsage>,
}

/// A file that could not be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileFailure {
    /// The file.
    pub path: String,
    /// What `lfs migrate` said.
    pub why: String,
}

/// What an OST holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OstUsage {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Objects in use. A new OST has some hundred: its own files, and objects made in advance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_objects: Option<u64>,
}

/// Looks for files with objects on an OST, from a client of the file system, to the end (`lfs find`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindFilesOp {
    /// The OST.
    pub ost: SvName,
    /// Where the client has the file system mounted; looked up when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// Stop at so many files.
    pub max_files: u32,
}

/// What a [`FindFilesOp`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindFilesResult {
    /// Files with objects on the OST, `max_files` at most. Zero means that there are none, for the search came to its end.
    pub files: u64,
    /// The first of them, 100 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What the OST has left, by `lfs df`; missing where that could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<OstUsage>,
}

/// What setting tunables on a node came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeParamResult {
    /// The tunables that the patterns stand for on the node; none where it has no such tunable.
    pub set: Vec<NodeParamSet>,
    /// Changes with every boot of the node.
    pub boot_id: String,
}

/// What a finished operation achieved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OpResult {
    /// Of a [`TuneOp`] or a [`RelabelOp`].
    Tuned(Box<TuneResult>),
    /// Of a [`MigrateOp`].
    Migrated(MigrateResult),
    /// Of a [`FindFilesOp`].
    Found(FindFilesResult),
    /// Of tunables: what each that the patterns stand for came to. Whether that is what was wanted, the MGS judges.
    ParamSet(NodeParamResult),
}
