//! Reading the nodemaps. Source: MGS specification, section 3.4; config-log specification, section 9.

use crate::{client::Mgc, error::MgcError, standing::Standing};
use lustre_wire::{
    bytes::{Reader, WireError},
    ldlm::{ResourceId, ResourceKind},
    lnet::WireNid,
    mgs::{ConfigReadKind, NODEMAP_END},
    ptlrpc::Opcode,
};
use serde::Serialize;
use std::{collections::BTreeMap, ops::Range};

/// Bytes of a page of an index.
const PAGE: usize = 4096;
const PAGE_MAGIC: u32 = 0x8a6d_6b6c;
/// Bytes of key and record.
const ENTRY: usize = 40;
/// Reads that one table may take: the MGS says "begin anew" when it changes meanwhile.
const READS: usize = 1000;
/// Bytes of a fileset's path in a record.
const FRAGMENT: usize = 28;
/// Numbers of a cluster's records with fragments of its first fileset.
const FILESET: Range<u32> = 512..768;
/// Names of [`Nodemap::flags`] and [`Nodemap::flags2`], from the lowest bit on.
const PROPERTIES: [[&str; 8]; 2] = [
    ["admin", "trusted", "deny_unknown", "map_uids", "map_gids", "audit", "forbid_encryption", "map_projids"],
    ["readonly_mount", "deny_mount", "", "gss_identify", "", "", "", ""],
];

/// All nodemaps of an MGS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nodemaps {
    /// True if nodemaps are in force.
    pub is_active: bool,
    /// By id; 0 is the default nodemap.
    pub nodemaps: BTreeMap<u32, Nodemap>,
    /// Records of kinds that are not decoded: offsets, filesets beyond the first.
    pub undecoded_records: usize,
}

/// A nodemap: whose ids are mapped how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nodemap {
    /// Its name.
    pub name: String,
    /// Bits: 1 admin, 2 trusted, 4 deny_unknown, 8 map uid, 0x10 map gid, 0x20 audit, 0x40 forbid encryption,
    /// 0x80 map projid.
    pub flags: u8,
    /// Bits: 1 mounted read-only, 2 not mounted at all, 4 the fileset is in the index, 8 clients are told apart by GSS.
    pub flags2: u8,
    /// Names of the bits that are set, as `nodemap.properties` of the API has them.
    pub properties: Vec<&'static str>,
    /// User id of those that aren't mapped.
    pub squash_uid: u32,
    /// Group id of those that aren't mapped.
    pub squash_gid: u32,
    /// Project id of those that aren't mapped.
    pub squash_projid: u32,
    /// First and last NID of each range.
    pub ranges: Vec<(String, String)>,
    /// The same of the NIDs that are banned.
    pub banned: Vec<(String, String)>,
    /// NIDs with a length in bits, as in `10.1.0.0@tcp/16`.
    pub masks: Vec<String>,
    /// Where its clients find their root; nothing for the file system's.
    pub fileset: Option<String>,
    /// Bits of the roles that it may play (`nodemap.*.rbac`); nothing for the default ones.
    pub roles: Option<u64>,
    /// Client id to file system id, by kind.
    pub ids: BTreeMap<IdKind, BTreeMap<u32, u32>>,
}

/// What an id map maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Users.
    Uid,
    /// Groups.
    Gid,
    /// Projects.
    Projid,
}

impl IdKind {
    /// `uid`, `gid` or `projid`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Projid => "projid",
        }
    }
}

impl Mgc {
    /// All nodemaps; nothing if the MGS has no such thing.
    pub async fn nodemaps(&self) -> Result<Option<Nodemaps>, MgcError> {
        let mut nodemaps = Nodemaps::default();
        let (mut offset, mut pass) = (0, 0u8);
        for _ in 0..READS {
            let read = self.config_read("nodemap", ConfigReadKind::Nodemap, offset, pass).await?;
            let Some((result, data)) = read else { return Ok(None) };
            if result.offset == 0 {
                // They changed between two reads.
                (nodemaps, offset, pass) = (Nodemaps::default(), 0, 0);
                continue;
            }
            let opc = Opcode::MGS_CONFIG_READ;
            for page in data.chunks(PAGE) {
                let malformed = |source| MgcError::Malformed { nid: self.mgs(), opc, source };
                nodemaps.take_page(page).map_err(malformed)?;
            }
            if result.offset == NODEMAP_END {
                return Ok(Some(nodemaps));
            }
            (offset, pass) = (result.offset, u8::try_from(result.size).unwrap_or(1));
        }
        Err(MgcError::BadLog { nid: self.mgs(), log: "nodemap".into(), reason: "it never ends".into() })
    }

    /// Follows the nodemaps, as targets do.
    pub fn follow_nodemaps(&self) -> NodemapFollower {
        let resource = ResourceId::new("nodemap", ResourceKind::Nodemap).expect("it has 7 characters");
        NodemapFollower { standing: Standing::new(self, resource) }
    }
}

/// Who follows the nodemaps.
pub struct NodemapFollower {
    standing: Standing,
}

impl NodemapFollower {
    /// All nodemaps: at the first call as they are, later as soon as they changed; nothing if the MGS has no such thing.
    ///
    /// Errors: the MGS isn't there or refuses; call again to go on.
    pub async fn next(&mut self) -> Result<Option<Nodemaps>, MgcError> {
        let lock = self.standing.take().await?;
        let read = self.standing.mgc.clone().nodemaps().await?;
        self.standing.keep(lock);
        Ok(read)
    }
}

