//! What is counted, and reasons in the log: never more than an administrator can read, whatever strangers do.

use crate::conn::Conn;
use lustre_wire::lnet::WireNid;
use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tracing::warn;

/// Lines that refusals may write in a second.
const LINES: u32 = 20;

/// Writes why somebody was refused, at most [`LINES`] times a second, and then how many lines were left out.
#[derive(Default)]
pub(crate) struct Refusals {
    window: Mutex<Option<Window>>,
    count: AtomicU64,
}

struct Window {
    since: Instant,
    lines: u32,
    left_out: u32,
}

impl Refusals {
    fn may_speak(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut window = self.window.lock().expect("no code panics under this lock");
        let now = Instant::now();
        let current = window.get_or_insert(Window { since: now, lines: 0, left_out: 0 });
        if now.duration_since(current.since) > Duration::from_secs(1) {
            if current.left_out > 0 {
                warn!(count = current.left_out, "more connections were refused, their reasons left out");
            }
            *current = Window { since: now, lines: 0, left_out: 0 };
        }
        if current.lines < LINES {
            current.lines += 1;
            return true;
        }
        current.left_out += 1;
        false
    }

    /// A connection that never came to be.
    pub(crate) fn refused(&self, peer: SocketAddr, nid: Option<WireNid>, reason: &dyn fmt::Display) {
        if self.may_speak() {
            let nid = nid.map(tracing::field::display);
            warn!(%peer, nid, %reason, "connection refused");
        }
    }

    /// A connection that this side ends.
    pub(crate) fn closed(&self, conn: &Conn, reason: &dyn fmt::Display) {
        if self.may_speak() {
            warn!(peer = %conn.remote, nid = %conn.peer.key.remote, conn = %conn.ctype, %reason, "connection closed");
        }
    }
}

/// What a node has done since it started.
#[derive(Default)]
pub(crate) struct Counters {
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
}

impl Counters {
    pub(crate) fn frame_in(&self, len: usize) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(len as u64, Ordering::Relaxed);
    }

    pub(crate) fn frames_out(&self, len: usize) {
        self.frames_out.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// What a node has and has done since it started, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Connections that are open or in handshake.
    pub connections: usize,
    /// Peers with a connection, each of our NIDs counted.
    pub peers: usize,
    /// Nodes known behind routers.
    pub routed_nids: usize,
    /// Frames read.
    pub frames_in: u64,
    /// Bytes of frames read.
    pub bytes_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes of frames sent.
    pub bytes_out: u64,
    /// Connections refused, or closed for what the peer did.
    pub refusals: u64,
}

impl Counters {
    pub(crate) fn statistics(&self, refusals: &Refusals) -> Statistics {
        Statistics {
            connections: 0,
            peers: 0,
            routed_nids: 0,
            frames_in: self.frames_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            frames_out: self.frames_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            refusals: refusals.count.load(Ordering::Relaxed),
        }
    }
}
