//! Lustre's nodes as the MGS sees them over LNet: connected clients, servers included.

use crate::endpoint::endpoints;
use crate::{Page, PageQuery, Time};
use lustre_types::FsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connected client: the configuration client of a node, which all its mounts and targets share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Export {
    /// Where it is.
    pub nid: String,
    /// Its uuid, new with each start of it.
    pub uuid: String,
    /// Its version of Lustre.
    pub version: String,
    /// File systems whose config logs it opened.
    pub filesystems: Vec<FsName>,
    /// Config locks that it holds: it follows that many logs and tables.
    pub locks: u64,
    /// Locks that it was asked for, because something changed, and has not given back yet.
    pub revoked_locks: u64,
    /// Requests since it connected.
    pub requests: u64,
    /// How often it connected.
    pub connects: u32,
    /// Whether it is told when a target comes back elsewhere.
    pub imperative_recovery: bool,
    /// When it connected first.
    pub connected: Time,
    /// Seconds since it was heard of; it pings every 25 s, and is evicted after 150.
    pub silent_s: u64,
}

/// LNet and what is done over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LnetStatus {
    /// Addresses that are listened on; none when LNet is off.
    pub listening: Vec<String>,
    /// Connected clients.
    pub exports: u64,
    /// Config locks that they hold.
    pub locks: u64,
    /// Requests that wait for a commit or for the client.
    pub pending: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Requests that were refused since the start.
    pub refused: u64,
    /// Blocks of config logs that were sent since the start.
    pub log_blocks: u64,
    /// Connects since the start.
    pub connects: u64,
    /// Clients that were thrown out since the start: silent, or kept a lock.
    pub evictions: u64,
    /// Locks that were asked for since the start.
    pub callbacks: u64,
    /// TCP connections.
    pub connections: u64,
    /// Nodes with a TCP connection.
    pub peers: u64,
    /// The kernel proxy, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_proxy: Option<KernelProxyStatus>,
}

/// The kernel proxy as the MGS has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelProxyStatus {
    /// Whether its device is open now; while not, nodes on the kernel's networks can't reach this MGS.
    pub is_open: bool,
    /// Own NIDs on the kernel's networks, as of the last time that the device was open.
    pub nids: Vec<String>,
}

endpoints! {
    /// LNet and what is done over it.
    GetLnet = "get_lnet" Get "/v1/lnet" { reply: LnetStatus }
    /// Lists connected clients, servers included, by NID and uuid.
    ListExports = "list_exports" Get "/v1/exports" { query: PageQuery, reply: Page<Export> }
}
