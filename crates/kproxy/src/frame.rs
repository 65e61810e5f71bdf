//! One frame: a fixed header and its payload. Layout: `struct lmgp_frame`, `kmod/uapi/lustre_mgs_proxy.h`.

use lustre_wire::{
    bytes::{Reader, WireError, Writer},
    lnet::WireNid,
};

#[cfg(target_endian = "big")]
compile_error!("frames are in the byte order of the host, and only little-endian hosts are known to work");

/// `LMGP_MAGIC`.
const MAGIC: u32 = 0x5047_4d4c;
/// `LMGP_VERSION`: the only version there is.
pub const VERSION: u16 = 1;
/// `LMGP_MAX_PAYLOAD`: most bytes that a frame carries.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 160;

/// The portals of an MGS.
pub mod portal {
    /// Lock callbacks, to the nodes.
    pub const CALLBACK: u32 = 15;
    /// The nodes' answers to lock callbacks.
    pub const CALLBACK_ANSWER: u32 = 16;
    /// Lock cancels, from the nodes.
    pub const CANCEL: u32 = 17;
    /// Replies, to the nodes.
    pub const REPLY: u32 = 25;
    /// Requests, from the nodes.
    pub const REQUEST: u32 = 26;
    /// Bulk, to and from the nodes' buffers.
    pub const BULK: u32 = 33;
}

/// What the daemon asks of the proxy: `enum lmgp_command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Command {
    /// First, once: version and limits.
    Hello = 1,
    /// The node's own NIDs.
    Nids = 2,
    /// Take every message of a portal.
    Attach = 3,
    /// Stop taking them.
    Detach = 4,
    /// Send the payload to the peer.
    Put = 5,
    /// Fetch up to `rlength` bytes from a buffer of the peer.
    Get = 6,
    /// One buffer for one message that matches.
    Post = 7,
    /// Take back a post.
    Unlink = 8,
}

/// What the proxy tells the daemon: `enum lmgp_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Event {
    /// What was agreed.
    Hello = 0x101,
    /// The node's NIDs.
    Nids = 0x102,
    /// A message came.
    Put = 0x103,
    /// What a get fetched.
    Reply = 0x104,
    /// The peer took a put.
    Ack = 0x105,
    /// A put left; a post was used up or taken back.
    Done = 0x106,
}

impl Event {
    fn of(kind: u16) -> Option<Self> {
        [Self::Hello, Self::Nids, Self::Put, Self::Reply, Self::Ack, Self::Done]
            .into_iter()
            .find(|event| *event as u16 == kind)
    }
}

/// Flags of commands: `LMGP_ACK`, `LMGP_NOTIFY`, `LMGP_READABLE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Put: tell when the peer has taken it.
    pub const ACK: Self = Self(1);
    /// Put: tell when it has left, or could not.
    pub const NOTIFY: Self = Self(2);
    /// Post: the payload waits for a get of the peer.
    pub const READABLE: Self = Self(4);
}

/// An LNet process: a NID and a process id, 12345 for Lustre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its NID; [`WireNid::NONE`] for any, or none.
    pub nid: WireNid,
    /// Its process id; 0 for Lustre's.
    pub pid: u32,
}

impl Process {
    /// No process, or any.
    pub const NONE: Self = Self { nid: WireNid::NONE, pid: 0 };
}

/// A frame of either direction. Fields that a kind doesn't use are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of a [`Command`] or [`Event`].
    pub kind: u16,
    /// Events: 0, or a negative errno.
    pub status: i32,
    /// The daemon's name for a command; its events have it too.
    pub cookie: u64,
    /// LNet's match bits.
    pub match_bits: u64,
    /// LNet's header data.
    pub hdr_data: u64,
    /// The portal.
    pub portal: u32,
    /// Offset in the receiver's buffer, bytes.
    pub offset: u32,
    /// Get, post: bytes of the buffer. Events: bytes on the wire.
    pub rlength: u32,
    /// Flags of commands.
    pub flags: Flags,
    /// The other process.
    pub peer: Process,
    /// Which of our NIDs.
    pub local: Process,
    /// Events: the router that passed it on, or the peer.
    pub via: WireNid,
    /// Events: counts up by one within a session.
    pub sequence: u64,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// Why bytes are no frame that this version understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Cut, or a field with an impossible value.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The header's length is not that of the bytes behind it.
    #[error("a frame says that it has {said} bytes of payload and has {got}")]
    Length {
        /// What the header says.
        said: u32,
        /// What there is.
        got: usize,
    },
}

