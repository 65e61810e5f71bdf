//! A peer: its connections, and which of them carries a message.

use crate::conn::Conn;
use lustre_wire::lnet::{ConnType, WireNid};
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// Frames of this size and more travel on bulk connections (`min_bulk`).
pub(crate) const MIN_BULK: usize = 1024;

/// Which pair of NIDs a peer's connections join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerKey {
    pub(crate) local: WireNid,
    pub(crate) remote: WireNid,
}

/// Another node as one of our NIDs sees it.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    /// Bytes that wait on all connections.
    pub(crate) queued: AtomicUsize,
    high_water: usize,
    links: Mutex<Links>,
    /// Held while somebody dials; whoever waits for it finds connections afterwards.
    pub(crate) dialling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(crate) struct Links {
    pub(crate) conns: Vec<Arc<Conn>>,
    /// When the peer's interface started, as its connections say; 0 for no connection yet.
    pub(crate) incarnation: u64,
    /// True while this side opens the first connection: decides races.
    pub(crate) is_dialling: bool,
}

impl Peer {
    pub(crate) fn new(key: PeerKey, high_water: usize) -> Self {
        let links = Mutex::default();
        Self { key, queued: AtomicUsize::new(0), high_water, links, dialling: tokio::sync::Mutex::default() }
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().expect("no code panics under this lock")
    }

    /// The connection for a frame of that many bytes, as the kernel chooses: small ones on CONTROL, others on BULK_OUT;
    /// then any that there is.
    pub(crate) fn connection_for(&self, frame: usize) -> Option<Arc<Conn>> {
        let order = match frame < MIN_BULK {
            true => [ConnType::CONTROL, ConnType::BULK_OUT],
            false => [ConnType::BULK_OUT, ConnType::CONTROL],
        };
        let rank = |conn: &&Arc<Conn>| {
            let kind = order.iter().position(|kind| *kind == conn.ctype).unwrap_or(order.len());
            (kind, conn.is_blocked())
        };
        self.links().conns.iter().filter(|conn| conn.closed().is_none()).min_by_key(rank).cloned()
    }

    /// The connection for acknowledgements and keepalives: BULK_IN where there is one.
    pub(crate) fn connection_for_noop(&self) -> Option<Arc<Conn>> {
        let rank = |conn: &&Arc<Conn>| match conn.ctype {
            ConnType::BULK_IN => 0,
            ConnType::CONTROL => 1,
            _ => 2,
        };
        self.links().conns.iter().filter(|conn| conn.closed().is_none()).min_by_key(rank).cloned()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links().conns.iter().any(|conn| conn.closed().is_none())
    }

    /// True if so much waits that nothing more should be read from this peer.
    pub(crate) fn is_congested(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > self.high_water
    }

    /// Counts bytes as written or dropped; wakes readers that waited for that.
    pub(crate) fn sent(&self, bytes: usize) {
        let before = self.queued.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.high_water && before - bytes <= self.high_water {
            for conn in &self.links().conns {
                conn.wake();
            }
        }
    }
}
