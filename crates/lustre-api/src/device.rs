//! Block devices of a node: what they are, what is on them, and why they may not be formatted.

use lustre_types::{FsName, NidList, SvName, TargetIndex, TargetKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A block device, or an image file or a ZFS dataset that serves as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its canonical path, as in `/dev/sdb`; of a dataset its name, as in `tank/ost0`.
    pub path: String,
    /// Other paths of it, the stable ones (`/dev/disk/by-id/…`) first.
    #[serde(default)]
    pub links: Vec<String>,
    /// `disk`, `part`, `loop`, `dm`, `md`, `file`, `zfs` ...
    pub kind: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The maker's model name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The world wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Whether it is a spinning disk.
    #[serde(default)]
    pub rotational: bool,
    /// Everything that was recognised on it.
    #[serde(default)]
    pub signatures: Vec<Signature>,
    /// What is on it in one line: `blank`, `ext4 label=home uuid=…`, `lustre scratch-OST0001 (registered)`. Deterministic: the same
    /// contents give the same text, so a plan can carry it and an apply compare it.
    pub content: String,
    /// The Lustre target on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted_as: Option<FormattedAs>,
    /// Devices on top of it (partitions, device mapper, md) by name.
    #[serde(default)]
    pub holders: Vec<String>,
    /// Where it is mounted; `[SWAP]` for swap space.
    #[serde(default)]
    pub mountpoints: Vec<String>,
    /// Why it may not be formatted; empty where it may.
    #[serde(default)]
    pub refusals: Vec<Refusal>,
}

impl Device {
    /// A disk of so many bytes on which nothing is.
    pub fn blank(path: impl Into<String>, size_bytes: u64) -> Self {
        Self {
            path: path.into(),
            links: Vec::new(),
            kind: "disk".to_owned(),
            size_bytes,
            model: None,
            serial: None,
            wwn: None,
            rotational: false,
            signatures: Vec::new(),
            content: "blank".to_owned(),
            formatted_as: None,
            holders: Vec::new(),
            mountpoints: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Whether it is a ZFS dataset: as large as its pool lets it be.
    pub fn is_dataset(&self) -> bool {
        self.kind == "zfs"
    }

    /// Whether `path` names this device.
    pub fn is_named(&self, path: &str) -> bool {
        self.path == path || self.links.iter().any(|link| link == path)
    }
}

/// Something recognised on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// What it is, in blkid's words: `ext4`, `xfs`, `LVM2_member`, `linux_raid_member`, `gpt`, `swap` ...; `data` for unknown bytes.
    pub kind: String,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Where on the device it was found, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// One reason against formatting a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// The kind of reason.
    pub code: RefusalCode,
    /// What stands against it, naming the device and what was found.
    pub message: String,
}

/// The kinds of reason against a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// It is mounted or swap space.
    Mounted,
    /// Another device is built on it, or another program holds it.
    Held,
    /// It has partitions.
    Partitioned,
    /// It is too small for this kind of target.
    TooSmall,
    /// It can't be read, or is read-only.
    Unusable,
    /// It holds data that is not ours.
    ForeignData,
    /// It holds a Lustre target that has been registered, or another never registered target.
    LustreTarget,
    /// It is a ZFS dataset that holds something: nothing is destroyed there.
    ZfsDataset,
}

impl RefusalCode {
    /// Whether `allow_reformat` on the target overrides it. What is in use is never formatted, whatever the flags.
    pub fn is_overridable(self) -> bool {
        matches!(self, Self::ForeignData | Self::LustreTarget)
    }
}

/// What a device is formatted as. Source: mountdata specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormattedAs {
    /// The target's name.
    pub svname: SvName,
    /// The volume label as it stands, as in `scratch:OST0001`.
    pub label: String,
    /// What it serves.
    pub kind: TargetKind,
    /// Its file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// Its index; missing on an MGT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<TargetIndex>,
    /// `ldd_flags` of the mountdata.
    pub flags: u32,
    /// Whether it has been registered with an MGS and may hold data; false between the format and the first mount.
    pub registered: bool,
    /// Whether its format was begun and not finished: then it is no target.
    pub incomplete: bool,
    /// UUID of the file system on the device.
    pub uuid: String,
    /// The MGS that it registers with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mgs_nids: Option<NidList>,
    /// `failover.node` of the mountdata: NIDs of its partner nodes.
    #[serde(default)]
    pub failover_nodes: Vec<String>,
    /// The mount options stored on it.
    #[serde(default)]
    pub mount_options: String,
    /// The other parameters stored on it.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The comment stored on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Size of the file system in bytes.
    pub size_bytes: u64,
}
