//! Operations on file systems and targets that exist, each a job.

use crate::agent_ops::StopForce;
use crate::filesystem::FilesystemPath;
use crate::job::Job;
use crate::node::NodePath;
use crate::target::{EnsureTarget, Target, TargetPath};
use crate::{Window, WriteQuery, Written, endpoint::endpoints};
use lustre_types::{NidList, NodeName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Has the configuration of a file system written anew: stops its targets, marks them, starts them in the right order. What
/// was set with the MGS (tunables, pools, partner nodes) comes back by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteconfFilesystem {
    /// Also write this MGS's NIDs onto the targets: for an MGS that moved.
    #[serde(default)]
    pub set_mgs_nids: bool,
}

/// Stops a target on the node where it runs and starts it on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTarget {
    /// The node: its own or a partner's. When missing, the other one of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The node where it runs is switched off: don't stop it there. Refused while that node's agent is heard of. **Two nodes
    /// with one target destroy it**: make sure before you say so.
    #[serde(default)]
    pub node_is_down: bool,
    /// On ZFS: move everything that is in use in the target's pool with it, in one job. Without this, a target whose pool has
    /// others in use is refused. All must be of one file system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_pool: bool,
}

/// Writes other NIDs of a target into the configuration, as `lctl replace_nids` does: its file system is stopped for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceNids {
    /// NIDs of its node, then of each partner node: `10.0.0.5@tcp,10.1.0.5@o2ib:10.0.0.6@tcp`.
    pub nids: NidList,
    /// Put back the NIDs that it has now, by another such job, unless somebody confirms the new ones within so many seconds
    /// after the end of this one; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// Empties an OST and takes it out of the configuration; its device is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvacuateTarget {
    /// The node that moves the files: one with an agent, that has mounted the file system as a client.
    pub client: NodeName,
    /// Where it is mounted there; looked up when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// At most so many bytes a second; without limit when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Move files only in this time of the day, as in `22:00-06:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Adds OSTs to a file system: one job, with a job for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrowFilesystem {
    /// The OSTs, 1 to 100; their file system may be left out. Those that are in the configuration already are left out.
    pub targets: Vec<EnsureTarget>,
    /// At most so many are at work at once; 8 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
}

/// Stops a target in a given time, and by no more force than is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopWithin {
    /// Seconds that each means is given, 1 to 86400; 300 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// What is done when it has not let go by then.
    #[serde(default)]
    pub force: StopForce,
}

/// Takes a target out of the configuration whose node may be off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeregisterFrom {
    /// The node where it runs is switched off: don't stop it there, which would be waited for. Refused while that node's agent is
    /// heard of.
    #[serde(default)]
    pub node_is_down: bool,
}

/// Writes the label onto a target's device that it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelabelTarget {}

/// A partner node that a target is given, or that is taken from it: by its name or by its NIDs, one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverNode {
    /// A node with an agent; its NIDs are those that its agent announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The NIDs of the one node, as in `10.0.0.6@tcp,10.1.0.6@o2ib`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nids: Option<NidList>,
    /// Also write it onto the device of a target that is started, which is stopped and started for that. The device of one that is
    /// stopped is written anyway, any other with the next writeconf.
    #[serde(default)]
    pub write_device: bool,
    /// The partner nodes of before come back unless somebody confirms the new ones within so many seconds after the end of the job;
    /// 10 to 86400. Not with `write_device`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// Moves every target that a node runs to its partner node, each by a job that is a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverTargets {
    /// Move all to this node. When missing, each to its partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeName>,
    /// The node is switched off: stop nothing there. Refused while its agent is heard of. **Two nodes with one target destroy it**.
    #[serde(default)]
    pub node_is_down: bool,
    /// Leave those where they are that can't be moved, instead of refusing to move any.
    #[serde(default)]
    pub leave_others: bool,
    /// At most so many are moved at once; 4 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
}

/// Moves every target back to its own node, each by a job that is a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailbackTargets {
    /// Leave those where they are that can't be moved, instead of refusing to move any.
    #[serde(default)]
    pub leave_others: bool,
    /// At most so many are moved at once; 4 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
}

/// Looks at the devices of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanNode {
    /// Seconds that each device may take, 1 to 600; 10 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_timeout_s: Option<u32>,
}

/// Looks at the devices of many nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanNodes {
    /// The nodes. None: all that are heard of and not drained; the others are named in a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// Seconds that each device may take, 1 to 600; 10 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_timeout_s: Option<u32>,
    /// At most so many nodes at once; 32 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
}

