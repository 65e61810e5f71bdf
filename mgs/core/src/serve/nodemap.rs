//! The nodemaps as they are sent to targets: pages of keys and records. Source: MGS specification, section 3.4; config-log
//! specification, section 9.

use lustre_api::nodemap::NodemapSpec;
use lustre_plan::FILESET_FRAGMENT;
use lustre_types::NodemapName;
use lustre_wire::bytes::Writer;
use lustre_wire::lnet::WireNid;

use crate::state::State;

/// Size of a page.
pub(super) const PAGE_LEN: usize = 4096;
/// Bytes of a page before its entries.
const HEAD_LEN: usize = 16;
/// Magic of a page.
const PAGE_MAGIC: u32 = 0x8A6D_6B6C;
/// The most entries of a page, of 40 bytes each.
const PAGE_ENTRIES: usize = (PAGE_LEN - HEAD_LEN) / 40;

/// Kinds of records, in the highest four bits of a key.
mod kind {
    pub(super) const CLUSTER: u32 = 1;
    pub(super) const RANGE: u32 = 2;
    pub(super) const UID: u32 = 3;
    pub(super) const GID: u32 = 4;
    pub(super) const PROJID: u32 = 5;
    pub(super) const GLOBAL: u32 = 15;
}

/// In the highest four bits of a range's number: it is on the ban list.
const BANNED: u32 = 1;
/// The number of a cluster's first fragment of its first fileset.
const FIRST_FILESET: u32 = 512;

/// Flags of a cluster.
mod flag {
    pub(super) const ADMIN: u8 = 1;
    pub(super) const TRUSTED: u8 = 2;
    pub(super) const DENY_UNKNOWN: u8 = 4;
    pub(super) const MAP_UID: u8 = 8;
    pub(super) const MAP_GID: u8 = 0x10;
    pub(super) const AUDIT: u8 = 0x20;
    pub(super) const FORBID_ENCRYPTION: u8 = 0x40;
    pub(super) const MAP_PROJID: u8 = 0x80;
}

/// More flags of a cluster.
mod flag2 {
    pub(super) const READONLY_MOUNT: u8 = 1;
    pub(super) const DENY_MOUNT: u8 = 2;
    /// Set on every cluster by 2.17.57.
    pub(super) const FILESET_IN_INDEX: u8 = 4;
    pub(super) const GSS_IDENTIFY: u8 = 8;
}

/// A key and its record.
type Entry = ([u8; 8], [u8; 32]);

/// All nodemaps in pages; one with the default nodemap, inactive, where nobody made any.
pub(super) fn pages(state: &State) -> Vec<u8> {
    let entries = entries(state);
    let mut pages = Vec::with_capacity(entries.len().div_ceil(PAGE_ENTRIES) * PAGE_LEN);
    for chunk in entries.chunks(PAGE_ENTRIES) {
        let begin = pages.len();
        pages.put_u32(PAGE_MAGIC);
        pages.put_u16(0);
        pages.put_u16(u16::try_from(chunk.len()).expect("at most 102"));
        pages.put_u64(0);
        for (key, record) in chunk {
            pages.extend_from_slice(key);
            pages.extend_from_slice(record);
        }
        pages.resize(begin + PAGE_LEN, 0);
    }
    pages
}

