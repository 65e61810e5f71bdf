//! NIDs on the wire: 8 bytes (`lnet_nid_t`) and 20 bytes (`struct lnet_nid`).

use crate::bytes::{Reader, WireError, Writer};
use lustre_types::{Lnd, Nid};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

/// Where each field of the 20-byte form lies; numbers in it are big-endian.
pub(super) mod at {
    pub(crate) const SIZE: usize = 0;
    pub(crate) const KIND: usize = 1;
    pub(crate) const NUMBER: core::ops::Range<usize> = 2..4;
    pub(crate) const ADDRESS: core::ops::Range<usize> = 4..20;
    pub(crate) const LEN: usize = 20;
}

/// Bytes of the 8-byte form.
const CLASSIC_LEN: usize = 8;
/// Largest `nid_size`: address bytes beyond the first four.
const MAX_SIZE: u8 = 12;

/// A NID as it travels: 20 bytes, of which an 8-byte NID fills the first eight.
///
/// Any bytes that a peer sends are kept, also of network types that have no name here; [`WireNid::nid`] says which NID
/// it is, if any. Ordered as the kernel compares NIDs (`memcmp`), which decides connection races.
/// Source: LNet specification, section 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireNid([u8; at::LEN]);

/// Which of the two forms the NIDs of a structure have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NidForm {
    /// 8 bytes, little-endian: IPv4 addresses and numbers only.
    Classic,
    /// 20 bytes, big-endian.
    Large,
}

impl NidForm {
    /// Bytes of one NID.
    pub const fn nid_len(self) -> usize {
        match self {
            Self::Classic => CLASSIC_LEN,
            Self::Large => at::LEN,
        }
    }
}

/// A NID on the wire that is none that can be written down: unknown network type, "any", or no NID at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a NID of a known network")]
pub struct NidUnknown(pub WireNid);

impl WireNid {
    /// Any NID (`LNET_ANY_NID`).
    pub const ANY: Self = Self([0xff; at::LEN]);
    /// No NID: all zeros.
    pub const NONE: Self = Self([0; at::LEN]);
    /// `0@lo`.
    pub const LOOPBACK: Self = {
        let mut bytes = [0; at::LEN];
        bytes[at::KIND] = 9;
        Self(bytes)
    };

    /// The NID of an 8-byte value (`lnet_nid_t`).
    pub fn from_classic(value: u64) -> Self {
        if value == u64::MAX {
            return Self::ANY;
        }
        let mut bytes = [0; at::LEN];
        bytes[..CLASSIC_LEN].copy_from_slice(&value.to_be_bytes());
        Self(bytes)
    }

    /// The 8-byte value, if the NID fits into one: IPv6 does not.
    pub fn classic(&self) -> Option<u64> {
        let (head, tail) = self.0.split_first_chunk::<CLASSIC_LEN>().expect("a NID has 20 bytes");
        match tail.iter().all(|byte| *byte == 0) {
            true => Some(u64::from_be_bytes(*head)),
            false => self.is_any().then_some(u64::MAX),
        }
    }

    /// The NID of the 20 bytes of the large form, kept as they are.
    pub const fn from_large(bytes: [u8; at::LEN]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes of the large form.
    pub const fn large(&self) -> [u8; at::LEN] {
        self.0
    }

    /// A NID of an IP address on network `tcp<number>`.
    pub fn tcp(address: IpAddr, number: u16) -> Self {
        let mut nid = Self::NONE;
        nid.0[at::KIND] = 2;
        nid.0[at::NUMBER].copy_from_slice(&number.to_be_bytes());
        nid.put_ip(address);
        nid
    }

    fn put_ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.0[at::ADDRESS][..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => {
                self.0[at::SIZE] = MAX_SIZE;
                self.0[at::ADDRESS].copy_from_slice(&v6.octets());
            }
        }
    }

    /// True for "any NID", whose other bytes mean nothing.
    pub fn is_any(&self) -> bool {
        self.0[at::KIND] == 0xff
    }

    /// True for `0@lo`.
    pub fn is_loopback(&self) -> bool {
        *self == Self::LOOPBACK
    }

    /// The network: LND type and number, as in (2, 1) of `tcp1`.
    pub fn net(&self) -> (u8, u16) {
        (self.0[at::KIND], u16::from_be_bytes([self.0[2], self.0[3]]))
    }

