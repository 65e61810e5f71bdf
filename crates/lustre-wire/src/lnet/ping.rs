//! Ping info (`struct lnet_ping_info`): the payload of a ping's REPLY and of a push, the NIDs of a node.

use super::{
    PID_LUSTRE,
    nid::{NidForm, WireNid},
};
use crate::bytes::{Reader, WireError, Writer};

/// First word (`LNET_PROTO_PING_MAGIC`).
const MAGIC: u32 = 0x7069_6e67;
/// Bytes before the entries.
const HEAD_LEN: usize = 16;
/// Bytes of an entry.
const ENTRY_LEN: usize = 16;
/// Most entries that anyone takes (`lnet_interfaces_max` of 2.17).
const MAX_ENTRIES: u32 = 4096;

/// What a node can do (`LNET_PING_FEAT_*`). Unknown bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features(pub u32);

impl Features {
    /// Entries have a status. A reply without this bit is refused by every node.
    pub const NI_STATUS: u32 = 0x02;
    /// The node is no router.
    pub const RTE_DISABLED: u32 = 0x04;
    /// The NIDs belong to one node; it takes pushes.
    pub const MULTI_RAIL: u32 = 0x08;
    /// The node takes part in discovery.
    pub const DISCOVERY: u32 = 0x10;
    /// Entries of large NIDs follow.
    pub const LARGE_ADDR: u32 = 0x20;
    /// The first large NID is the primary one.
    pub const PRIMARY_LARGE: u32 = 0x40;
    /// What an end node of 2.12 to 2.17 with discovery says.
    pub const END_NODE: u32 = Self::NI_STATUS | Self::RTE_DISABLED | Self::MULTI_RAIL | Self::DISCOVERY;

    /// True if all of these bits are set.
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// An interface of a node (`struct lnet_ni_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NiEntry {
    /// The interface.
    pub nid: WireNid,
    /// [`NiEntry::UP`], [`NiEntry::DOWN`]; in the loopback entry the sequence number of the info, which nodes overwrite.
    pub status: u32,
    /// 0; in the loopback entry the bytes of the whole info, if it has large NIDs.
    pub msg_size: u32,
}

impl NiEntry {
    /// The interface works.
    pub const UP: u32 = 0x15aa_c0de;
    /// The interface doesn't work.
    pub const DOWN: u32 = 0xdead_face;
}

/// The NIDs of a node, and what it can do.
///
/// Shape: magic, features, pid, count; `count` entries, the first of them loopback and the second the primary NID; with
/// [`Features::LARGE_ADDR`] entries of large NIDs, a status and a NID of its own length each. What follows is kept as is.
/// Source: LNet specification, section 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingInfo {
    /// What the node can do.
    pub features: Features,
    /// Process id, 12345.
    pub pid: u32,
    /// Entries that the node has; more than `entries` where the answer was cut for a small sink.
    pub nnis: u32,
    /// Loopback and 8-byte NIDs.
    pub entries: Vec<NiEntry>,
    /// Status and NID of 20-byte NIDs.
    pub large: Vec<(u32, WireNid)>,
    /// What follows: metadata of 2.17, or part of an entry.
    pub rest: Vec<u8>,
}

impl PingInfo {
    /// The info of an end node with these NIDs, the primary one first, all up; `sequence` is 1 or more.
    pub fn of_end_node(nids: &[WireNid], sequence: u32) -> Self {
        let (classic, large): (Vec<&WireNid>, Vec<&WireNid>) = nids.iter().partition(|nid| nid.classic().is_some());
        let mut features = Features::END_NODE;
        if !large.is_empty() {
            features |= Features::LARGE_ADDR;
        }
        if nids.first().is_some_and(|nid| nid.classic().is_none()) {
            features |= Features::PRIMARY_LARGE;
        }
        let lo = NiEntry { nid: WireNid::LOOPBACK, status: sequence, msg_size: 0 };
        let up = |nid: &&WireNid| NiEntry { nid: **nid, status: NiEntry::UP, msg_size: 0 };
        let mut info = Self {
            features: Features(features),
            pid: PID_LUSTRE,
            nnis: 0,
            entries: std::iter::once(lo).chain(classic.iter().map(up)).collect(),
            large: large.into_iter().map(|nid| (NiEntry::UP, *nid)).collect(),
            rest: Vec::new(),
        };
        info.nnis = u32::try_from(info.entries.len()).unwrap_or(MAX_ENTRIES);
        if !info.large.is_empty() {
            info.entries[0].msg_size = u32::try_from(info.len()).unwrap_or(u32::MAX);
        }
        info
    }

    fn len(&self) -> usize {
        let large: usize = self.large.iter().map(|(_, nid)| large_len(nid)).sum();
        HEAD_LEN + ENTRY_LEN * self.entries.len() + large + self.rest.len()
    }