endpoints! {
    /// Adds OSTs to a file system, by a job that has one for each of them. All devices are looked at before it begins.
    PostGrow = "grow_filesystem" Post "/v1/filesystems/{fsname}/grow" { path: FilesystemPath, query: WriteQuery, body: GrowFilesystem, reply: Written<Job>, status: 202 }
    /// Has the configuration of a file system written anew, by a job. Every client must have unmounted it.
    PostWriteconf = "writeconf_filesystem" Post "/v1/filesystems/{fsname}/writeconf" { path: FilesystemPath, query: WriteQuery, body: WriteconfFilesystem, reply: Written<Job>, status: 202 }
    /// Moves a target to its partner node, or back, by a job.
    PostMove = "move_target" Post "/v1/targets/{svname}/move" { path: TargetPath, query: WriteQuery, body: MoveTarget, reply: Written<Job>, status: 202 }
    /// Writes other NIDs of a target into the configuration, by a job. Every client must have unmounted its file system.
    PostReplaceNids = "replace_nids" Post "/v1/targets/{svname}/replace_nids" { path: TargetPath, query: WriteQuery, body: ReplaceNids, reply: Written<Job>, status: 202 }
    /// Empties an OST and takes it out of the configuration, by a job that may take days.
    PostEvacuate = "evacuate_target" Post "/v1/targets/{svname}/evacuate" { path: TargetPath, query: WriteQuery, body: EvacuateTarget, reply: Written<Job>, status: 202 }
    /// Stops a target by a job, in so many seconds, and by force where it does not let go and that was said.
    PostStopWithin = "stop_target_within" Post "/v1/targets/{svname}/stop_within" { path: TargetPath, query: WriteQuery, body: StopWithin, reply: Written<Target>, status: 202 }
    /// Takes a target out of the configuration by a job, also where its node is switched off. Its device is left as it is.
    PostDeregister = "deregister_target_off_its_node" Post "/v1/targets/{svname}/deregister" { path: TargetPath, query: WriteQuery, body: DeregisterFrom, reply: Written<Target>, status: 202 }
    /// Writes the label onto the device of a stopped target that it should have, by a job. Its mountdata says which target it is.
    PostRelabel = "relabel_target" Post "/v1/targets/{svname}/relabel" { path: TargetPath, query: WriteQuery, body: RelabelTarget, reply: Written<Job>, status: 202 }
    /// Gives a target another partner node, by a job: in its description, in the logs, and on its device.
    PostAddFailoverNode = "add_failover_node" Post "/v1/targets/{svname}/add_failover_node" { path: TargetPath, query: WriteQuery, body: FailoverNode, reply: Written<Job>, status: 202 }
    /// Takes a partner node from a target, by a job.
    PostRemoveFailoverNode = "remove_failover_node" Post "/v1/targets/{svname}/remove_failover_node" { path: TargetPath, query: WriteQuery, body: FailoverNode, reply: Written<Job>, status: 202 }
    /// Moves every target that a node runs to its partner node, by a job that has one for each of them.
    PostFailover = "failover_node" Post "/v1/nodes/{node}/failover" { path: NodePath, query: WriteQuery, body: FailoverTargets, reply: Written<Job>, status: 202 }
    /// Moves every target of a node back to it, by a job that has one for each of them.
    PostFailback = "failback_node" Post "/v1/nodes/{node}/failback" { path: NodePath, query: WriteQuery, body: FailbackTargets, reply: Written<Job>, status: 202 }
    /// Looks at the devices of a node, by a job: it can be watched and cancelled, and a device that does not answer does not stop it.
    PostScan = "scan_node" Post "/v1/nodes/{node}/scan" { path: NodePath, query: WriteQuery, body: ScanNode, reply: Written<Job>, status: 202 }
    /// Looks at the devices of many nodes, by one job.
    PostScanNodes = "scan_nodes" Post "/v1/scan" { query: WriteQuery, body: ScanNodes, reply: Written<Job>, status: 202 }
    /// Lets an evacuation rest: nothing is moved until it is resumed. What it has set stays set.
    PauseJob = "pause_job" Post "/v1/jobs/{id}/pause" { path: crate::job::JobPath, query: WriteQuery, reply: Written<Job>, status: 202 }
    /// Lets an evacuation that rests go on.
    ResumeJob = "resume_job" Post "/v1/jobs/{id}/resume" { path: crate::job::JobPath, query: WriteQuery, reply: Written<Job>, status: 202 }
}
