//! What a target's device says to its MGS, and what is written back.

use super::UserspaceError;
use crate::{
    host::{Device, Host, chain},
    observe::Identity,
};
use lustre_types::{Nid, NidList, SvName};
use lustre_wire::{
    mgs::target_flag,
    mountdata::{Flags, Label, LabelState, Mountdata, Params},
};
use std::path::Path;

/// Who a target says it is.
pub(super) struct OnDisk {
    device: Device,
    identity: Identity,
    /// `mti_flags` of its registration, without the operation.
    pub(super) flags: u32,
    /// `mti_params`: all but `mgsnode`, one blank behind each.
    pub(super) params: String,
    /// NIDs of its MGS, all nodes in a row.
    pub(super) mgs: Vec<Nid>,
}

impl OnDisk {
    /// Reads the device. Errors: it holds another target, or none; its mountdata can't be read, or names no MGS.
    pub(super) fn read(host: &Host, svname: &SvName, path: &Path) -> Result<Self, UserspaceError> {
        let device = host.device(path)?;
        let wrong =
            |why: String| UserspaceError::Disk { svname: svname.clone(), device: path.display().to_string(), why };
        let identity = host.identity(&device)?;
        let Identity { label, file } = &identity;
        if label.svname() != *svname {
            return Err(wrong(format!("the device holds {}", label.svname())));
        }
        let params = Params::parse(&file.params.to_string_lossy()).map_err(|error| wrong(chain(&error)))?;
        let mut mgs = Vec::new();
        for list in params.values("mgsnode") {
            let list: NidList = list.parse().map_err(|error: lustre_types::NidError| wrong(chain(&error)))?;
            mgs.extend(list.nodes().iter().flatten().cloned());
        }
        if mgs.is_empty() {
            return Err(wrong(
                "its mountdata names no MGS; an MGS itself is not started by the userspace driver".into(),
            ));
        }
        let others = params.0.iter().filter(|entry| entry.key != "mgsnode");
        let params = others.map(|entry| format!("{}={} ", entry.key, entry.value)).collect();
        Ok(Self { flags: flags(label, file), device, identity, params, mgs })
    }

    /// As `mount.lustre` does. Durable on return.
    pub(super) fn mark_registered(&self, host: &Host) -> Result<(), UserspaceError> {
        Ok(host.mark_registered(&self.device, &self.identity)?)
    }
}

/// What a mount makes of label and file: the label decides on VIRGIN and WRITECONF, and both ask for an update.
fn flags(label: &Label, file: &Mountdata) -> u32 {
    let kept = Flags::MDT | Flags::OST | Flags::MGS | Flags::NO_PRIMNODE | Flags::UPDATE;
    let of_file = file.flags.0 & kept.0;
    of_file
        | match label.state() {
            Some(LabelState::Virgin) => target_flag::VIRGIN | target_flag::UPDATE,
            Some(LabelState::Writeconf) => target_flag::WRITECONF | target_flag::UPDATE,
            Some(LabelState::NoLocalLogs | LabelState::Registered) | None => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::Mkfs;

    /// Against the flags that kernel targets sent: MGS specification, section 1.2.
    #[test]
    fn flags_are_those_of_a_kernel_target() {
        let nids = || Some("10.9.0.1@tcp".parse().unwrap());
        let ost = Mkfs::new("gold-OST0000".parse().unwrap(), nids()).mountdata().unwrap();
        let mdt = Mkfs::new("gold-MDT0000".parse().unwrap(), nids()).mountdata().unwrap();
        let label = |text: &str| text.parse::<Label>().unwrap();
        let registered = |file: &Mountdata| {
            let mut file = file.clone();
            file.flags = file.flags.without(Flags::UPDATE);
            file
        };
        assert_eq!(flags(&label("gold:MDT0000"), &mdt), 0x61);
        assert_eq!(flags(&label("gold:OST0000"), &ost), 0x62);
        assert_eq!(flags(&label("gold-OST0000"), &registered(&ost)), 0x02);
        assert_eq!(flags(&label("gold-OST0000"), &ost), 0x42);
        assert_eq!(flags(&label("gold=OST0000"), &registered(&ost)), 0x142);
    }
}