impl Frame {
    /// A command with everything else zero.
    pub fn command(kind: Command) -> Self {
        Self {
            kind: kind as u16,
            status: 0,
            cookie: 0,
            match_bits: 0,
            hdr_data: 0,
            portal: 0,
            offset: 0,
            rlength: 0,
            flags: Flags::default(),
            peer: Process::NONE,
            local: Process::NONE,
            via: WireNid::NONE,
            sequence: 0,
            payload: Vec::new(),
        }
    }

    /// Which event this is, if it is one.
    pub fn event(&self) -> Option<Event> {
        Event::of(self.kind)
    }

    /// Decodes a whole frame, as one `read()` gives it.
    ///
    /// Errors: [`FrameError`], for a wrong magic or version, reserved bytes that are set, and lengths that disagree.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new("proxy frame", bytes);
        let magic = reader.u32("magic")?;
        if magic != MAGIC {
            return Err(reader.refuse("magic", magic, "is not LMGP").into());
        }
        let version = reader.u16("version")?;
        if version != VERSION {
            return Err(reader.refuse("version", version, "is unknown; do the module and the daemon match?").into());
        }
        let kind = reader.u16("type")?;
        let length = reader.u32("length")?;
        let status = i32::from_le_bytes(reader.array("status")?);
        let (cookie, match_bits, hdr_data) =
            (reader.u64("cookie")?, reader.u64("match_bits")?, reader.u64("hdr_data")?);
        let (portal, offset) = (reader.u32("portal")?, reader.u32("offset")?);
        let (rlength, flags) = (reader.u32("rlength")?, Flags(reader.u32("flags")?));
        let peer = Process { nid: WireNid::from_large(reader.array("peer")?), pid: reader.u32("peer_pid")? };
        let local = Process { nid: WireNid::from_large(reader.array("self")?), pid: reader.u32("self_pid")? };
        let via = WireNid::from_large(reader.array("via")?);
        let reserved0 = reader.u32("reserved0")?;
        let sequence = reader.u64("sequence")?;
        let reserved: [u8; 24] = reader.array("reserved")?;
        if reserved0 != 0 || reserved != [0; 24] {
            return Err(reader.refuse("reserved", reserved0, "must be zero").into());
        }
        let payload = reader.rest();
        if u32::try_from(payload.len()) != Ok(length) || payload.len() > MAX_PAYLOAD {
            return Err(FrameError::Length { said: length, got: payload.len() });
        }
        let payload = payload.to_vec();
        Ok(Self {
            kind,
            status,
            cookie,
            match_bits,
            hdr_data,
            portal,
            offset,
            rlength,
            flags,
            peer,
            local,
            via,
            sequence,
            payload,
        })
    }

    /// The bytes of one `write()`. A payload over [`MAX_PAYLOAD`] is the caller's error; the device refuses it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.payload.len());
        bytes.put_u32(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(self.kind);
        bytes.put_u32(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        bytes.extend_from_slice(&self.status.to_le_bytes());
        bytes.put_u64(self.cookie);
        bytes.put_u64(self.match_bits);
        bytes.put_u64(self.hdr_data);
        bytes.put_u32(self.portal);
        bytes.put_u32(self.offset);
        bytes.put_u32(self.rlength);
        bytes.put_u32(self.flags.0);
        for process in [&self.peer, &self.local] {
            bytes.extend_from_slice(&process.nid.large());
            bytes.put_u32(process.pid);
        }
        bytes.extend_from_slice(&self.via.large());
        bytes.put_zeros(4);
        bytes.put_u64(self.sequence);
        bytes.put_zeros(24);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Reads anything as a frame; for fuzzers.
pub fn fuzz_proxy_frame(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(frame.encode(), data, "a frame that was understood has these bytes");
    }
}
