//! Whether nodes really have what was set, which layer a value comes from, and values that are set for the time being.

use crate::endpoint::endpoints;
use crate::param::{CatalogueEntry, Param, ParamPath, ParamSpec};
use crate::{Time, WriteQuery, Written};
use lustre_types::{FsName, NodeName, ParamKey, ParamName, ParamScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node says of a tunable that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofState {
    /// It has the value, everywhere on the node.
    Applied,
    /// It has another value.
    Differs,
    /// It refused the value.
    Refused,
    /// It has no such tunable, although it should.
    NoSuchParameter,
    /// What it prints does not say.
    Unknowable,
    /// It was not reached.
    NotReached,
    /// Nobody wants a value; it has whatever it has.
    NotSet,
}

/// A layer that may set a tunable on a node; later ones win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// What Lustre takes when nobody sets it.
    Default,
    /// The node's own files, `/etc/lustre/*.params`.
    NodeFile,
    /// An option that Lustre was mounted with.
    MountOption,
    /// The MGS's logs: what is set permanently.
    Mgs,
    /// Set for the time being, through the agents.
    Temporary,
    /// What the node has and no other layer says: somebody set it by hand, or the node computed it.
    Live,
}

/// What a layer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layer {
    /// The layer.
    pub kind: LayerKind,
    /// Its value.
    pub value: String,
    /// Where it says so: a file and line, a tunable of the MGS.
    pub source: String,
    /// Whether the node's value is this layer's.
    pub won: bool,
}

/// A tunable on a node, and what the node prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvenValue {
    /// Its name on the node.
    pub name: String,
    /// What the node prints, at most 200 letters.
    pub value: String,
}

/// One node's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeProof {
    /// The node.
    pub node: NodeName,
    /// What it comes to.
    pub state: ProofState,
    /// Why, and what to do; missing where the value is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the node has, at most 20 of them; those that differ come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ProvenValue>,
    /// The layers that say something of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

/// Who set a tunable last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Author {
    /// The revision.
    pub revision: u64,
    /// When.
    pub time: Time,
    /// Who.
    pub who: String,
    /// What was done, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// All that is known of a tunable: what is wanted, who wanted it, and what nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// `<fsname or *>/<scope>/<name>`.
    pub id: String,
    /// What `lctl set_param` calls it.
    pub canonical_name: String,
    /// What `lctl conf_param` calls it, where it has a name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf_param_name: Option<String>,
    /// The value that is wanted; missing where nobody set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Who set it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// What the catalogue knows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<CatalogueEntry>,
    /// Values that are set for the time being.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub temporary: Vec<TemporaryParam>,
    /// What the nodes concerned say, by name. Nodes that have no such tunable and need none are left out.
    pub nodes: Vec<NodeProof>,
    /// Whether every node concerned has the value.
    pub is_proven: bool,
}

/// A value that is set for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemporaryParam {
    /// What `lctl set_param` calls it: names it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The nodes that it was set on.
    pub nodes: Vec<NodeName>,
    /// Nodes that have restarted since, and so lost it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<NodeName>,
    /// Who set it.
    pub who: String,
    /// When.
    pub created: Time,
    /// When the value before it is put back; never when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// A value to set for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTemporary {
    /// The file system; every one when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FsName>,
    /// Whom it concerns.
    #[serde(default)]
    pub scope: ParamScope,
    /// Its name.
    pub name: ParamName,
    /// Its value.
    pub value: String,
    /// Only on these nodes; on all that have it when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// Put the value before it back after so many seconds; 1 to 31 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u32>,
}

/// What setting it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemporarySet {
    /// The value, as it is listed; missing where no node took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<TemporaryParam>,
    /// What each node says.
    pub nodes: Vec<NodeProof>,
}

/// All values that are set for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemporaryParams {
    /// They, by name.
    pub items: Vec<TemporaryParam>,
}

/// Path variable: a value that is set for the time being.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TemporaryPath {
    /// Its name, as it is listed.
    pub name: String,
}

/// A tunable to be set with care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CarefulParam {
    /// The tunable.
    pub spec: ParamSpec,
    /// Try it on this node first: nothing is kept unless the node takes it and reads it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<NodeName>,
    /// Put the value before it back unless somebody confirms the change within so many seconds; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// A removal to be made with care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CarefulRemoval {
    /// What was removed comes back unless somebody confirms that within so many seconds; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// What became of a tunable that was set with care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CarefulWritten {
    /// What was written.
    pub written: Written<Param>,
    /// What the node said that it was tried on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<NodeProof>,
}

/// A tunable to be set on nodes by a job: a step for each, all at once but for the one to try it on, and kept when all have
/// read it back. A job that fails on some nodes says which; trying it again does those, and what was not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpreadParam {
    /// The tunable.
    pub spec: ParamSpec,
    /// Only until the nodes restart, instead of permanently.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_temporary: bool,
    /// Only on these nodes; on all that have it when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// On this node first: no other is touched unless it takes the value and reads it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<NodeName>,
    /// Of a temporary value: put the one before it back after so many seconds; 1 to 31 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u32>,
    /// Of a permanent value: put the one before it back unless somebody confirms the change within so many seconds; 10 to
    /// 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

