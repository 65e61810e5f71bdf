//! The kernel proxy of a node: the module `lustre_mgs_proxy`, through which an MGS daemon there serves the kernel's networks.

use crate::endpoint::endpoints;
use crate::job::Job;
use crate::node::{LiveNode, NodePath};
use crate::{WriteQuery, Written};
use lustre_types::NodeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The module's name.
pub const MODULE: &str = "lustre_mgs_proxy";
/// Version of the frames between module and daemon that this release speaks.
pub const PROTOCOL: u32 = 1;

/// What a person describes. Attributes: [`crate::attributes::MGS_PROXY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySpec {
    /// The node.
    pub node: NodeName,
}

/// A build of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyModule {
    /// Its version.
    pub version: String,
    /// The kernel's checksum of its sources: tells builds of one version apart.
    pub srcversion: String,
    /// Version of the frames that it speaks.
    pub protocol: u32,
}

/// What a node has of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyState {
    /// What is in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<ProxyModule>,
    /// The network below what is loaded: `lnet`, or `loop` in tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// What is installed for the kernel that runs, and would be loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<ProxyModule>,
    /// Whether it is loaded when the node boots.
    #[serde(default)]
    pub at_boot: bool,
    /// Modules of Lustre servers in this kernel: they own the portals of an MGS, and the proxy can't be used beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

impl ProxyState {
    /// Whether nothing of it is there.
    pub fn is_absent(&self) -> bool {
        self.loaded.is_none() && !self.at_boot
    }

    /// Whether what is loaded is what is installed, and is loaded at boot.
    pub fn is_current(&self) -> bool {
        self.loaded.is_some() && self.at_boot && !self.is_outdated()
    }

    /// Whether another build is loaded than is installed.
    pub fn is_outdated(&self) -> bool {
        matches!((&self.loaded, &self.installed), (Some(loaded), Some(installed)) if loaded != installed)
    }
}

/// What the proxy of a node does, looked at now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyUse {
    /// Who has its device open: a program and its process id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Whether it was told to let its users go, to be unloaded.
    pub is_retired: bool,
    /// What DKMS says of the module, a line for each kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dkms: Vec<String>,
    /// The module's counters since it was loaded; empty where the kernel doesn't show them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, u64>,
}

/// The proxy of a node, where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// The node; names it, also for imports.
    pub node: NodeName,
    /// The same.
    pub id: String,
    /// The version that is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The build that is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srcversion: Option<String>,
    /// Version of its frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// The network below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Whether it is the build that is installed, and is loaded at boot.
    pub is_current: bool,
}

impl Proxy {
    /// The proxy of a node; `None` where there is none.
    pub fn of(node: &LiveNode) -> Option<Self> {
        let state = node.info().kernel_proxy.as_ref().filter(|state| !state.is_absent())?;
        let loaded = state.loaded.as_ref();
        let name = &node.node.name;
        Some(Self {
            node: name.clone(),
            id: name.to_string(),
            version: loaded.map(|module| module.version.clone()),
            srcversion: loaded.map(|module| module.srcversion.clone()),
            protocol: loaded.map(|module| module.protocol),
            transport: state.transport.clone(),
            is_current: state.is_current(),
        })
    }
}

endpoints! {
    /// Has a node's agent load the module `lustre_mgs_proxy`, exchange it where another build is installed, and load it at
    /// boot. Refused where Lustre's servers own the portals of an MGS.
    EnsureProxy = "ensure_mgs_proxy" Put "/v1/nodes/{node}/mgs_proxy" { path: NodePath, query: WriteQuery, reply: Written<Job>, status: 202 }
    /// Has a node's agent unload the module and not load it at boot. The job fails while an MGS daemon serves through it.
    RemoveProxy = "remove_mgs_proxy" Delete "/v1/nodes/{node}/mgs_proxy" { path: NodePath, query: WriteQuery, reply: Written<Job>, status: 202 }
}
