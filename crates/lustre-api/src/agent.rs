//! The node agent's API.

use crate::agent_ops::{FindFilesOp, MigrateOp, OpResult, RelabelOp, ScanOp, StopForce, TuneOp};
use crate::device::{Device, FormattedAs};
use crate::endpoint::endpoints;
use crate::job::{FormatResult, JobId, JobPath, JobState, Progress, WaitQuery};
use crate::node_param::SetNodeParams;
use crate::proxy::{ProxyState, ProxyUse};
use crate::{Page, PageQuery, Time};
use lustre_types::{FsName, LustreVersion, Nid, NidList, NodeName, SvName, TargetIndex, TargetKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a node is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// The node's name.
    pub node: NodeName,
    /// Version of the agent.
    pub agent_version: String,
    /// Changes with every boot of the node.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel: String,
    /// Version of Lustre, where it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lustre: Option<LustreVersion>,
    /// Version of e2fsprogs, where it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2fsprogs: Option<String>,
    /// Features that Lustre wants and this e2fsprogs lacks, as in `dirdata`.
    #[serde(default)]
    pub missing_features: Vec<String>,
    /// How targets are started here.
    pub start_driver: StartDriver,
    /// The node's NIDs.
    pub nids: Vec<Nid>,
    /// What it has of the kernel proxy; missing where its agent doesn't know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_proxy: Option<ProxyState>,
    /// What its agent can be asked for, by name, as in `tune` and `zfs`; missing where it is older than this list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abilities: Option<BTreeSet<String>>,
    /// Its host id, as `hostid` prints it: by this ZFS tells whether a pool was used by another node. Missing where none is
    /// set (`zgenhostid` sets one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostid: Option<String>,
}

/// How a node starts targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartDriver {
    /// `mount -t lustre`.
    Kernel,
    /// By the agent, towards the MGS only: targets register, follow their config log and serve no file I/O.
    Userspace,
    /// Not at all: the node has no Lustre; targets exist on disk only and are registered through the API.
    None,
}

/// What a node is and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// What the node is.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// Its block devices, and its ZFS datasets.
    pub devices: Vec<Device>,
    /// Its ZFS; missing where that isn't installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zfs: Option<ZfsState>,
    /// What its kernel proxy does, where it is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_proxy_use: Option<ProxyUse>,
    /// When they were looked at.
    pub at: Time,
}

/// What a node has of ZFS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZfsState {
    /// The imported pools.
    pub pools: Vec<ZfsPool>,
    /// Why it could not be asked for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An imported pool of ZFS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ZfsPool {
    /// Its name.
    pub name: String,
    /// In zpool-list(8)'s words: `ONLINE`, `DEGRADED` ...
    pub health: String,
}

/// A device and the target on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormattedDevice {
    /// The device's canonical path.
    pub device: String,
    /// The target on it.
    #[serde(flatten)]
    pub formatted_as: FormattedAs,
    /// Where it is mounted, when it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// How it runs, when the agent itself started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningTarget>,
}

/// A target that the agent started by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningTarget {
    /// By which driver.
    pub driver: StartDriver,
    /// How often it was started here.
    pub instance: u32,
    /// Since when.
    pub since: Time,
    /// NID of the MGS that it follows.
    pub mgs: String,
    /// The parameters that its logs set: its own under `conf_param`'s names, `params` under `lctl`'s, for all kinds of
    /// devices.
    pub params: BTreeMap<String, String>,
    /// The nodemaps that its MGS told it; missing where the MGS has or shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodemaps: Option<ToldNodemaps>,
    /// Where the targets of its file system run, by name, as its MGS told it: MDTs are told (imperative recovery), others
    /// have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, RunsAt>,
    /// What it does not do.
    pub note: String,
}

/// The nodemaps that a target was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToldNodemaps {
    /// Whether they are in force.
    pub active: bool,
    /// Their names, in the order of their numbers.
    pub names: Vec<String>,
}

/// Where a target runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunsAt {
    /// For the how manieth time it is started.
    pub instance: u32,
    /// NIDs of the node that it runs on.
    pub nids: Vec<String>,
}

