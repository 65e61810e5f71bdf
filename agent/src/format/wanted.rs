//! The target that a format shall make, checked before anything is touched.

use crate::host::{
    Device,
    mke2fs::{Backing, UserOptions, UserOptionsError},
};
use lustre_api::agent::FormatOp;
use lustre_types::{Dataset, DatasetError, NidList, SvName, TargetKind};
use lustre_wire::mountdata::{Failover, Mkfs, MkfsError, MountType, Mountdata};
use std::path::PathBuf;
use thiserror::Error;

/// A target that can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub svname: SvName,
    /// The device, as given.
    pub device: PathBuf,
    /// What `mkfs.lustre` would have been told.
    pub mkfs: Mkfs,
    /// The file to write.
    pub mountdata: Mountdata,
    options: UserOptions,
    dataset_options: Vec<(String, String)>,
}

/// Why there can be no such target; `attribute` is the field of [`FormatOp`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WantedError {
    /// The device's path is relative.
    #[error("device path {0:?} must be absolute")]
    RelativeDevice(String),
    /// A parameter that can't be stored, or is set otherwise.
    #[error("parameter {key:?}: {why}")]
    Param {
        /// Its name.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Mount options with blanks in them.
    #[error("mount options {0:?} must be one list with commas and without blanks")]
    MountOptions(String),
    /// Options for mke2fs.
    #[error(transparent)]
    MkfsOptions(#[from] UserOptionsError),
    /// The name of a ZFS dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Options for a ZFS dataset.
    #[error(
        "option {0:?} for a ZFS dataset; only settings may be given, as in -o compression=lz4, and neither those that Lustre needs as they are (canmount, mountpoint, quotas, user properties) nor encryption"
    )]
    DatasetOption(String),
    /// What a pool shall be made of.
    #[error(
        "vdev {0:?}: a new ZFS pool is made of absolute paths and the words mirror, raidz, draid, spare, log, cache, special and dedup; other targets take none"
    )]
    Vdev(String),
    /// The rest.
    #[error("{}", crate::host::chain(.0))]
    Mkfs(#[from] MkfsError),
}

impl WantedError {
    /// The field that is wrong.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::RelativeDevice(_) => "device",
            Self::Param { .. } => "params",
            Self::MountOptions(_) => "mount_options",
            Self::MkfsOptions(_) | Self::DatasetOption(_) => "mkfs_options",
            Self::Dataset(_) => "device",
            Self::Vdev(_) => "vdevs",
            Self::Mkfs(MkfsError::MgsNidsMissing(_)) => "mgs_nids",
            Self::Mkfs(_) => "svname",
        }
    }
}

impl Wanted {
    /// What an operation asks for. Errors: [`WantedError`].
    pub fn from_op(op: &FormatOp) -> Result<Self, WantedError> {
        let device = PathBuf::from(&op.device);
        let dataset = Dataset::is_meant(&op.device).then(|| op.device.parse::<Dataset>()).transpose()?;
        if dataset.is_none() && !device.is_absolute() {
            return Err(WantedError::RelativeDevice(op.device.clone()));
        }
        if let Some(word) = op.vdevs.iter().find(|word| dataset.is_none() || !Dataset::is_vdev(word)) {
            return Err(WantedError::Vdev(word.clone()));
        }
        let mut mkfs = Mkfs::new(op.svname.clone(), op.mgs_nids.clone());
        mkfs.mgs_fsname = op.fsname.clone();
        mkfs.failover = failover(&op.failover_nodes);
        mkfs.comment = op.comment.clone();
        if let Some(options) = &op.mount_options {
            if options.contains(char::is_whitespace) {
                return Err(WantedError::MountOptions(options.clone()));
            }
            mkfs.mount_opts = Some(options.clone());
        }
        for (key, value) in &op.params {
            check_param(key, value)?;
            mkfs.params.push(key, value);
        }
        let given = op.mkfs_options.as_deref().unwrap_or("");
        if dataset.is_none() {
            let mountdata = mkfs.mountdata()?;
            let options = UserOptions::parse(given)?;
            return Ok(Self {
                svname: op.svname.clone(),
                device,
                mkfs,
                mountdata,
                options,
                dataset_options: Vec::new(),
            });
        }
        if op.svname.kind() == TargetKind::Ost && !op.params.contains_key("autodegrade") {
            mkfs.params.push("autodegrade", "on");
        }
        let mut mountdata = mkfs.mountdata()?;
        mountdata.mount_type = MountType::ZFS;
        // What mountdata says when nobody says anything are options of ext4.
        mountdata
            .mount_opts
            .set(op.mount_options.as_deref().unwrap_or(""))
            .map_err(|source| MkfsError::Text { svname: op.svname.clone(), source })?;
        let dataset_options = dataset_options(given)?;
        Ok(Self {
            svname: op.svname.clone(),
            device,
            mkfs,
            mountdata,
            options: UserOptions::default(),
            dataset_options,
        })
    }

    /// Settings of a new ZFS dataset that the administrator chose.
    pub fn dataset_options(&self) -> &[(String, String)] {
        &self.dataset_options
    }

    /// The file system below it on `device`.
    pub fn backing(&self, device: &Device) -> Backing {
        Backing {
            kind: self.svname.kind(),
            device_bytes: device.size_bytes,
            has_failover: self.mkfs.failover.is_some(),
            user: self.options.clone(),
        }
    }
}

