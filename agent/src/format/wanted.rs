//! The target that a format shall make, checked before anything is touched.

use crate::host::{
    Device,
    mke2fs::{Backing, UserOptions, UserOptionsError},
};
use lustre_api::agent::FormatOp;
use lustre_types::{NidList, SvName};
use lustre_wire::mountdata::{Failover, Mkfs, MkfsError, Mountdata};
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
            Self::MkfsOptions(_) => "mkfs_options",
            Self::Mkfs(MkfsError::MgsNidsMissing(_)) => "mgs_nids",
            Self::Mkfs(_) => "svname",
        }
    }
}

impl Wanted {
    /// What an operation asks for. Errors: [`WantedError`].
    pub fn from_op(op: &FormatOp) -> Result<Self, WantedError> {
        let device = PathBuf::from(&op.device);
        if !device.is_absolute() {
            return Err(WantedError::RelativeDevice(op.device.clone()));
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
        let mountdata = mkfs.mountdata()?;
        let options = UserOptions::parse(op.mkfs_options.as_deref().unwrap_or(""))?;
        Ok(Self { svname: op.svname.clone(), device, mkfs, mountdata, options })
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