impl SpreadParam {
    /// A tunable that is set, to be set again on nodes that have something else.
    pub fn again(spec: ParamSpec, nodes: Vec<NodeName>) -> Self {
        Self { spec, is_temporary: false, nodes, canary: None, expires_in_s: None, confirm_within_s: None }
    }
}

/// Which tunables to prove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProveParams {
    /// They; all that are set when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<ParamKey>,
}

/// What nodes have of a tunable, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParamProof {
    /// The tunable.
    pub id: ParamKey,
    /// The value that is wanted; missing where nobody set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What each node concerned says; nodes that have no such tunable and need none are left out.
    pub nodes: BTreeMap<NodeName, ProofState>,
    /// Why a node has not the value, in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub messages: BTreeMap<NodeName, String>,
    /// The nodes that have another value although they should have it by now, with what they have: somebody set it there by
    /// hand, or a change has not reached them. Not those where a temporary value is in force, and none of what works only
    /// after a mount or a restart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<NodeName, String>,
}

impl ParamProof {
    /// Whether every node concerned has the value; false where there is none.
    pub fn is_proven(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.values().all(|state| *state == ProofState::Applied)
    }
}

/// What nodes have of tunables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParamProofs {
    /// Of each, in the order asked; by id where all were asked for.
    pub items: Vec<ParamProof>,
}

/// Query of a difference: between which revision and now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParamsDiffQuery {
    /// The revision.
    pub revision: u64,
    /// Only tunables of this file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
}

/// A tunable then and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParamDifference {
    /// `<fsname or *>/<scope>/<name>`.
    pub id: String,
    /// Its value at the revision; missing where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Its value now; missing where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// What changed since a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParamsDiff {
    /// The revision that was compared with.
    pub then: u64,
    /// The revision that is current.
    pub revision: u64,
    /// The tunables that differ, by id.
    pub differences: Vec<ParamDifference>,
}

/// Which tunables go back to what they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertParams {
    /// The revision to go back to.
    pub revision: u64,
    /// Only tunables of this file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// Only these, by id; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
}

endpoints! {
    /// Asks every node concerned what it has of a tunable, now, and says which layer its value comes from.
    ExplainParam = "explain_param" Get "/v1/params/{fsname}/{scope}/{name}/explain" { path: ParamPath, reply: Explanation }
    /// Sets a tunable after trying it on one node, or until somebody confirms it.
    PutParamCarefully = "put_param_carefully" Post "/v1/params/{fsname}/{scope}/{name}/carefully" { path: ParamPath, query: WriteQuery, body: CarefulParam, reply: CarefulWritten }
    /// Sets a tunable on nodes by a job that can be tried again: on one first, then on all others, then permanently.
    PostSpreadParam = "spread_param" Post "/v1/params/{fsname}/{scope}/{name}/spread" { path: ParamPath, query: WriteQuery, body: SpreadParam, reply: Written<crate::job::Job>, status: 202 }
    /// Asks every node concerned what it has of many tunables, each node once.
    PostProveParams = "prove_params" Post "/v1/params-proof" { body: ProveParams, reply: ParamProofs }
    /// Unsets a tunable until somebody confirms it.
    PostRemoveParam = "remove_param" Post "/v1/params/{fsname}/{scope}/{name}/remove" { path: ParamPath, query: WriteQuery, body: CarefulRemoval, reply: Written<Param> }
    /// Confirms a tunable that would go back to its value before, or that it is unset.
    ConfirmParam = "confirm_param" Post "/v1/params/{fsname}/{scope}/{name}/confirm" { path: ParamPath, query: WriteQuery, reply: Written<Param> }
    /// Lists values that are set for the time being.
    ListTemporaryParams = "list_temporary_params" Get "/v1/temporary-params" { reply: TemporaryParams }
    /// Sets a value on nodes until they restart, or until it expires.
    SetTemporaryParam = "set_temporary_param" Post "/v1/temporary-params" { query: WriteQuery, body: SetTemporary, reply: TemporarySet }
    /// Puts the value before it back on every node, and forgets it.
    DeleteTemporaryParam = "delete_temporary_param" Delete "/v1/temporary-params/{name}" { path: TemporaryPath, query: WriteQuery, reply: TemporarySet }
    /// What changed among tunables since a revision.
    DiffParams = "diff_params" Get "/v1/params-diff" { query: ParamsDiffQuery, reply: ParamsDiff }
    /// Puts tunables back to what they were at a revision: all of them, or none.
    PostRevertParams = "revert_params" Post "/v1/params-revert" { query: WriteQuery, body: RevertParams, reply: Written<ParamsDiff> }
}