/// `-o name=value` words, as `mkfs.lustre --mkfsoptions` takes them for ZFS.
fn dataset_options(line: &str) -> Result<Vec<(String, String)>, WantedError> {
    let mut options = Vec::new();
    let mut words = line.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let wrong = || WantedError::DatasetOption(word.to_owned());
        let setting = if word == "-o" { words.next() } else { word.strip_prefix("-o") };
        let (name, value) = setting.and_then(|setting| setting.split_once('=')).ok_or_else(wrong)?;
        let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let is_kept = ["canmount", "mountpoint", "encryption", "readonly"].contains(&name)
            || ["key", "quota", "refquota"].iter().any(|start| name.starts_with(start));
        if name.is_empty() || value.is_empty() || !is_plain || is_kept {
            return Err(WantedError::DatasetOption(format!("{name}={value}")));
        }
        options.push((name.to_owned(), value.to_owned()));
    }
    Ok(options)
}

fn failover(nodes: &[NidList]) -> Option<Failover> {
    let nodes = nodes.iter().flat_map(|list| list.nodes().iter().cloned()).collect();
    NidList::new(nodes).map(Failover::FailNode)
}

fn check_param(key: &str, value: &str) -> Result<(), WantedError> {
    let refuse = |why| Err(WantedError::Param { key: key.to_owned(), why });
    match key {
        "mgsnode" => return refuse("is stored from mgs_nids"),
        "failover.node" => return refuse("is stored from failover_nodes"),
        _ => {}
    }
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_word(key) || key.contains('=') {
        return refuse("is no name of a parameter");
    }
    if is_word(value) { Ok(()) } else { refuse("needs a value without blanks") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op() -> FormatOp {
        serde_json::from_value(serde_json::json!({
            "svname": "scratch-OST0001", "device": "/dev/sdb", "mgs_nids": "10.0.0.1@tcp",
        }))
        .unwrap()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let wrong = |change: &dyn Fn(&mut FormatOp)| {
            let mut op = op();
            change(&mut op);
            Wanted::from_op(&op).unwrap_err().attribute()
        };
        assert_eq!(wrong(&|op| op.device = "sdb".into()), "device");
        assert_eq!(wrong(&|op| op.mgs_nids = None), "mgs_nids");
        assert_eq!(wrong(&|op| op.mkfs_options = Some("-F".into())), "mkfs_options");
        assert_eq!(wrong(&|op| op.mount_options = Some("a b".into())), "mount_options");
        for (key, value) in
            [("mgsnode", "x"), ("failover.node", "x"), ("a b", "x"), ("a=b", "x"), ("", "x"), ("a", ""), ("a", "x\ny")]
        {
            assert_eq!(wrong(&|op| op.params = [(key.to_owned(), value.to_owned())].into()), "params", "{key}={value}");
        }
        assert_eq!(wrong(&|op| op.comment = Some("x".repeat(5000))), "svname");
    }

    #[test]
    fn a_dataset_takes_settings_and_vdevs_and_a_device_takes_neither() {
        let mut op = op();
        op.vdevs = vec!["mirror".into(), "/dev/sda".into(), "/dev/sdb".into()];
        assert_eq!(Wanted::from_op(&op).unwrap_err().attribute(), "vdevs");
        op.device = "tank/ost1".into();
        op.mkfs_options = Some("-o compression=off -oatime=off".into());
        let wanted = Wanted::from_op(&op).unwrap();
        let given: Vec<&str> = wanted.dataset_options().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(given, ["compression", "atime"]);
        assert_eq!(wanted.mountdata.params.to_string_lossy(), " mgsnode=10.0.0.1@tcp autodegrade=on");
        assert_eq!(wanted.mountdata.mount_opts.to_string_lossy(), "");
        for wrong in [
            "-O x=y",
            "-o",
            "-o canmount=on",
            "-o lustre:flags=1",
            "-o mountpoint=/",
            "-o encryption=on",
            "compression=off",
        ] {
            let error = Wanted::from_op(&FormatOp { mkfs_options: Some(wrong.into()), ..op.clone() }).unwrap_err();
            assert_eq!(error.attribute(), "mkfs_options", "{wrong}");
        }
        for wrong in ["sda", "-f", "mirrors", "--"] {
            let error = Wanted::from_op(&FormatOp { vdevs: vec![wrong.into()], ..op.clone() }).unwrap_err();
            assert_eq!(error.attribute(), "vdevs", "{wrong}");
        }
        op.device = "tank/../x".into();
        assert_eq!(Wanted::from_op(&op).unwrap_err().attribute(), "device");
    }

    #[test]
    fn partner_nodes_become_failover_nodes() {
        let mut op = op();
        op.failover_nodes = vec!["10.0.0.3@tcp,10.1.0.3@o2ib".parse().unwrap(), "10.0.0.4@tcp".parse().unwrap()];
        let wanted = Wanted::from_op(&op).unwrap();
        assert_eq!(
            wanted.mountdata.params.to_string_lossy(),
            " mgsnode=10.0.0.1@tcp failover.node=10.0.0.3@tcp,10.1.0.3@o2ib:10.0.0.4@tcp"
        );
    }
}
