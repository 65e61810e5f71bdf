//! What users of the network send and receive.

use bytes::Bytes;
use lustre_wire::lnet::{PID_LUSTRE, WireNid};
use std::fmt;

/// Who sends or receives: a NID and a process id there (`struct lnet_process_id`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The node.
    pub nid: WireNid,
    /// 12345 for a kernel and for this implementation.
    pub pid: u32,
}

impl ProcessId {
    /// Lustre on that node.
    pub fn lustre(nid: impl Into<WireNid>) -> Self {
        Self { nid: nid.into(), pid: PID_LUSTRE }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.nid)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Data of a message: bytes of its own, then bytes that many messages share and that are never copied.
///
/// A reply with a block of a config log is a few hundred bytes of its own and one [`Bytes`] that thousands of replies hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// First part.
    pub own: Vec<u8>,
    /// Second part.
    pub shared: Bytes,
}

impl Payload {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(own: Vec<u8>) -> Self {
        Self { own, shared: Bytes::new() }
    }
}

impl From<Bytes> for Payload {
    fn from(shared: Bytes) -> Self {
        Self { own: Vec::new(), shared }
    }
}

/// A PUT to send: at most 1 MiB of payload.
#[derive(Clone, Debug)]
pub struct Put {
    /// Who it is for.
    pub to: ProcessId,
    /// Which of the own NIDs sends it: a reply comes from the NID that the request was for.
    pub from: WireNid,
    /// Portal at the receiver.
    pub portal: u32,
    /// What the receiver matches.
    pub match_bits: u64,
    /// Opaque, for the receiver; 0 in all that Lustre's RPCs send.
    pub hdr_data: u64,
    /// Where in the receiver's buffer the payload goes.
    pub offset: u32,
    /// The data.
    pub payload: Payload,
}

/// A GET to send.
#[derive(Clone, Copy, Debug)]
pub struct Get {
    /// Who has the data.
    pub to: ProcessId,
    /// Which of the own NIDs asks.
    pub from: WireNid,
    /// Portal at the other node.
    pub portal: u32,
    /// What the other node matches.
    pub match_bits: u64,
    /// Most bytes wanted.
    pub sink_length: u32,
}

/// A PUT that arrived, its payload borrowed from the read buffer: copy what outlives the call.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Who sent it; behind a router, the node itself and not the router.
    pub source: ProcessId,
    /// Which of the own NIDs it was for.
    pub target: WireNid,
    /// Portal.
    pub portal: u32,
    /// Match bits: the xid of a request.
    pub match_bits: u64,
    /// Opaque, from the sender.
    pub hdr_data: u64,
    /// Where the sender wants the data in the receiver's buffer.
    pub offset: u32,
    /// The data.
    pub payload: &'a [u8],
}

impl Incoming<'_> {
    /// A PUT back to the sender, from the NID that this one was for.
    pub fn answer(&self, portal: u32, match_bits: u64, offset: u32, payload: impl Into<Payload>) -> Put {
        let payload = payload.into();
        Put { to: self.source, from: self.target, portal, match_bits, hdr_data: 0, offset, payload }
    }
}

/// Why an answer (ACK, REPLY, or data for something attached) won't come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It didn't come in time.
    #[error("no answer in time")]
    TimedOut,
    /// A connection to the peer is gone, and what was under way with it.
    #[error("the connection is lost")]
    Disconnected,
}