/// Clusters first, so that a reader knows all nodemaps before their ranges and ids; each part ordered by the bytes of its
/// keys, as an index of the kernel is.
fn entries(state: &State) -> Vec<Entry> {
    let name: NodemapName = NodemapName::DEFAULT.parse().expect("it is a name");
    let default = NodemapSpec::new(name.clone());
    let default = state.nodemaps.get(&name).map_or(&default, |nodemap| &nodemap.value.spec);
    let (mut clusters, mut rest) = (vec![(key(kind::CLUSTER, 0, 0), cluster(default))], Vec::new());
    for (name, nodemap) in &state.nodemaps {
        let (id, spec) = (nodemap.value.id, &nodemap.value.spec);
        if !name.is_default() {
            clusters.push((key(kind::CLUSTER, id, 0), cluster(spec)));
        }
        let regular = nodemap.value.ranges.iter().map(|(number, range)| (*number, range));
        let banned = nodemap.value.banned.iter().map(|(number, range)| (BANNED << 28 | *number, range));
        for (number, range) in regular.chain(banned) {
            let classic = |nid: lustre_types::Nid| WireNid::from(&nid).classic().unwrap_or_default();
            let mut record = [0; 32];
            record[..8].copy_from_slice(&classic(range.first()).to_le_bytes());
            record[8..16].copy_from_slice(&classic(range.last()).to_le_bytes());
            rest.push((key(kind::RANGE, id, number), record));
        }
        rest.extend(fileset(spec).into_iter().map(|(sub, record)| (key(kind::CLUSTER, id, sub), record)));
        for (kind, ids) in [(kind::UID, &spec.uids), (kind::GID, &spec.gids), (kind::PROJID, &spec.projids)] {
            for (client, fs) in ids {
                let mut record = [0; 32];
                record[..4].copy_from_slice(&fs.to_le_bytes());
                rest.push((key(kind, id, *client), record));
            }
        }
    }
    let mut global = [0; 32];
    global[0] = u8::from(state.nodemaps_active());
    rest.push((key(kind::GLOBAL, 0, 0), global));
    clusters.sort_unstable();
    rest.sort_unstable();
    clusters.extend(rest);
    clusters
}

/// The path of a fileset in fragments, with the number of each. Source: config-log specification, sections 9.1 and 9.2; that
/// fragments count from 0 is an assumption.
fn fileset(spec: &NodemapSpec) -> Vec<(u32, [u8; 32])> {
    let path = spec.fileset.as_deref().unwrap_or_default().as_bytes();
    let fragments = path.chunks(FILESET_FRAGMENT).enumerate().map(|(n, fragment)| {
        let n = u16::try_from(n).expect("a path of at most 4095 bytes has 147 fragments");
        let mut record = [0; 32];
        record[..fragment.len()].copy_from_slice(fragment);
        record[28..30].copy_from_slice(&n.to_le_bytes());
        (FIRST_FILESET + u32::from(n), record)
    });
    fragments.collect()
}

fn key(kind: u32, id: u32, sub: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&(kind << 28 | id).to_le_bytes());
    key[4..].copy_from_slice(&sub.to_le_bytes());
    key
}