    /// The IP address, on networks that have them.
    pub fn ip(&self) -> Option<IpAddr> {
        let is_ip = Lnd::numbered(self.0[at::KIND]).is_some_and(Lnd::is_ip);
        let address: [u8; 16] = self.0[at::ADDRESS].try_into().expect("the address has 16 bytes");
        match self.0[at::SIZE] {
            _ if !is_ip => None,
            0 => Some(IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3]))),
            MAX_SIZE => Some(IpAddr::V6(address.into())),
            _ => None,
        }
    }

    /// The NID that people write. Errors: [`NidUnknown`] for network types without a name, "any" and "none".
    pub fn nid(&self) -> Result<Nid, NidUnknown> {
        let (kind, number) = self.net();
        let lnd = Lnd::numbered(kind).ok_or(NidUnknown(*self))?;
        let address = match self.ip() {
            Some(ip) => ip.to_string(),
            None if lnd.is_ip() || self.0[at::SIZE] != 0 => return Err(NidUnknown(*self)),
            None => u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]]).to_string(),
        };
        format!("{address}@{}{number}", lnd.name).parse().map_err(|_| NidUnknown(*self))
    }

    /// Bytes that the NID needs where NIDs have their own length (`NID_BYTES`): 8, or 20 for IPv6.
    pub fn own_len(&self) -> usize {
        CLASSIC_LEN + usize::from(if self.is_any() { 0 } else { self.0[at::SIZE] })
    }

    /// True if there is no NID: all zeros.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Takes a NID of that form. Errors: short input; a large NID that says it is longer than 20 bytes.
    pub fn decode(reader: &mut Reader<'_>, field: &'static str, form: NidForm) -> Result<Self, WireError> {
        match form {
            NidForm::Classic => reader.u64(field).map(Self::from_classic),
            NidForm::Large => {
                let nid = Self(reader.array(field)?);
                match nid.0[at::SIZE] {
                    size if size > MAX_SIZE && !nid.is_any() => {
                        Err(reader.refuse(field, size, "is a longer address than a NID has room for"))
                    }
                    _ => Ok(nid),
                }
            }
        }
    }

    /// Appends the NID in that form. One that doesn't fit into 8 bytes is written there as zeros, "no NID": who chooses
    /// the form asks [`WireNid::classic`] first.
    pub fn encode(&self, to: &mut Vec<u8>, form: NidForm) {
        match form {
            NidForm::Classic => to.put_u64(self.classic().unwrap_or(0)),
            NidForm::Large => to.extend_from_slice(&self.0),
        }
    }
}

impl From<&Nid> for WireNid {
    fn from(nid: &Nid) -> Self {
        let mut wire = Self::NONE;
        wire.0[at::KIND] = nid.net().lnd().number;
        wire.0[at::NUMBER].copy_from_slice(&nid.net().number().to_be_bytes());
        match nid.ip() {
            Some(ip) => wire.put_ip(ip),
            None => {
                let number: u32 = nid.address().parse().expect("an address that is no IP is a number");
                wire.0[at::ADDRESS][..4].copy_from_slice(&number.to_be_bytes());
            }
        }
        wire
    }
}

impl From<Nid> for WireNid {
    fn from(nid: Nid) -> Self {
        Self::from(&nid)
    }
}

impl fmt::Display for WireNid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nid() {
            Ok(nid) => nid.fmt(f),
            Err(_) if self.is_any() => f.pad("<?>"),
            Err(_) => {
                let (kind, number) = self.net();
                let used = at::ADDRESS.start + 4 + usize::from(self.0[at::SIZE].min(MAX_SIZE));
                for byte in &self.0[at::ADDRESS.start..used] {
                    write!(f, "{byte:02x}")?;
                }
                write!(f, "@<{kind}:{number}>")
            }
        }
    }
}

impl fmt::Debug for WireNid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Runs both decoders on anything; for fuzzers and property tests.
///
/// What decodes must encode to the same bytes, and a NID with a name must survive being written and read as text.
pub fn fuzz_nid(data: &[u8]) {
    for form in [NidForm::Classic, NidForm::Large] {
        let Ok(nid) = WireNid::decode(&mut Reader::new("nid", data), "nid", form) else { continue };
        let mut again = Vec::new();
        nid.encode(&mut again, form);
        assert_eq!(again, data[..form.nid_len()], "a decoded NID encodes to other bytes");
        if let Ok(named) = nid.nid() {
            assert_eq!(named.to_string().parse().as_ref(), Ok(&named), "NID changes when written as text");
        }
        let _ = nid.to_string();
    }
}
