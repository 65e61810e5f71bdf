//! The NID table of imperative recovery: where each target is now. Source: `struct mgs_nidtbl_entry`; MGS specification,
//! section 3.1.

use crate::bytes::{Reader, WireError, Writer};

const WHAT: &str = "mgs_nidtbl_entry";
/// Bytes before the NIDs.
const FIXED_LEN: usize = 24;
/// Size of a NID in its larger form.
const LARGE_LEN: usize = 20;

/// NIDs as they stand in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawNids {
    /// 8-byte numbers.
    Small(Vec<u64>),
    /// `struct lnet_nid`.
    Large(Vec<[u8; LARGE_LEN]>),
}

/// Where a target was at a version of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NidTableEntry {
    /// The version that put it there.
    pub version: u64,
    /// How often the target was mounted.
    pub instance: u32,
    /// Its index.
    pub index: u32,
    /// 1 MDT, 2 OST.
    pub kind: u8,
    /// Its NIDs, one at least.
    pub nids: RawNids,
}

impl RawNids {
    fn encode(&self) -> (u8, u8, usize, Vec<u8>) {
        match self {
            Self::Small(nids) => (0, 8, nids.len(), nids.iter().flat_map(|nid| nid.to_le_bytes()).collect()),
            Self::Large(nids) => (1, 20, nids.len(), nids.concat()),
        }
    }
}

impl NidTableEntry {
    /// Bytes of the entry without padding.
    pub fn len(&self) -> usize {
        FIXED_LEN + self.nids.encode().3.len()
    }

    /// Never: an entry has a head.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, size, count, nids) = self.nids.encode();
        out.put_u64(self.version);
        out.put_u32(self.instance);
        out.put_u32(self.index);
        out.put_u32(u32::try_from(FIXED_LEN + nids.len()).unwrap_or(u32::MAX));
        out.put_u8(self.kind);
        out.put_u8(kind);
        out.put_u8(size);
        out.put_u8(u8::try_from(count).unwrap_or(u8::MAX));
        out.extend_from_slice(&nids);
    }
}

/// Packs entries into at most `room` bytes: as many as fit, in their order. No entry crosses the end of a unit: where the next
/// one would, the last is lengthened up to there. Returns the bytes and how many entries they hold.
pub fn pack_nid_table(entries: &[NidTableEntry], unit_bytes: usize, room: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let (mut packed, mut last) = (0, 0);
    for entry in entries {
        let len = entry.len();
        let left = unit_bytes - out.len() % unit_bytes;
        let pad = if len > left { left } else { 0 };
        if len > unit_bytes || out.len() + pad + len > room {
            break;
        }
        if pad > 0 {
            let length = u32::try_from(out.len() - last + pad).unwrap_or(u32::MAX);
            out[last + 16..last + 20].copy_from_slice(&length.to_le_bytes());
            out.put_zeros(pad);
        }
        last = out.len();
        entry.write(&mut out);
        packed += 1;
    }
    (out, packed)
}

/// Reads what was packed. Errors: cut, a length that the NIDs don't fit, a NID size that nobody has.
pub fn unpack_nid_table(bytes: &[u8]) -> Result<Vec<NidTableEntry>, WireError> {
    let mut r = Reader::new(WHAT, bytes);
    let mut entries = Vec::new();
    while !r.rest().is_empty() {
        let version = r.u64("mne_version")?;
        let instance = r.u32("mne_instance")?;
        let index = r.u32("mne_index")?;
        let length = r.u32("mne_length")?;
        let kind = r.u8("mne_type")?;
        let nid_kind = r.u8("mne_nid_type")?;
        let nid_size = r.u8("mne_nid_size")?;
        let count = r.u8("mne_nid_count")?;
        let nids_len = usize::from(nid_size) * usize::from(count);
        let length_usize = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(padding) = length_usize.checked_sub(FIXED_LEN + nids_len).filter(|_| length <= 4096) else {
            return Err(r.refuse("mne_length", length, "is not that of its NIDs"));
        };
        let raw = r.bytes("nids", nids_len)?;
        let nids = match (nid_kind, nid_size) {
            (0, 8) => RawNids::Small(raw.as_chunks().0.iter().map(|nid| u64::from_le_bytes(*nid)).collect()),
            (1, 20) => RawNids::Large(raw.as_chunks().0.to_vec()),
            _ => return Err(r.refuse("mne_nid_size", nid_size, "is no size of NIDs of that type")),
        };
        r.bytes("padding", padding)?;
        entries.push(NidTableEntry { version, instance, index, kind, nids });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::recorded;
    use proptest::prelude::*;

    fn entry(version: u64, nids: RawNids) -> NidTableEntry {
        NidTableEntry { version, instance: 1, index: 0, kind: 2, nids }
    }

    #[test]
    fn a_recorded_table_decodes_and_packs_to_the_same_bytes() {
        let bytes = recorded(include_str!("../../testdata/mgs/nidtbl-bulk.hex"));
        let entries = unpack_nid_table(&bytes).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.version, entry.kind, entry.index)).collect();
        assert_eq!(seen, [(3, 1, 0), (4, 2, 0), (5, 2, 1)]);
        assert_eq!(pack_nid_table(&entries, 4096, 1 << 20), (bytes.clone(), 3));
        for cut in (1..bytes.len()).filter(|cut| cut % 44 != 0) {
            assert!(unpack_nid_table(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn entries_never_cross_a_unit_and_stop_where_the_room_ends() {
        let entries: Vec<_> = (0..300).map(|n| entry(n, RawNids::Small(vec![n, n]))).collect();
        let (bytes, packed) = pack_nid_table(&entries, 4096, 8192);
        assert_eq!(packed, 2 * (4096 / 40));
        assert_eq!(unpack_nid_table(&bytes).unwrap(), entries[..packed]);
        let last_of_unit = 40 * (4096 / 40 - 1);
        assert_eq!(bytes[last_of_unit + 16..last_of_unit + 20], (40 + 4096 % 40_u32).to_le_bytes());
        assert_eq!(bytes[4096..4104], 102u64.to_le_bytes());
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let (good, _) = pack_nid_table(&[entry(1, RawNids::Large(vec![[7; 20]]))], 4096, 4096);
        for (at, value) in [(16, 0), (16, 24), (17, 0xFF), (21, 9), (22, 7), (23, 0xFF)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert!(unpack_nid_table(&bytes).is_err(), "{value} at {at}");
        }
    }

    proptest! {
        #[test]
        fn packing_and_unpacking_are_inverse(
            sizes in prop::collection::vec((1usize..8, any::<bool>()), 0..200), bits in 12u32..=16,
        ) {
            let entries: Vec<_> = sizes.iter().zip(0u64..).map(|((count, large), version)| {
                entry(version, if *large { RawNids::Large(vec![[3; 20]; *count]) } else { RawNids::Small(vec![version; *count]) })
            }).collect();
            let (bytes, packed) = pack_nid_table(&entries, 1 << bits, 1 << 20);
            prop_assert_eq!(packed, entries.len());
            if bits == 12 {
                prop_assert_eq!(unpack_nid_table(&bytes).unwrap(), entries);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            crate::mgs::fuzz_nid_table(&data);
        }
    }
}