impl Nodemaps {
    fn take_page(&mut self, page: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new("lu_idxpage", page);
        let magic = reader.u32("lip_magic")?;
        if magic != PAGE_MAGIC {
            return Err(reader.refuse("lip_magic", magic, "is no page of an index"));
        }
        reader.u16("lip_flags")?;
        let count = reader.u16("lip_nr")?;
        reader.u64("lip_pad0")?;
        for _ in 0..count {
            let mut entry = Reader::new("nodemap entry", reader.bytes("lip_entries", ENTRY)?);
            let (kind_and_id, sub) = (entry.u32("nk_nodemap_id")?, entry.u32("nk_sub_id")?);
            self.take_entry(kind_and_id >> 28, kind_and_id & 0x0fff_ffff, sub, &mut entry)?;
        }
        Ok(())
    }

    fn take_entry(&mut self, kind: u32, id: u32, sub: u32, record: &mut Reader<'_>) -> Result<(), WireError> {
        let id_kind = match kind {
            0 => return Ok(()),
            1 if sub == 0 => {
                let name: [u8; 17] = record.array("ncr_name")?;
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                let nodemap = self.nodemaps.entry(id).or_default();
                nodemap.name = String::from_utf8_lossy(&name[..end]).into_owned();
                nodemap.flags = record.u8("ncr_flags")?;
                nodemap.flags2 = record.u8("ncr_flags2")?;
                record.u8("ncr_padding")?;
                nodemap.properties = properties([nodemap.flags, nodemap.flags2]);
                nodemap.squash_projid = record.u32("ncr_squash_projid")?;
                nodemap.squash_uid = record.u32("ncr_squash_uid")?;
                nodemap.squash_gid = record.u32("ncr_squash_gid")?;
                return Ok(());
            }
            1 if sub == 1 => {
                self.nodemaps.entry(id).or_default().roles = Some(record.u64("ncr_roles")?);
                return Ok(());
            }
            1 if FILESET.contains(&sub) => {
                // In order: a key's bytes decide it, and the low byte of the number comes first.
                let fragment: [u8; FRAGMENT] = record.array("nfr_fragment")?;
                let end = fragment.iter().position(|byte| *byte == 0).unwrap_or(FRAGMENT);
                let fileset = self.nodemaps.entry(id).or_default().fileset.get_or_insert_default();
                fileset.push_str(&String::from_utf8_lossy(&fragment[..end]));
                return Ok(());
            }
            // Flags of the sub id: 0 is an ordinary range, 1 one of banned NIDs.
            2 if sub >> 28 <= 1 => {
                let mut nid = |field| record.u64(field).map(|nid| WireNid::from_classic(nid).to_string());
                let range = (nid("nrr_start_nid")?, nid("nrr_end_nid")?);
                let nodemap = self.nodemaps.entry(id).or_default();
                if sub >> 28 == 0 { &mut nodemap.ranges } else { &mut nodemap.banned }.push(range);
                return Ok(());
            }
            6 => {
                let prefix = WireNid::from_large(record.array("nar_prefix")?);
                record.bytes("nar_padding", 11)?;
                let mask = record.u8("nar_netmask")?;
                self.nodemaps.entry(id).or_default().masks.push(format!("{prefix}/{mask}"));
                return Ok(());
            }
            3 => IdKind::Uid,
            4 => IdKind::Gid,
            5 => IdKind::Projid,
            15 => {
                self.is_active = record.u8("ngr_is_active")? != 0;
                return Ok(());
            }
            _ => {
                self.undecoded_records += 1;
                return Ok(());
            }
        };
        let fs_id = record.u32("nir_id_fs")?;
        self.nodemaps.entry(id).or_default().ids.entry(id_kind).or_default().insert(sub, fs_id);
        Ok(())
    }
}

fn properties(flags: [u8; 2]) -> Vec<&'static str> {
    let of = |(flags, names): (u8, [&'static str; 8])| {
        names.into_iter().enumerate().filter(move |(bit, name)| flags >> bit & 1 == 1 && !name.is_empty())
    };
    flags.into_iter().zip(PROPERTIES).flat_map(of).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// What a 2.17.57 MGS sent after `nodemap_activate 1`, `nodemap_add nm1`, a range and an id map.
    #[test]
    fn a_recorded_page_says_what_was_configured() {
        let recorded = include_str!("../testdata/nodemap-page.hex");
        let page = hex(recorded.split_once('\n').unwrap().1);
        let mut nodemaps = Nodemaps::default();
        nodemaps.take_page(&page).unwrap();
        assert!(nodemaps.is_active);
        assert_eq!(nodemaps.nodemaps[&0].name, "default");
        let nm1 = &nodemaps.nodemaps[&1];
        assert_eq!((nm1.name.as_str(), nm1.flags, nm1.squash_uid), ("nm1", 0xba, 65534));
        assert_eq!(nm1.ranges, [("10.9.0.100@tcp".to_owned(), "10.9.0.110@tcp".to_owned())]);
        assert_eq!(nm1.ids[&IdKind::Uid], BTreeMap::from([(500, 600)]));
        assert_eq!(nm1.properties, ["trusted", "map_uids", "map_gids", "audit", "map_projids"]);
        assert_eq!(nodemaps.undecoded_records, 0);
        for cut in 0..216 {
            let error = Nodemaps::default().take_page(&page[..cut]).unwrap_err();
            assert!(matches!(error, WireError::Short { .. }), "cut at {cut}: {error}");
        }
    }
}
