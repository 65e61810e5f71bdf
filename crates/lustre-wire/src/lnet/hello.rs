//! socklnd HELLO (`struct ksock_hello_msg`): who the two ends of a connection are, and what the connection is for.

use super::nid::{NidForm, WireNid};
use crate::bytes::{Reader, WireError, Writer};
use std::fmt;

/// First word (`LNET_PROTO_MAGIC`).
const MAGIC: u32 = 0x4572_6963;
/// First word of the HELLO of version 1, the `dest_nid` of an LNet header (`LNET_PROTO_TCP_MAGIC`).
const MAGIC_V1: u32 = 0xeebc_0ded;
/// Most addresses that a HELLO may list (`LNET_INTERFACES_NUM`).
pub const MAX_IPS: usize = 16;

/// A version of the socket protocol, and of the frames that follow its HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HelloVersion {
    /// Lustre 1.8 and older 2.x.
    V2,
    /// All of Lustre 2.12 to 2.17, over IPv4.
    V3,
    /// Since Lustre 2.15, over IPv6: large NIDs.
    V4,
}

impl HelloVersion {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// The form of NIDs in HELLO and headers.
    pub const fn nid_form(self) -> NidForm {
        match self {
            Self::V2 | Self::V3 => NidForm::Classic,
            Self::V4 => NidForm::Large,
        }
    }
}

/// What a connection carries, as the end that names it sees it (`SOCKLND_CONN_*`). Unknown numbers are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnType(pub u32);

impl ConnType {
    /// Anything: of nodes with `typed_conns=0`.
    pub const ANY: Self = Self(0);
    /// Small messages, both ways.
    pub const CONTROL: Self = Self(1);
    /// I receive bulk here.
    pub const BULK_IN: Self = Self(2);
    /// I send bulk here.
    pub const BULK_OUT: Self = Self(3);
    /// No connection: the answer that refuses one, or asks to try again later.
    pub const NONE: Self = Self(u32::MAX);

    /// The type as the other end sees it.
    pub const fn inverted(self) -> Self {
        match self {
            Self::BULK_IN => Self::BULK_OUT,
            Self::BULK_OUT => Self::BULK_IN,
            other => other,
        }
    }

    /// True for the four types that a connection can have.
    pub const fn is_known(self) -> bool {
        self.0 <= Self::BULK_OUT.0
    }
}

impl fmt::Debug for ConnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ANY => f.write_str("any"),
            Self::CONTROL => f.write_str("control"),
            Self::BULK_IN => f.write_str("bulk-in"),
            Self::BULK_OUT => f.write_str("bulk-out"),
            Self::NONE => f.write_str("none"),
            Self(other) => write!(f, "type {other}"),
        }
    }
}

/// A HELLO. The side that dialled sends it behind its acceptor request; the listener answers with one in the same version.
///
/// Shape: versions 2 and 3 have 56 bytes and up to 16 IPv4 addresses; version 4 has 80 bytes and none.
/// Source: LNet specification, section 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of this HELLO and of the frames behind it.
    pub version: HelloVersion,
    /// The sender.
    pub src_nid: WireNid,
    /// Who it is for; a refusal of an unknown version names the sender again.
    pub dst_nid: WireNid,
    /// Process id of the sender: [`super::PID_LUSTRE`] of kernel nodes.
    pub src_pid: u32,
    /// Not checked by anyone.
    pub dst_pid: u32,
    /// When the sender's interface started: constant while it lives, another one afterwards.
    pub src_incarnation: u64,
    /// 0, not checked by anyone.
    pub dst_incarnation: u64,
    /// What the connection is for, as the sender sees it.
    pub ctype: ConnType,
    /// Addresses of the sender; of 2.12 and 2.14 only, and of no use. At most [`MAX_IPS`]; none in version 4.
    pub ips: Vec<u32>,
}

impl Hello {
    /// Takes a HELLO. Errors: short input; other magic or version; a big-endian peer; too many or zero addresses.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let magic = reader.u32("kshm_magic")?;
        if magic == MAGIC.swap_bytes() {
            return Err(reader.refuse("kshm_magic", magic, "is the magic of a big-endian node; those are not served"));
        }
        if magic == MAGIC_V1 {
            return Err(reader.refuse("kshm_magic", magic, "is HELLO version 1, which nothing since Lustre 1.6 sends"));
        }
        if magic != MAGIC {
            return Err(reader.refuse("kshm_magic", magic, "is not how a HELLO begins"));
        }
        let version = match reader.u32("kshm_version")? {
            2 => HelloVersion::V2,
            3 => HelloVersion::V3,
            4 => HelloVersion::V4,
            other => return Err(reader.refuse(VERSION, other, "is none of 2, 3 and 4")),
        };
        let form = version.nid_form();
        let mut hello = Self {
            version,
            src_nid: WireNid::decode(reader, "kshm_src_nid", form)?,
            dst_nid: WireNid::decode(reader, "kshm_dst_nid", form)?,
            src_pid: reader.u32("kshm_src_pid")?,
            dst_pid: reader.u32("kshm_dst_pid")?,
            src_incarnation: reader.u64("kshm_src_incarnation")?,
            dst_incarnation: reader.u64("kshm_dst_incarnation")?,
            ctype: ConnType(reader.u32("kshm_ctype")?),
            ips: Vec::new(),
        };
        let nips = reader.u32("kshm_nips")?;
        let count = usize::try_from(nips).unwrap_or(usize::MAX);
        if version == HelloVersion::V4 {
            return match nips {
                0 => Ok(hello),
                _ => Err(reader.refuse("kshm_nips", nips, "must be 0 in version 4")),
            };
        }
        if count > MAX_IPS {
            return Err(reader.refuse("kshm_nips", nips, "is more than 16"));
        }
        for _ in 0..count {
            match reader.u32("kshm_ips")? {
                0 => return Err(reader.refuse("kshm_ips", 0u32, "is no address")),
                ip => hello.ips.push(ip),
            }
        }
        Ok(hello)
    }

    /// Appends the HELLO. Its addresses are left out in version 4, and those beyond [`MAX_IPS`] always.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let form = self.version.nid_form();
        to.put_u32(MAGIC);
        to.put_u32(self.version.number());
        self.src_nid.encode(to, form);
        self.dst_nid.encode(to, form);
        to.put_u32(self.src_pid);
        to.put_u32(self.dst_pid);
        to.put_u64(self.src_incarnation);
        to.put_u64(self.dst_incarnation);
        to.put_u32(self.ctype.0);
        let ips = if self.version == HelloVersion::V4 { &[] } else { &self.ips[..self.ips.len().min(MAX_IPS)] };
        to.put_u32(u32::try_from(ips.len()).expect("at most 16"));
        for ip in ips {
            to.put_u32(*ip);
        }
    }

    /// True if decoding failed because of the version alone: such a peer gets our HELLO before it is closed, so that it
    /// learns which version to use.
    pub fn is_unknown_version(error: &WireError) -> bool {
        matches!(error, WireError::Value { field: VERSION, .. })
    }
}

const VERSION: &str = "kshm_version";

/// Runs the decoder on anything; for fuzzers and property tests. What decodes must encode to the same bytes.
pub fn fuzz_hello(data: &[u8]) {
    let mut reader = Reader::new("hello", data);
    if let Ok(hello) = Hello::decode(&mut reader) {
        let mut again = Vec::new();
        hello.encode(&mut again);
        let used = data.len() - reader.rest().len();
        assert_eq!(again, data[..used], "a decoded HELLO encodes to other bytes");
    }
}