/// The targets on a node's devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormattedDevices {
    /// One entry per device that holds a target, finished or not.
    pub targets: Vec<FormattedDevice>,
}

/// What to do on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentOp {
    /// Make a target on a device.
    Format(FormatOp),
    /// Mount a target.
    Start(StartOp),
    /// Unmount a target.
    Stop(StopOp),
    /// Change what a target at rest says of itself.
    Tune(TuneOp),
    /// Write the label onto a target at rest that it should have.
    Relabel(RelabelOp),
    /// Look at all devices.
    Scan(ScanOp),
    /// Move files off an OST.
    Migrate(MigrateOp),
    /// Look for files on an OST.
    FindFiles(FindFilesOp),
    /// Set tunables until the node restarts, and read them back.
    SetParam(SetNodeParams),
    /// Load the module of the kernel proxy, the build that is installed, now and at boot.
    LoadProxy,
    /// Unload it, and don't load it at boot.
    UnloadProxy,
}

impl AgentOp {
    /// The target that it is about; none where it is about the node.
    pub fn svname(&self) -> Option<&SvName> {
        match self {
            Self::Format(op) => Some(&op.svname),
            Self::Start(op) => Some(&op.svname),
            Self::Stop(op) => Some(&op.svname),
            Self::Tune(op) => Some(&op.svname),
            Self::Relabel(op) => Some(&op.svname),
            Self::Migrate(op) => Some(&op.ost),
            Self::FindFiles(op) => Some(&op.ost),
            Self::SetParam(_) | Self::Scan(_) | Self::LoadProxy | Self::UnloadProxy => None,
        }
    }

    /// The device that it works on; none where it works on files.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Format(op) => Some(&op.device),
            Self::Start(op) => Some(&op.device),
            Self::Stop(op) => Some(&op.device),
            Self::Tune(op) => Some(&op.device),
            Self::Relabel(op) => Some(&op.device),
            Self::LoadProxy | Self::UnloadProxy => Some("/dev/lustre_mgs_proxy"),
            Self::Migrate(_) | Self::FindFiles(_) | Self::SetParam(_) | Self::Scan(_) => None,
        }
    }
}

/// Makes a target on a device: mke2fs and `CONFIGS/mountdata`. Asking again for the same target changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormatOp {
    /// The target's name, with its index.
    pub svname: SvName,
    /// The file system; optional on an MGT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// The device's path; or a ZFS dataset, as in `tank/ost0`, which is made if its pool has none of that name.
    pub device: String,
    /// What to make the dataset's pool of, where this node has none of that name: absolute paths and words of zpool-create(8), as in `mirror /dev/sda /dev/sdb`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vdevs: Vec<String>,
    /// The MGS to register with; missing only on an MGT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgs_nids: Option<NidList>,
    /// NIDs of each partner node.
    #[serde(default)]
    pub failover_nodes: Vec<NidList>,
    /// More options for mke2fs, or settings for the ZFS dataset (`-o name=value`), as `mkfs.lustre --mkfsoptions` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkfs_options: Option<String>,
    /// Mount options stored on the target, instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<String>,
    /// Parameters stored on the target.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// A comment stored on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What the plan saw on the device ([`Device::content`]); anything else there now is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_content: Option<String>,
    /// The size in bytes that the plan saw; another size is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_size_bytes: Option<u64>,
    /// Format over data of others or over a registered target. A device in use is refused all the same.
    #[serde(default)]
    pub allow_reformat: bool,
}

impl FormatOp {
    /// What the target serves.
    pub fn kind(&self) -> TargetKind {
        self.svname.kind()
    }

    /// The target's index; none on an MGT.
    pub fn index(&self) -> Option<TargetIndex> {
        self.svname.index()
    }
}

/// Mounts a target. Where it is on ZFS and this node has not imported its pool, that is imported first, and exported again
/// when the start comes to nothing. A pool that another node has used last and not exported is refused, but see `pool_of`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartOp {
    /// The target.
    pub svname: SvName,
    /// The device's path.
    pub device: String,
    /// Where to mount it; `/mnt/lustre/<svname>` when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// The node that may have left the target's ZFS pool imported, and is switched off, as a person says: from this one it
    /// is taken (`zpool import -f`), and from no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_of: Option<PoolUser>,
}

