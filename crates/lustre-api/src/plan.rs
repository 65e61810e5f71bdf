//! Plans: what would have to change, in which order, and why.

use crate::endpoint::endpoints;
use crate::filesystem::{FilesystemPath, FilesystemSpec};
use crate::node::NodePath;
use crate::nodemap::{NodemapPath, NodemapSpec, NodemapsActive, NodemapsSpec, PutNodemapBody};
use crate::param::{ParamPath, ParamSpec};
use crate::pool::{PoolPath, PoolSpec};
use crate::proof::{CarefulParam, CarefulRemoval, SpreadParam};
use crate::proxy::ProxySpec;
use crate::target::{EnsureTarget, TargetPath, TargetSpec};
use lustre_types::{FsName, NodemapName, ParamName, ParamScope, PoolName, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person wants. What is not named here is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Desired {
    /// File systems to be as described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<FilesystemSpec>,
    /// Targets to be as described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<DesiredTarget>,
    /// Tunables to be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamSpec>,
    /// Pools to be as described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolSpec>,
    /// Nodemaps to be as described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodemaps: Vec<NodemapSpec>,
    /// Whether nodemaps are to be in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodemaps_active: Option<NodemapsSpec>,
    /// Kernel proxies to be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mgs_proxies: Vec<ProxySpec>,
    /// Objects to be absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<ObjectKey>,
}

impl Desired {
    /// The target that is described at a place.
    pub fn target_at(&self, place: &Place) -> Option<&DesiredTarget> {
        self.targets.iter().find(|wanted| wanted.target.node == place.node && wanted.target.device == place.device)
    }
}

/// A target to be as described, and what its format may overwrite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DesiredTarget {
    /// The target.
    pub target: TargetSpec,
    /// Format over data of others or over another target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_reformat: bool,
}

/// Names an object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectKey {
    /// A file system.
    Filesystem {
        /// Its name.
        name: FsName,
    },
    /// A target that has a name.
    Target {
        /// Its name.
        svname: SvName,
    },
    /// A target that has no index yet.
    NewTarget {
        /// The node that will serve it.
        node: lustre_types::NodeName,
        /// The device's path there.
        device: String,
    },
    /// A tunable.
    Param {
        /// The file system; every one when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filesystem: Option<FsName>,
        /// Whom it concerns.
        #[serde(default)]
        scope: ParamScope,
        /// Its name.
        name: ParamName,
    },
    /// A pool.
    Pool {
        /// The file system.
        filesystem: FsName,
        /// Its name.
        name: PoolName,
    },
    /// A nodemap.
    Nodemap {
        /// Its name.
        name: NodemapName,
    },
    /// Whether nodemaps are in force.
    Nodemaps {},
    /// The kernel proxy of a node.
    MgsProxy {
        /// The node.
        node: lustre_types::NodeName,
    },
}

impl std::fmt::Display for ObjectKey {
    /// `target scratch-OST0001`, `pool scratch.flash`, `mgs_proxy mgs1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filesystem { name } => write!(f, "filesystem {name}"),
            Self::Target { svname } => write!(f, "target {svname}"),
            Self::NewTarget { node, device } => write!(f, "target on {node}:{device}"),
            Self::Param { filesystem, scope, name } => {
                write!(f, "param {}/{scope}/{name}", filesystem.as_ref().map_or("*", FsName::as_str))
            }
            Self::Pool { filesystem, name } => write!(f, "pool {filesystem}.{name}"),
            Self::Nodemap { name } => write!(f, "nodemap {name}"),
            Self::Nodemaps {} => f.write_str("nodemaps"),
            Self::MgsProxy { node } => write!(f, "mgs_proxy {node}"),
        }
    }
}