    /// Reads a payload. Errors: fewer bytes than the head; a big-endian node; no status bit; no or too many entries;
    /// a first entry that isn't loopback. A payload that ends among the entries is one cut for a small sink: no error.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ping info", bytes);
        let magic = reader.u32("pi_magic")?;
        if magic == MAGIC.swap_bytes() {
            return Err(reader.refuse("pi_magic", magic, "is the magic of a big-endian node; those are not served"));
        }
        if magic != MAGIC {
            return Err(reader.refuse("pi_magic", magic, "is not how ping info begins"));
        }
        let features = Features(reader.u32("pi_features")?);
        if !features.has(Features::NI_STATUS) {
            return Err(reader.refuse("pi_features", features.0, "lacks the status bit"));
        }
        let pid = reader.u32("pi_pid")?;
        let nnis = reader.u32("pi_nnis")?;
        if nnis == 0 || nnis > MAX_ENTRIES {
            return Err(reader.refuse("pi_nnis", nnis, "is no possible number of interfaces"));
        }
        let mut info = Self { features, pid, nnis, entries: Vec::new(), large: Vec::new(), rest: Vec::new() };
        for _ in 0..nnis {
            if reader.rest().len() < ENTRY_LEN {
                break;
            }
            let nid = WireNid::decode(&mut reader, "ns_nid", NidForm::Classic)?;
            info.entries.push(NiEntry { nid, status: reader.u32("ns_status")?, msg_size: reader.u32("ns_msg_size")? });
        }
        if let Some(first) = info.entries.first().filter(|first| !first.nid.is_loopback()) {
            let value = first.nid.classic().unwrap_or(0);
            return Err(reader.refuse("ns_nid", value, "is not loopback, which the first entry must be"));
        }
        if features.has(Features::LARGE_ADDR) && !info.is_cut() {
            // The loopback entry says where the large entries end; without it they end with the bytes.
            let total = info.entries.first().map_or(0, |lo| usize::try_from(lo.msg_size).unwrap_or(usize::MAX));
            let read = bytes.len() - reader.rest().len();
            let room = if total == 0 { reader.rest().len() } else { total.saturating_sub(read) };
            let mut larges = Reader::new("ping info", &reader.rest()[..room.min(reader.rest().len())]);
            let mut taken = 0;
            while let Some(entry) = large_entry(&mut larges) {
                taken += large_len(&entry.1);
                info.large.push(entry);
            }
            reader.bytes("large entries", taken)?;
        }
        info.rest = reader.rest().to_vec();
        Ok(info)
    }

    /// True if the sink was too small for all entries: ask again with a bigger one.
    pub fn is_cut(&self) -> bool {
        u32::try_from(self.entries.len()).is_ok_and(|got| got < self.nnis)
    }

    /// The NIDs of the node but loopback, the primary one first.
    pub fn nids(&self) -> Vec<WireNid> {
        let classic = self.entries.iter().skip(1).map(|entry| entry.nid);
        let large = self.large.iter().map(|(_, nid)| *nid);
        if self.features.has(Features::PRIMARY_LARGE) {
            large.chain(classic).collect()
        } else {
            classic.chain(large).collect()
        }
    }

    /// The payload's bytes. A REPLY sends as many of them as its GET's sink holds.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(self.len());
        to.put_u32(MAGIC);
        to.put_u32(self.features.0);
        to.put_u32(self.pid);
        to.put_u32(self.nnis);
        for entry in &self.entries {
            entry.nid.encode(&mut to, NidForm::Classic);
            to.put_u32(entry.status);
            to.put_u32(entry.msg_size);
        }
        for (status, nid) in &self.large {
            to.put_u32(*status);
            to.put_padded(&nid.large()[..nid.own_len()], large_len(nid) - 4);
        }
        to.extend_from_slice(&self.rest);
        to
    }
}

/// Bytes of an entry of a large NID: status, and the NID in its own length, rounded up to words.
fn large_len(nid: &WireNid) -> usize {
    4 + nid.own_len().next_multiple_of(4)
}

/// The next entry of a large NID, or nothing where the bytes are none: their number is written nowhere.
fn large_entry(reader: &mut Reader<'_>) -> Option<(u32, WireNid)> {
    let mut ahead = reader.clone();
    let status = ahead.u32("status").ok()?;
    let size = usize::from(*ahead.rest().first()?);
    let len = 8 + size;
    if len > 20 {
        return None;
    }
    let bytes = ahead.bytes("nid", len.next_multiple_of(4)).ok()?;
    let mut large = [0; 20];
    large[..len].copy_from_slice(&bytes[..len]);
    let nid = WireNid::from_large(large);
    // Padding that isn't zero, or "any", would not survive being written again: what follows then is no such entry.
    if nid.is_any() || bytes[len..].iter().any(|byte| *byte != 0) {
        return None;
    }
    *reader = ahead;
    Some((status, nid))
}

/// Runs the decoder on anything; for fuzzers and property tests. What decodes must encode to the same bytes.
pub fn fuzz_ping(data: &[u8]) {
    if let Ok(info) = PingInfo::decode(data) {
        assert_eq!(info.encode(), data, "a decoded ping info encodes to other bytes");
        let _ = info.nids();
    }
}
