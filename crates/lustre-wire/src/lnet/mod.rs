//! LNet over TCP: acceptor request, HELLO, frames, message headers, ping and discovery.
//!
//! A connection begins with an [`AcceptorRequest`] and a [`Hello`] from the side that dialled, and a [`Hello`] back. Then
//! come frames: a [`FrameHeader`], and behind one that says so an LNet [`Header`] and its payload. Which of the two NID
//! forms a header has was settled by the HELLO's version ([`HelloVersion::nid_form`]).
//!
//! Everything is little-endian but the 20-byte NID, which is big-endian for all. Peers of the other byte order are
//! recognised by their magic and refused.

mod acceptor;
mod frame;
mod header;
mod hello;
mod nid;
mod ping;
#[cfg(test)]
mod tests;

pub use acceptor::{AcceptorRequest, fuzz_acceptor};
pub use frame::{FrameHeader, FrameKind, checksum, fuzz_frame};
pub use header::{Body, Header, MAX_PAYLOAD, WireHandle, fuzz_header};
pub use hello::{ConnType, Hello, HelloVersion, MAX_IPS, fuzz_hello};
pub use nid::{NidForm, NidUnknown, WireNid, fuzz_nid};
pub use ping::{Features, NiEntry, PingInfo, fuzz_ping};

/// The process id of every kernel node, in HELLO, headers and ping info (`LNET_PID_LUSTRE`).
pub const PID_LUSTRE: u32 = 12345;
/// The portal of pings and pushes (`LNET_RESERVED_PORTAL`).
pub const RESERVED_PORTAL: u32 = 0;
/// Match bits of pings and pushes on [`RESERVED_PORTAL`] (`LNET_PROTO_PING_MATCHBITS`).
pub const PING_MATCH_BITS: u64 = 0x8000_0000_0000_0000;
