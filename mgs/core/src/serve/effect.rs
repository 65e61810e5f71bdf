//! What goes in and comes out.

use std::fmt;

use bytes::Bytes;
use lustre_wire::bytes::WireError;
use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::BodyKind;

use crate::serve::RegistrationRequest;

/// A message from the network.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Who sent it.
    pub source: WireNid,
    /// The process there.
    pub pid: u32,
    /// Which of our NIDs it was for.
    pub target: WireNid,
    /// The portal.
    pub portal: u32,
    /// Its match bits: the request's xid.
    pub match_bits: u64,
    /// The message.
    pub payload: &'a [u8],
}

/// A message for the network: an LNet PUT.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// For whom.
    pub to: WireNid,
    /// The process there.
    pub pid: u32,
    /// From which of our NIDs.
    pub from: WireNid,
    /// The portal.
    pub portal: u32,
    /// Its match bits.
    pub match_bits: u64,
    /// Where in the receiver's buffer it goes.
    pub offset: u32,
    /// The message, or its front.
    pub own: Vec<u8>,
    /// What follows it, shared by many messages; empty mostly.
    pub shared: Bytes,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, portal, match_bits, offset, .. } = self;
        let len = self.own.len() + self.shared.len();
        write!(f, "{len} bytes to {to}, portal {portal}, match bits {match_bits:#x}, offset {offset}")
    }
}

/// Names a request that waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send it.
    Send(Outgoing),
    /// Send it, want an acknowledgement, and say with [`crate::serve::Service::bulk_done`] whether it came.
    Bulk(Ticket, Outgoing),
    /// Fetch so many bytes from there and give them to [`crate::serve::Service::nids_fetched`].
    Fetch {
        /// Which request needs it.
        ticket: Ticket,
        /// Who has it.
        from: WireNid,
        /// The process there.
        pid: u32,
        /// Which of our NIDs asks.
        to: WireNid,
        /// The portal.
        portal: u32,
        /// The match bits.
        match_bits: u64,
        /// How many bytes.
        len: u32,
    },
    /// Decide it, commit, and when that is durable say so with [`crate::serve::Service::decided`].
    Decide(Ticket, Box<RegistrationRequest>),
    /// A client came, went, or was thrown out: for the log.
    Client {
        /// What happened.
        what: &'static str,
        /// Where it is.
        nid: WireNid,
        /// Its uuid.
        uuid: String,
    },
}

/// What no sane peer sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A reply where only requests go.
    #[error("a message of kind {0:?} came where only requests are taken")]
    NotARequest(BodyKind),
    /// A portal that isn't served.
    #[error("portal {0} takes no requests")]
    Portal(u32),
}
