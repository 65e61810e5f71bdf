//! Writes the label of a target at rest as it should be: after `e2label` by hand, or where a mark was left.
//!
//! Which target it is says its mountdata: file system, kind and index were written with the format, and nothing but
//! `tunefs.lustre` writes them again. The device is guarded, and what is to be written journaled, as for any other change of
//! a target at rest ([`crate::tune`]).

use crate::host::{Device, Host, chain};
use crate::observe::Content;
use crate::tune::{Rewrite, TuneEnd, check_idle, read_back, read_file, replay, take_lock, write};
use lustre_api::agent_ops::{RelabelOp, TuneResult};
use lustre_types::{FsName, SvName, TargetIndex, TargetKind};
use lustre_wire::mountdata::{Flags, Label, LabelState, Mountdata, Tunefs};
use std::path::Path;

/// Writes the label, or goes on writing it where `begun` says that an earlier agent began. `journal` makes durable what is
/// about to be written; nothing is written before that.
pub fn relabel(
    host: &Host,
    op: &RelabelOp,
    begun: Option<&Rewrite>,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<TuneResult, TuneEnd> {
    let device = host.device(Path::new(&op.device))?;
    let path = device.path.display();
    if device.dataset().is_some() {
        return Err(TuneEnd::Refused(format!("{path} is a ZFS dataset, which is not changed from here; use zfs set")));
    }
    let lock = take_lock(host, &device, begun.is_some())?;
    check_idle(host, &device)?;
    if let Some(begun) = begun {
        let uuid = host.superblock(&device)?.map(|superblock| superblock.uuid.to_string());
        if uuid.as_ref() != Some(&begun.uuid) {
            return Err(TuneEnd::Refused(format!("{path} is not the device whose change had begun")));
        }
        write(host, &device, &lock, begun)?;
        return Ok(TuneResult { formatted_as: read_back(host, &device, &op.svname, begun)?, changed: true });
    }
    check_content(host, &device)?;
    if replay(host, &device, &lock)? {
        check_content(host, &device)?;
    }
    let Some(superblock) = host.superblock(&device)? else {
        return Err(TuneEnd::Refused(format!("{path} holds no ext4 file system")));
    };
    let uuid = superblock.uuid.to_string();
    let failed = |message: String| TuneEnd::Failed { message, retryable: false };
    let file = read_file(host, &device, &failed)?;
    check_identity(&device, op, &file, &superblock.label, &uuid)?;
    let (after, label) = rewritten(op, &file, &superblock.label)
        .map_err(|error| TuneEnd::Refused(format!("{} on {path}: {error}", op.svname)))?;
    if label.to_string() == superblock.label
        && let Content::Target(found) = host.observe(&device)?.content
    {
        return Ok(TuneResult { formatted_as: *found, changed: false });
    }
    let rewrite = Rewrite {
        uuid,
        label: label.to_string(),
        flags: after.flags.0,
        svname: after.svname.to_string_lossy(),
        params: after.params.to_string_lossy(),
    };
    journal(&rewrite).map_err(|why| TuneEnd::Failed {
        message: format!("the agent's journal can't be written ({why}), so {path} was not touched"),
        retryable: true,
    })?;
    write(host, &device, &lock, &rewrite)?;
    Ok(TuneResult { formatted_as: read_back(host, &device, &op.svname, &rewrite)?, changed: true })
}

/// There is a finished target on it and nothing else, whatever its label.
fn check_content(host: &Host, device: &Device) -> Result<(), TuneEnd> {
    let path = device.path.display();
    match host.observe(device)?.content {
        Content::Target(found) if found.incomplete => {
            Err(TuneEnd::Refused(format!("the format of {} on {path} did not come to its end", found.svname)))
        }
        // Its label may be why it can't be read.
        Content::Target(_) | Content::Unreadable { .. } => Ok(()),
        other => Err(TuneEnd::Refused(format!("{path} holds {other}, and no target of Lustre"))),
    }
}

/// It is the target that is meant, by what its format wrote.
fn check_identity(device: &Device, op: &RelabelOp, file: &Mountdata, label: &str, uuid: &str) -> Result<(), TuneEnd> {
    let (path, svname) = (device.path.display(), &op.svname);
    match identity(file) {
        Some(found) if found == *svname => {}
        Some(found) => {
            return Err(TuneEnd::Refused(format!("the mountdata of {path} says that it is {found}, not {svname}")));
        }
        None => return Err(TuneEnd::Refused(format!("the mountdata of {path} does not say which target it is"))),
    }
    if let Some(expected) = op.expect_uuid.as_ref().filter(|expected| *expected != uuid) {
        return Err(TuneEnd::Refused(format!("{path} has UUID {uuid}, and {svname} was made with {expected}")));
    }
    // Renamed by somebody, and nothing else is known of it.
    let named = label.parse::<Label>().ok().map(|label| label.svname()).filter(|named| named != svname);
    match (named, &op.expect_uuid) {
        (Some(named), None) => Err(TuneEnd::Refused(format!(
            "the label of {path} says {named} and its mountdata {svname}, and nobody knows the UUID of {svname}; \
             tunefs.lustre can change it"
        ))),
        _ => Ok(()),
    }
}

/// The target that a file was written for; none where it does not say that.
fn identity(file: &Mountdata) -> Option<SvName> {
    let kind = match (file.flags.contains(Flags::OST), file.flags.contains(Flags::MDT)) {
        (true, false) => TargetKind::Ost,
        (false, true) => TargetKind::Mdt,
        (false, false) if file.flags.contains(Flags::MGS) => return Some(SvName::mgs()),
        _ => return None,
    };
    let fsname: FsName = file.fsname.to_string_lossy().parse().ok()?;
    Some(SvName::new(fsname, kind, TargetIndex::try_from(file.svindex).ok()?))
}

/// File and label as they should be. The label says which state it was in; one that says nothing, the flags in the file.
fn rewritten(op: &RelabelOp, file: &Mountdata, label: &str) -> Result<(Mountdata, Label), String> {
    let of_label = label.parse::<Label>().ok().filter(|label| label.svname() == op.svname);
    let of_file = if file.flags.contains(Flags::WRITECONF) {
        LabelState::Writeconf
    } else if file.flags.contains(Flags::VIRGIN | Flags::UPDATE) {
        LabelState::Virgin
    } else {
        LabelState::Registered
    };
    let state = of_label.as_ref().and_then(Label::state).unwrap_or(of_file);
    let now = Label::with_state(op.svname.clone(), state);
    if now == Label::Mgs {
        return Ok((file.clone(), now));
    }
    if op.registered {
        let tunefs = Tunefs { writeconf: Some(false), ..Tunefs::default() };
        return tunefs.apply(file, &now).map_err(|error| chain(&error));
    }
    let virgin = Label::virgin(op.svname.clone());
    let mut after = file.clone();
    after.flags = file.flags.without(Flags::WRITECONF) | Flags::VIRGIN | Flags::UPDATE;
    after.svname.set(&virgin.to_string()).map_err(|error| chain(&error))?;
    Ok((after, virgin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::Mkfs;

    fn file(svname: &str) -> Mountdata {
        Mkfs::new(svname.parse().unwrap(), Some("10.9.0.1@tcp".parse().unwrap())).mountdata().unwrap()
    }

    fn op(registered: bool) -> RelabelOp {
        RelabelOp { svname: "gold-OST0003".parse().unwrap(), device: "/dev/sdb".into(), expect_uuid: None, registered }
    }

    #[test]
    fn a_file_says_which_target_it_was_written_for() {
        for svname in ["gold-OST0003", "gold-MDT0000", "gold-OST001f"] {
            assert_eq!(identity(&file(svname)), Some(svname.parse().unwrap()));
        }
        assert_eq!(identity(&Mkfs::new(SvName::mgs(), None).mountdata().unwrap()), Some(SvName::mgs()));
        let mut wrong = file("gold-OST0003");
        wrong.svindex = lustre_wire::mountdata::INDEX_UNASSIGNED;
        assert_eq!(identity(&wrong), None);
        wrong = file("gold-OST0003");
        wrong.flags |= Flags::MDT;
        assert_eq!(identity(&wrong), None, "it can't be both");
    }

    #[test]
    fn whatever_the_label_was_it_says_what_the_mgs_knows() {
        for before in ["gold-OST0003", "gold:OST0003", "gold=OST0003", "gold+OST0003", "data1", "", "gold-OST0004"] {
            let (after, label) = rewritten(&op(true), &file("gold-OST0003"), before).unwrap();
            assert_eq!(label.to_string(), "gold-OST0003", "after {before}");
            assert!(!after.flags.contains(Flags::WRITECONF), "after {before}");
            let (after, label) = rewritten(&op(false), &file("gold-OST0003"), before).unwrap();
            assert_eq!((label.to_string(), after.flags), ("gold:OST0003".to_owned(), file("gold-OST0003").flags));
        }
    }
}