/// A node that uses a ZFS pool, or has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolUser {
    /// Its name.
    pub node: NodeName,
    /// Its host id, as [`NodeInfo::hostid`]: what the pool says of who used it last.
    pub hostid: String,
}

/// Unmounts a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopOp {
    /// The target.
    pub svname: SvName,
    /// The device's path.
    pub device: String,
    /// Give up after so many seconds; 300 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// What to do when it doesn't let go in that time.
    #[serde(default, skip_serializing_if = "StopForce::is_never")]
    pub force: StopForce,
    /// Then export the ZFS pool that the target is in, so that another node can import it. Refused, before anything is
    /// stopped, where anything else in the pool is in use on this node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub export_pool: bool,
}

/// A job of an agent: one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentJob {
    /// Its name, given by who started it.
    pub id: JobId,
    /// What it does.
    pub op: AgentOp,
    /// How far it has come.
    pub state: JobState,
    /// How much is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Why it failed, or what it found, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether trying the same again may help.
    #[serde(default)]
    pub retryable: bool,
    /// The last lines that its program printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// The command that was run, for the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What its program exited with; missing where none ran to its end, or nobody knows any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// What a finished format achieved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted: Option<FormatResult>,
    /// What the node has of the kernel proxy after loading or unloading it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyState>,
    /// What any other finished operation achieved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OpResult>,
    /// Who started it.
    pub who: String,
    /// When it was accepted.
    pub created: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Grows with every change; give it as `seen` to wait for the next.
    pub version: u64,
}

impl AgentJob {
    /// A job that was just accepted: queued, with nothing done yet.
    pub fn new(id: JobId, op: AgentOp, who: impl Into<String>, created: Time) -> Self {
        Self {
            id,
            op,
            state: JobState::Queued,
            progress: None,
            message: None,
            retryable: false,
            output: Vec::new(),
            command: Vec::new(),
            exit_status: None,
            formatted: None,
            proxy: None,
            result: None,
            who: who.into(),
            created,
            ended: None,
            // Clocks go on across restarts of the agent, and so do versions.
            version: created.unix_ms(),
        }
    }
}

/// What a format would do, without doing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormatCheck {
    /// The device as it is now.
    pub device: Device,
    /// Whether the very same target is there already: then nothing would be done.
    pub is_same: bool,
    /// Why it would be refused; empty where it would be done.
    pub refusals: Vec<crate::device::Refusal>,
    /// The command that would be run.
    pub command: Vec<String>,
    /// Features that the installed e2fsprogs lacks.
    pub missing_features: Vec<String>,
}

endpoints! {
    /// What the node is and can do.
    GetNodeInfo = "get_node_info" Get "/v1/node" { reply: NodeInfo }
    /// What the node is and what block devices it has, looked at now.
    GetInventory = "get_inventory" Get "/v1/inventory" { reply: Inventory }
    /// What each device is formatted as, read from the devices now.
    GetFormatted = "get_formatted" Get "/v1/targets" { reply: FormattedDevices }
    /// Says what a format would do, and does nothing.
    CheckFormat = "check_format" Post "/v1/check" { body: FormatOp, reply: FormatCheck }
    /// Starts a job under the caller's name for it. The same name and operation again: the same job, not a second one; the same name and another operation: conflict.
    PutAgentJob = "put_agent_job" Put "/v1/jobs/{id}" { path: JobPath, body: AgentOp, reply: AgentJob, status: 202 }
    /// Lists the agent's jobs, newest last.
    ListAgentJobs = "list_agent_jobs" Get "/v1/jobs" { query: PageQuery, reply: Page<AgentJob> }
    /// Reads a job; with `wait_s` waits for news of it.
    GetAgentJob = "get_agent_job" Get "/v1/jobs/{id}" { path: JobPath, query: WaitQuery, reply: AgentJob }
    /// Asks a job to stop: its programs are terminated, its device is left marked unfinished. A job that the agent doesn't know is not found, and does not run should the call that starts it arrive late.
    CancelAgentJob = "cancel_agent_job" Post "/v1/jobs/{id}/cancel" { path: JobPath, reply: AgentJob, status: 202 }
}