/// What has to change. Empty `changes` and no error: everything is as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The revision that it was made against; give it as `if_revision` when applying.
    pub revision: u64,
    /// The changes, in the order in which to make them.
    pub changes: Vec<Change>,
    /// What stands against it (errors) and what one should know (warnings).
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Whether something stands against it.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// One object's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The object.
    pub object: ObjectKey,
    /// What happens to it.
    pub action: Action,
    /// Its attributes that change, sorted by path.
    pub fields: Vec<FieldChange>,
    /// Why it has to.
    pub reason: String,
    /// Whether data is lost.
    pub destroys_data: bool,
    /// Who notices, as in `clients of scratch see 1 more OST`.
    pub blast_radius: String,
    /// For a target: where it was described to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Where a target is described to be; tells which description a change or a finding is of, also where it gives no index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The node.
    pub node: lustre_types::NodeName,
    /// The device, by the name that the description gives it.
    pub device: String,
}

impl std::fmt::Display for Place {
    /// `oss1:/dev/sdb`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.node, self.device)
    }
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made; a target's device is formatted.
    Create,
    /// It exists on its device already and is taken into the configuration without a format.
    Adopt,
    /// It is changed in place.
    Update,
    /// It is removed; a target's device is left as it is.
    Delete,
}

/// One attribute's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The attribute, as a dotted path.
    pub path: String,
    /// Its value now; null where there is none.
    pub before: Value,
    /// Its value afterwards; null where there is none, `(known after apply)` where only the apply can tell.
    pub after: Value,
    /// What the change takes.
    pub effect: Effect,
}

/// What an attribute's change takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nobody is interrupted.
    InPlace,
    /// The target has to be restarted.
    Restart,
    /// The device is formatted.
    Reformat,
    /// It can't be changed.
    Immutable,
}

/// Something that a plan found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Whether it stands against the plan.
    pub severity: Severity,
    /// The object.
    pub object: ObjectKey,
    /// The attribute, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Which finding it is, as in `device_mounted`.
    pub code: String,
    /// What was found, naming the object.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// For a target: where it was described to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan can't be applied.
    Error,
    /// It can, but a person should know.
    Warning,
}

/// The call that makes a change of a plan. `lustre_plan::request` finds it, `rest::Client::make` sends it.
#[derive(Clone, Debug)]
pub enum Request {
    /// [`crate::filesystem::PutFilesystem`]
    PutFilesystem(FilesystemPath, FilesystemSpec),
    /// [`crate::filesystem::DeleteFilesystem`]
    DeleteFilesystem(FilesystemPath),
    /// [`crate::target::PostTarget`]
    EnsureTarget(Box<EnsureTarget>),
    /// [`crate::target::DeregisterTarget`]
    DeregisterTarget(TargetPath),
    /// [`crate::param::PutParam`]
    PutParam(ParamPath, ParamSpec),
    /// [`crate::proof::PutParamCarefully`]
    PutParamCarefully(ParamPath, CarefulParam),
    /// [`crate::proof::PostSpreadParam`]
    SpreadParam(ParamPath, Box<SpreadParam>),
    /// [`crate::param::DeleteParam`]
    DeleteParam(ParamPath),
    /// [`crate::proof::PostRemoveParam`]
    RemoveParam(ParamPath, CarefulRemoval),
    /// [`crate::pool::PutPool`]
    PutPool(PoolPath, PoolSpec),
    /// [`crate::pool::DeletePool`]
    DeletePool(PoolPath),
    /// [`crate::nodemap::PutNodemap`]
    PutNodemap(NodemapPath, Box<PutNodemapBody>),
    /// [`crate::nodemap::DeleteNodemap`]
    DeleteNodemap(NodemapPath),
    /// [`crate::nodemap::PostRemoveNodemap`]
    RemoveNodemap(NodemapPath, CarefulRemoval),
    /// [`crate::nodemap::PutNodemapsActive`]
    PutNodemapsActive(NodemapsActive),
    /// [`crate::proxy::EnsureProxy`]
    EnsureProxy(NodePath),
    /// [`crate::proxy::RemoveProxy`]
    RemoveProxy(NodePath),
}

endpoints! {
    /// Computes what would have to change, against what is there now. Changes nothing.
    PostPlan = "plan" Post "/v1/plan" { body: Desired, reply: Plan }
}
