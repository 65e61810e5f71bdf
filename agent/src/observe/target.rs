//! From superblock and mountdata to what a device is formatted as.

use super::{Marker, UNFINISHED_LABEL};
use crate::host::{chain, ext4::Superblock};
use lustre_api::device::FormattedAs;
use lustre_types::NidList;
use lustre_wire::mountdata::{Flags, Label, LabelState, Mountdata, Params};
use std::collections::BTreeMap;

/// What a device is formatted as. The label decides on name and state, the file on the rest.
///
/// An unfinished target has its label in the file only. Errors: in words, what can't be read.
pub fn formatted_as(superblock: &Superblock, file: &Mountdata, is_unfinished: bool) -> Result<FormattedAs, String> {
    let volume = Volume {
        label: superblock.label.clone(),
        uuid: superblock.uuid.to_string(),
        size_bytes: superblock.size_bytes(),
    };
    of_volume(volume, file, is_unfinished)
}

/// What the file system says of itself, whatever kind it is.
pub(super) struct Volume {
    pub(super) label: String,
    pub(super) uuid: String,
    pub(super) size_bytes: u64,
}

pub(super) fn of_volume(volume: Volume, file: &Mountdata, is_unfinished: bool) -> Result<FormattedAs, String> {
    let label_text = if is_unfinished { file.svname.to_string_lossy() } else { volume.label.clone() };
    let label: Label = label_text.parse().map_err(|error: lustre_wire::mountdata::LabelError| chain(&error))?;
    let params = Params::parse(&file.params.to_string_lossy()).map_err(|error| chain(&error))?;
    let svname = label.svname();
    let fsname_text = file.fsname.to_string_lossy();
    let mgs_nids = params.values("mgsnode").collect::<Vec<_>>().join(":");
    let mgs_nids = (!mgs_nids.is_empty()).then_some(mgs_nids);
    Ok(FormattedAs {
        kind: svname.kind(),
        fsname: svname.fsname().cloned().or_else(|| fsname_text.parse().ok()),
        index: svname.index(),
        flags: file.flags.0,
        registered: !is_unfinished && is_registered(&label, file),
        incomplete: is_unfinished,
        uuid: volume.uuid,
        mgs_nids: mgs_nids.map(|text| text.parse::<NidList>().map_err(|error| chain(&error))).transpose()?,
        failover_nodes: params
            .values("failover.node")
            .flat_map(|value| match value.parse::<NidList>() {
                Ok(list) => list.nodes().iter().map(|node| nids_of_node(node)).collect(),
                Err(_) => vec![value.to_owned()],
            })
            .collect(),
        mount_options: file.mount_opts.to_string_lossy(),
        params: other_params(&params),
        comment: file.userdata.to_string_lossy(),
        size_bytes: volume.size_bytes,
        label: if is_unfinished { UNFINISHED_LABEL.to_owned() } else { volume.label },
        svname,
    })
}

/// What a device is that has nothing but our mark.
pub(super) fn from_marker(marker: &Marker, size_bytes: u64) -> FormattedAs {
    FormattedAs {
        svname: marker.svname.clone(),
        label: String::new(),
        kind: marker.svname.kind(),
        fsname: marker.svname.fsname().cloned(),
        index: marker.svname.index(),
        flags: 0,
        registered: false,
        incomplete: true,
        uuid: marker.uuid.to_string(),
        mgs_nids: None,
        failover_nodes: Vec::new(),
        mount_options: String::new(),
        params: BTreeMap::new(),
        comment: String::new(),
        size_bytes,
    }
}

/// Whether the target was ever mounted, and so may be registered and hold data.
///
/// The label says so; but a crash between registration and relabelling leaves it at "never", and the label of an MGS
/// never changes. The file gives both away: what mkfs wrote has VIRGIN and UPDATE, the first mount clears UPDATE, and
/// `tunefs` sets UPDATE again but takes VIRGIN away.
fn is_registered(label: &Label, file: &Mountdata) -> bool {
    let is_as_mkfs_left_it = file.flags.contains(Flags::VIRGIN | Flags::UPDATE);
    !is_as_mkfs_left_it || !matches!(label.state(), Some(LabelState::Virgin) | None)
}

fn nids_of_node(node: &[lustre_types::Nid]) -> String {
    node.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What the administrator stored, the file's own entries left out. The last of several values of a key counts.
fn other_params(params: &Params) -> BTreeMap<String, String> {
    let own = ["mgsnode", "failover.node"];
    params
        .0
        .iter()
        .filter(|entry| !own.contains(&entry.key.as_str()))
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::Mkfs;

    fn superblock(label: &str) -> Superblock {
        Superblock {
            label: label.to_owned(),
            uuid: uuid::Uuid::nil(),
            block_bytes: 4096,
            blocks: 1000,
            inodes: 10,
            free_inodes: 0,
            first_inode: 11,
            inodes_per_group: 10,
            inode_bytes: 512,
            first_data_block: 0,
            descriptor_bytes: 32,
            quota_inodes: [3, 4, 12],
            is_clean: true,
            has_mmp: false,
            has_dirdata: false,
            has_quota: true,
            features: [0; 3],
        }
    }

    #[test]
    fn the_label_decides_whether_a_target_is_registered() {
        let mkfs = Mkfs::new(
            "gold-OST0003".parse().unwrap(),
            Some("10.9.0.1@tcp,10.8.0.1@tcp1:10.9.0.2@tcp".parse().unwrap()),
        );
        let file = mkfs.mountdata().unwrap();
        for (label, registered) in [("gold:OST0003", false), ("gold-OST0003", true), ("gold=OST0003", true)] {
            let found = formatted_as(&superblock(label), &file, false).unwrap();
            assert_eq!((found.registered, found.label.as_str(), found.incomplete), (registered, label, false));
        }
        // Renamed by tunefs: the file may lag behind, the label may not.
        let renamed = formatted_as(&superblock("other=OST0004"), &file, false).unwrap();
        assert_eq!(renamed.svname.to_string(), "other-OST0004");
        assert_eq!(renamed.mgs_nids.unwrap().nodes().len(), 2);
    }

    #[test]
    fn an_unfinished_target_is_named_by_its_file_and_never_registered() {
        let file =
            Mkfs::new("gold-OST0003".parse().unwrap(), Some("10.9.0.1@tcp".parse().unwrap())).mountdata().unwrap();
        let found = formatted_as(&superblock(UNFINISHED_LABEL), &file, true).unwrap();
        assert!(found.incomplete && !found.registered);
        assert_eq!(found.svname.to_string(), "gold-OST0003");
    }

    #[test]
    fn a_fresh_mgs_is_told_from_one_that_has_run() {
        let mut file = Mkfs::new(lustre_types::SvName::mgs(), None).mountdata().unwrap();
        assert!(!formatted_as(&superblock("MGS"), &file, false).unwrap().registered);
        for flags in [Flags(0x24), Flags(0x44)] {
            file.flags = flags;
            assert!(formatted_as(&superblock("MGS"), &file, false).unwrap().registered, "{flags:?}");
        }
    }

    #[test]
    fn a_target_that_was_mounted_but_not_relabelled_counts_as_registered() {
        let mut file =
            Mkfs::new("gold-OST0003".parse().unwrap(), Some("10.9.0.1@tcp".parse().unwrap())).mountdata().unwrap();
        assert!(!formatted_as(&superblock("gold:OST0003"), &file, false).unwrap().registered);
        file.flags = file.flags.without(Flags::UPDATE);
        assert!(formatted_as(&superblock("gold:OST0003"), &file, false).unwrap().registered);
    }
}
