//! Nodes, as the MGS knows them.

use crate::agent::{Inventory, NodeInfo};
use crate::endpoint::endpoints;
use crate::{Nothing, Page, PageQuery, Time, WriteQuery, Written};
use lustre_types::NodeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::node_settings::NodeSettings;

/// What an agent says of itself when it enrols, and again whenever it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Where the MGS reaches the agent: `http://10.0.0.5:7080`, or `unix:///run/…` on the same machine.
    pub api_url: String,
    /// What the node is.
    pub info: NodeInfo,
}

/// A node with an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Where the MGS reaches its agent.
    pub api_url: String,
    /// What it said of itself last.
    pub info: NodeInfo,
    /// When it enrolled.
    pub enrolled: Time,
    /// What people decided about it.
    #[serde(default)]
    pub settings: NodeSettings,
    /// When it was last heard of; missing when not since this MGS started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// Whether it was heard of within the last 30 seconds.
    pub is_alive: bool,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// A node with what its agent sees right now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveNode {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// Its devices; missing when the agent did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Why there is no inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

impl LiveNode {
    /// What the node is: as its agent says now, where it was asked, else as it said last.
    pub fn info(&self) -> &NodeInfo {
        self.inventory.as_ref().map_or(&self.node.info, |inventory| &inventory.info)
    }
}

/// A node that an instance of the MGS has heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeardOf {
    /// The node.
    pub node: NodeName,
    /// How long ago.
    pub ago_ms: u64,
}

/// What an instance of the MGS tells those that share its store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeats {
    /// The nodes that it has heard of.
    pub heard: Vec<HeardOf>,
}

/// Path variable: a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodePath {
    /// The node.
    pub node: NodeName,
}

endpoints! {
    /// Enrols a node, or renews what is known of it. Agents call it.
    AnnounceNode = "announce_node" Put "/v1/nodes/{node}" { path: NodePath, query: WriteQuery, body: Announcement, reply: Written<Node> }
    /// Says that a node is alive. Agents call it every 10 seconds; `not_found` asks the agent to announce itself.
    Heartbeat = "heartbeat" Post "/v1/nodes/{node}/heartbeat" { path: NodePath, reply: Nothing, routine: true }
    /// Says which nodes another instance of the MGS has heard of. The instances call it among themselves.
    RelayHeartbeats = "relay_heartbeats" Post "/v1/heartbeats" { body: Heartbeats, reply: Nothing, routine: true }
    /// Lists nodes.
    ListNodes = "list_nodes" Get "/v1/nodes" { query: PageQuery, reply: Page<Node> }
    /// Reads a node.
    GetNode = "get_node" Get "/v1/nodes/{node}" { path: NodePath, reply: Node }
    /// Asks a node's agent for its devices, now.
    GetNodeInventory = "get_node_inventory" Get "/v1/nodes/{node}/inventory" { path: NodePath, reply: LiveNode }
    /// Says whether and when steps of jobs may begin on a node. Replaces all of its settings.
    PutNodeSettings = "put_node_settings" Put "/v1/nodes/{node}/settings" { path: NodePath, query: WriteQuery, body: NodeSettings, reply: Written<Node> }
    /// Forgets a node. Refused while it has targets.
    DeleteNode = "delete_node" Delete "/v1/nodes/{node}" { path: NodePath, query: WriteQuery, reply: Written<Node> }
}
