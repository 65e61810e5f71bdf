//! Who a node is, where it listens, and how much it bears.

use kproxy::Role;
use lustre_types::Nid;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Where LNet/TCP listens by default (`accept_port`).
pub const DEFAULT_PORT: u16 = 988;

/// Which source ports may connect (`accept=` of the kernel's acceptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Accept {
    /// Ports up to 1023 only: whoever connects is root on its host. The kernel's default.
    #[default]
    Secure,
    /// Any port. Unlike a kernel, which then renames the peer after its source port, the peer is who it says it is.
    All,
}

/// A node of the network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Own NIDs, the primary one first; of type `tcp`. Only with a kernel proxy there may be none.
    pub nids: Vec<Nid>,
    /// Addresses to listen on; connections to any of them may ask for any of [`Config::nids`]. Empty: don't listen.
    pub listen: Vec<SocketAddr>,
    /// Which source ports may connect.
    pub accept: Accept,
    /// Port to dial where [`crate::Lnet::set_address`] says nothing else.
    pub port: u16,
    /// The kernel proxy, for networks that only the kernel can drive. Its NIDs are this node's too.
    pub proxy: Option<KernelProxy>,
    /// Threads of its own that carry connections. 0: the runtime that starts the node carries them, which is right for
    /// a few; a server of thousands wants half of its processors here.
    pub threads: usize,
    /// What strangers may cost.
    pub limits: Limits,
}

impl Config {
    /// A node with these NIDs that listens nowhere.
    pub fn new(nids: Vec<Nid>) -> Self {
        let (accept, port, limits) = (Accept::Secure, DEFAULT_PORT, Limits::default());
        Self { nids, listen: Vec::new(), accept, port, proxy: None, threads: 0, limits }
    }
}

/// A device of the kernel proxy. It may come, go and come back while the node runs: then it is opened again.
#[derive(Clone, Debug)]
pub struct KernelProxy {
    /// The device, [`kproxy::DEVICE`].
    pub path: PathBuf,
    /// Which side of the MGS's protocol this node is.
    pub role: Role,
    /// Asked before each opening; says why the device must not be used now.
    pub may_open: fn() -> Result<(), String>,
}

/// What strangers may cost. Whoever goes beyond loses its connection, with the reason in the log.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all, those in handshake included.
    pub connections: usize,
    /// Connections of one address, however many nodes it says it is. As many kernels behind address translation have.
    pub connections_per_address: usize,
    /// Connections of one peer. A kernel opens 1 + 2 for each of its `conns_per_peer`, at most 9 by default.
    pub connections_per_peer: usize,
    /// Handshakes at the same time; one address may hold half of them.
    pub handshakes: usize,
    /// Time for acceptor request and HELLO together.
    pub handshake: Duration,
    /// Time from a frame's first byte to its last (`sock_timeout` of kernels).
    pub frame: Duration,
    /// Time in which a peer must take at least one byte of what waits for it.
    pub send: Duration,
    /// Bytes that may wait for a peer before nothing more is read from it.
    pub queued_high_water: usize,
    /// Bytes that may wait for a peer at all.
    pub queued: usize,
    /// Bytes of frames whose end is still to come, of all peers together.
    pub unfinished: usize,
    /// Silence after which a keepalive is sent.
    pub keepalive: Duration,
    /// Silence of a peer, on all its connections, after which they are closed.
    pub idle: Duration,
    /// NIDs behind routers that are remembered.
    pub routed_nids: usize,
    /// Peers dialled at the same time.
    pub dials: usize,
    /// Messages that wait at the same time for peers that have to be dialled, those of [`crate::Lnet::send`].
    pub undelivered: usize,
    /// Time to connect to a peer's address.
    pub connect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: 4096,
            connections_per_peer: 33,
            handshakes: 4096,
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(50),
            send: Duration::from_secs(50),
            queued_high_water: 1 << 20,
            queued: 64 << 20,
            unfinished: 256 << 20,
            keepalive: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            routed_nids: 200_000,
            dials: 256,
            undelivered: 4096,
            connect: Duration::from_secs(10),
        }
    }
}