fn cluster(spec: &NodemapSpec) -> [u8; 32] {
    let bits = |of: &[(bool, u8)]| of.iter().filter(|(is_set, _)| *is_set).fold(0, |bits, (_, bit)| bits | bit);
    let flags = bits(&[
        (spec.admin, flag::ADMIN),
        (spec.trusted, flag::TRUSTED),
        (spec.deny_unknown, flag::DENY_UNKNOWN),
        (spec.map_uids, flag::MAP_UID),
        (spec.map_gids, flag::MAP_GID),
        (spec.audit, flag::AUDIT),
        (spec.forbid_encryption, flag::FORBID_ENCRYPTION),
        (spec.map_projids, flag::MAP_PROJID),
    ]);
    let flags2 = bits(&[
        (spec.readonly_mount, flag2::READONLY_MOUNT),
        (spec.deny_mount, flag2::DENY_MOUNT),
        (spec.gss_identify, flag2::GSS_IDENTIFY),
        (true, flag2::FILESET_IN_INDEX),
    ]);
    let mut record = Vec::with_capacity(32);
    record.put_padded(spec.name.as_str().as_bytes(), 17);
    record.put_u8(flags);
    record.put_u8(flags2);
    record.put_u8(0);
    for id in [spec.squash_projid, spec.squash_uid, spec.squash_gid] {
        record.put_u32(id);
    }
    record.try_into().expect("17 + 3 + 12 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::record::{ActiveRecord, Change, NodemapRecord, Record};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn entry(page: &[u8], n: usize) -> String {
        hex(&page[HEAD_LEN + 40 * n..][..40])
    }

    #[test]
    fn an_mgs_without_nodemaps_sends_what_a_kernel_mgs_sends() {
        // As 2.17.57 answered a target's first read.
        let pages = pages(&State::default());
        assert_eq!(pages.len(), PAGE_LEN);
        assert_eq!(hex(&pages[..16]), "6c6b6d8a00000200".to_owned() + &"0".repeat(16));
        let default =
            "0000001000000000".to_owned() + &hex(b"default") + &"00".repeat(10) + "b80400" + &"feff0000".repeat(3);
        assert_eq!(entry(&pages, 0), default);
        assert_eq!(entry(&pages, 1), "000000f000000000".to_owned() + &"00".repeat(32));
        assert!(pages[16 + 80..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_nodemap_with_a_range_and_a_user_is_sent_as_recorded() {
        // 2.17.57 with nodemap nm1: trusted, 10.9.0.[100-110]@tcp, uid 500 of the client is 600; nodemaps in force.
        let name: NodemapName = "nm1".parse().unwrap();
        let range: lustre_types::NidRange = "10.9.0.[100-110]@tcp".parse().unwrap();
        let mut spec = NodemapSpec::new(name.clone());
        spec.trusted = true;
        spec.ranges.insert(range.clone());
        spec.uids.insert(500, 600);
        let record =
            NodemapRecord { id: 1, ranges: [(1, range)].into(), banned: Default::default(), spec, confirm: None };
        let mut state = State::default();
        state.apply(1, Change { key: Key::Nodemap(name), record: Some(Record::Nodemap(Box::new(record))) });
        state.apply(
            2,
            Change {
                key: Key::NodemapsActive,
                record: Some(Record::NodemapsActive(ActiveRecord { active: true, confirm: None })),
            },
        );
        let pages = pages(&state);
        assert_eq!(hex(&pages[4..8]), "00000500", "five records");
        assert!(entry(&pages, 0).starts_with("0000001000000000"), "the default cluster");
        let cluster =
            "0100001000000000".to_owned() + &hex(b"nm1") + &"00".repeat(14) + "ba0400" + &"feff0000".repeat(3);
        assert_eq!(entry(&pages, 1), cluster);
        assert_eq!(entry(&pages, 2), "000000f00000000001".to_owned() + &"00".repeat(31));
        assert_eq!(entry(&pages, 3), "01000020010000006400090a000002006e00090a00000200".to_owned() + &"00".repeat(16));
        assert_eq!(entry(&pages, 4), "01000030f401000058020000".to_owned() + &"00".repeat(28));
    }

    #[test]
    fn a_fileset_goes_in_fragments_and_banned_ranges_are_flagged() {
        let name: NodemapName = "jail".parse().unwrap();
        let mut spec = NodemapSpec::new(name.clone());
        spec.fileset = Some(format!("/{}", "p".repeat(30)));
        spec.gss_identify = true;
        let banned: lustre_types::NidRange = "10.9.0.7@tcp".parse().unwrap();
        let record =
            NodemapRecord { id: 2, ranges: Default::default(), banned: [(5, banned)].into(), spec, confirm: None };
        let mut state = State::default();
        state.apply(1, Change { key: Key::Nodemap(name), record: Some(Record::Nodemap(Box::new(record))) });
        let pages = pages(&state);
        assert_eq!(hex(&pages[4..8]), "00000600", "two clusters, global, two fragments, a range");
        assert!(entry(&pages, 1).contains("b80c00feff"), "GSS identity beside fileset in the index");
        assert_eq!(entry(&pages, 3), "0200001000020000".to_owned() + "2f" + &"70".repeat(27) + "00000000");
        assert_eq!(entry(&pages, 4), "0200001001020000".to_owned() + "707070" + &"00".repeat(25) + "01000000");
        assert!(entry(&pages, 5).starts_with("0200002005000010"), "the ban list's flag: {}", entry(&pages, 5));
    }

    #[test]
    fn many_records_go_into_several_pages() {
        let name: NodemapName = "many".parse().unwrap();
        let mut spec = NodemapSpec::new(name.clone());
        spec.uids = (0..500).map(|id| (id, id + 1000)).collect();
        let record =
            NodemapRecord { id: 1, ranges: Default::default(), banned: Default::default(), spec, confirm: None };
        let mut state = State::default();
        state.apply(1, Change { key: Key::Nodemap(name), record: Some(Record::Nodemap(Box::new(record))) });
        // 503 records, 102 to a page.
        assert_eq!(pages(&state).len(), 5 * PAGE_LEN);
    }
}
