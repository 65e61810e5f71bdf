//! What `mkfs.lustre` writes into a new target's mountdata.

use super::{Flags, INDEX_UNASSIGNED, Label, LabelState, Mountdata, MountdataError, Params};
use lustre_types::{FsName, NidList, SvName, TargetKind};
use thiserror::Error;

/// Where else a target may run; the two ways exclude each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failover {
    /// `--failnode`: partners of the node where the target first starts.
    FailNode(NidList),
    /// `--servicenode`: every node that may run it, all of them equal.
    ServiceNode(NidList),
}

/// What a new target shall be, in the terms of `mkfs.lustre`'s options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mkfs {
    /// `--fsname`, `--index` and the kind; `MGS` for a stand-alone one.
    pub svname: SvName,
    /// `--mgs` with `--mdt`: the MDT is the MGS too.
    pub is_combined_mgs: bool,
    /// `--fsname` of a stand-alone MGS: stored, with no other effect.
    pub mgs_fsname: Option<FsName>,
    /// `--mgsnode`; needed unless the target is an MGS itself.
    pub mgs_nids: Option<NidList>,
    /// `--failnode` or `--servicenode`.
    pub failover: Option<Failover>,
    /// `--network`: the only LNet network that the target uses.
    pub network: Option<String>,
    /// `--param`, in order.
    pub params: Params,
    /// `--mountfsoptions`.
    pub mount_opts: Option<String>,
    /// `--comment`.
    pub comment: Option<String>,
    /// `--replace`: takes the place of a lost target with the same index.
    pub is_replacement: bool,
}

/// Why there can be no such target.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MkfsError {
    /// No way to find its MGS.
    #[error("{0} needs the NIDs of its MGS")]
    MgsNidsMissing(SvName),
    /// Only an MDT can be an MGS as well.
    #[error("{0} can't be an MGS at the same time; only an MDT can")]
    CombinedMgs(SvName),
    /// A text doesn't fit into the file.
    #[error("{svname} can't be described in its mountdata")]
    Text {
        /// The target.
        svname: SvName,
        /// The field and its room.
        source: MountdataError,
    },
}

impl Mkfs {
    /// An otherwise plain target `svname`.
    pub fn new(svname: SvName, mgs_nids: Option<NidList>) -> Self {
        Self {
            svname,
            is_combined_mgs: false,
            mgs_fsname: None,
            mgs_nids,
            failover: None,
            network: None,
            params: Params::default(),
            mount_opts: None,
            comment: None,
            is_replacement: false,
        }
    }

    /// True if the disk is an MGS's, alone or combined with an MDT.
    pub fn is_mgs(&self) -> bool {
        self.is_combined_mgs || self.svname.kind() == TargetKind::Mgt
    }

    /// The volume label of the new target.
    pub fn label(&self) -> Label {
        let state = if self.is_replacement { LabelState::Registered } else { LabelState::Virgin };
        Label::with_state(self.svname.clone(), state)
    }

    /// The file, as `mkfs.lustre` 2.17 writes it. Errors: [`MkfsError`].
    pub fn mountdata(&self) -> Result<Mountdata, MkfsError> {
        if self.is_combined_mgs && self.svname.kind() != TargetKind::Mdt {
            return Err(MkfsError::CombinedMgs(self.svname.clone()));
        }
        if self.mgs_nids.is_none() && !self.is_mgs() {
            return Err(MkfsError::MgsNidsMissing(self.svname.clone()));
        }
        let mut file = Mountdata::blank();
        file.flags = self.flags();
        file.svindex = self.svname.index().map_or(INDEX_UNASSIGNED, u32::from);
        self.set_texts(&mut file).map_err(|source| MkfsError::Text { svname: self.svname.clone(), source })?;
        Ok(file)
    }

    fn flags(&self) -> Flags {
        let mut flags = Flags::UPDATE;
        flags |= match self.svname.kind() {
            TargetKind::Mgt => Flags::MGS,
            TargetKind::Mdt => Flags::MDT,
            TargetKind::Ost => Flags::OST,
        };
        if self.is_combined_mgs {
            flags |= Flags::MGS;
        }
        if !self.is_replacement {
            flags |= Flags::VIRGIN;
        }
        if matches!(self.failover, Some(Failover::ServiceNode(_))) {
            flags |= Flags::NO_PRIMNODE;
        }
        flags
    }

    fn set_texts(&self, file: &mut Mountdata) -> Result<(), MountdataError> {
        if let Some(fsname) = self.svname.fsname().or(self.mgs_fsname.as_ref()) {
            file.fsname.set(fsname.as_str())?;
        }
        file.svname.set(&self.label().to_string())?;
        file.userdata.set(self.comment.as_deref().unwrap_or(""))?;
        file.mount_opts.set(&self.mount_opts_text())?;
        file.params.set(&self.all_params().to_string())
    }

    /// The parameters in `mkfs.lustre`'s order: the MGS first.
    fn all_params(&self) -> Params {
        let mut all = Params::default();
        if let Some(nids) = &self.mgs_nids {
            all.push("mgsnode", nids.to_string());
        }
        match &self.failover {
            Some(Failover::FailNode(nids) | Failover::ServiceNode(nids)) => all.push("failover.node", nids.to_string()),
            None => {}
        }
        if let Some(network) = &self.network {
            all.push("network", network.clone());
        }
        all.0.extend(self.params.0.iter().cloned());
        all
    }

    fn mount_opts_text(&self) -> String {
        match &self.mount_opts {
            Some(own) if own.contains("errors=") => own.clone(),
            Some(own) if !own.is_empty() => format!("{own},errors=remount-ro"),
            _ if self.svname.kind() == TargetKind::Ost => "errors=remount-ro".to_owned(),
            _ => "user_xattr,errors=remount-ro".to_owned(),
        }
    }
}
