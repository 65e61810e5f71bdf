//! The MGS itself, and the whole of what it knows in one answer.

use crate::endpoint::endpoints;
use crate::filesystem::Filesystem;
use crate::node::LiveNode;
use crate::nodemap::Nodemap;
use crate::param::Param;
use crate::pool::Pool;
use crate::proof::ParamProof;
use crate::target::Target;
use lustre_types::{FsName, NidList, NodeName, ParamKey, ParamName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an MGS is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MgsInfo {
    /// Names everything below it: `<uuid>/<fsname>/<svname>`. Made once, kept with the store.
    pub uuid: String,
    /// Version of the program.
    pub version: String,
    /// The NIDs that targets and clients use; missing when none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nids: Option<NidList>,
    /// What this MGS can do, as in `api`, `jobs`, `lnet`.
    pub capabilities: Vec<String>,
    /// What holds its state: `redb`, `memory`, `etcd`.
    pub store: String,
    /// The store's current revision.
    pub revision: u64,
    /// How often this MGS was restored from a backup. When it has grown, revisions from before may mean something else: read
    /// everything again.
    #[serde(default)]
    pub epoch: u64,
    /// The version of the state in the store. Programs that know none so high refuse the store; it rises by itself with the first
    /// change that needs more.
    #[serde(default = "first_version")]
    pub state_version: u32,
    /// What this instance does for all that share its store: `jobs` runs jobs, `expiry` ends what is over, `compaction`
    /// bounds the history, `webhook/<name>` tells a receiver. Another instance takes over when it dies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duties: Vec<String>,
    /// All instances that share its store and are alive, where several may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
    /// Why the store takes no changes, where its disk failed; reading goes on. Restart the MGS once the disk is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
}

/// One of several MGSs that share a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// A UUID of the process.
    pub name: String,
    /// Where its API is, for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The newest version of the state that it knows; an older program says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_version: Option<u32>,
}

fn first_version() -> u32 {
    1
}

/// Tunables that nodes have, with those nodes.
pub type LiveParams = BTreeMap<ParamName, Vec<NodeName>>;

/// What nodes have of tunables.
pub type ProofByKey = BTreeMap<ParamKey, ParamProof>;

/// Everything at one revision: what plans are computed against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// The MGS.
    pub mgs: MgsInfo,
    /// File systems, by name.
    pub filesystems: Vec<Filesystem>,
    /// Targets, by name.
    pub targets: Vec<Target>,
    /// Tunables that are set, by file system, scope and name.
    pub params: Vec<Param>,
    /// Pools, by file system and name.
    pub pools: Vec<Pool>,
    /// Nodemaps, by name.
    #[serde(default)]
    pub nodemaps: Vec<Nodemap>,
    /// Whether nodemaps are in force.
    #[serde(default)]
    pub nodemaps_active: bool,
    /// When `nodemaps_active` goes back to what it was before, unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodemaps_confirm_until: Option<crate::Time>,
    /// Removed tunables and nodemaps that come back unless somebody confirms it, as history names them (`nodemap guests`), with
    /// when that is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removals: BTreeMap<String, crate::Time>,
    /// Nodes, by name; with their devices where the query asked for them.
    pub nodes: Vec<LiveNode>,
    /// Tunables that the catalogue does not know, but live nodes have; only of those that somebody asked about.
    #[serde(default, skip_serializing_if = "LiveParams::is_empty")]
    pub live_params: LiveParams,
    /// What nodes have of the tunables that are set; only where the query asked for it.
    #[serde(default, skip_serializing_if = "ProofByKey::is_empty")]
    pub param_proofs: ProofByKey,
}

/// Query of a snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotQuery {
    /// Only this file system (nodes are always all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// Ask every agent for its devices now, all at once, at most 5 seconds each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
    /// Ask every agent what it has of the tunables that are set, all at once, at most 5 seconds each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tunables: bool,
}

/// An instance of the MGS that does all its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// The newest revision that it knows.
    pub revision: u64,
}

endpoints! {
    /// Whether this instance accepts changes and knows the newest state; refused as unavailable, with the reason, when it does
    /// not. For load balancers and monitoring.
    GetReady = "get_ready" Get "/v1/ready" { reply: Ready }
    /// What this MGS is and can do.
    GetMgs = "get_mgs" Get "/v1/mgs" { reply: MgsInfo }
    /// Everything at one revision.
    GetSnapshot = "get_snapshot" Get "/v1/snapshot" { query: SnapshotQuery, reply: Snapshot }
}
