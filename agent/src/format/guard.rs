//! What stands against formatting a device.
//!
//! Two kinds of reason. What is in use, too small or can't be read is never formatted, whatever the flags. What merely
//! holds something is formatted if the operation says so for this one target.

use super::{Wanted, zfs};
use crate::host::{
    Device, DeviceKind, Host, HostError, Usage,
    lock::{self, DeviceLock},
    mke2fs::MIN_TARGET_BYTES,
    usage,
};
use crate::observe::{Content, Observed, UNFINISHED_LABEL};
use lustre_api::device::{FormattedAs, Refusal, RefusalCode};
use lustre_types::{ByteSize, NidList};

/// Reasons that hold for any target: who uses the device, its size, what is on it.
///
/// `lock` is that of its disk, where the caller holds it.
///
/// A finished target stands against a format here, registered or not: only [`against`] knows whether it is the one that is
/// wanted.
pub fn refusals(
    host: &Host,
    device: &Device,
    observed: &Observed,
    lock: Option<&DeviceLock>,
) -> Result<Vec<Refusal>, HostError> {
    let mut found = in_use(host, device, lock)?;
    found.extend(too_small(device));
    found.extend(holds(device, &observed.content));
    Ok(found)
}

/// Reasons against making `wanted` of the device, whose `lock` the caller may hold.
pub fn against(
    host: &Host,
    device: &Device,
    observed: &Observed,
    wanted: &Wanted,
    lock: Option<&DeviceLock>,
) -> Result<Vec<Refusal>, HostError> {
    let mut found = in_use(host, device, lock)?;
    found.extend(too_small(device));
    match &observed.content {
        Content::Target(target) if may_be_made_again(target, wanted) => {}
        content => found.extend(holds(device, content)),
    }
    Ok(found)
}

/// Who uses it, by the kernel's tables and by an exclusive open. These are never overridden.
///
/// The open is short, and would be the end of a `mke2fs` that is just starting on the device. So it is done under the lock,
/// which every format holds for as long as its `mke2fs` runs; where somebody else has the lock, it is left out.
fn in_use(host: &Host, device: &Device, lock: Option<&DeviceLock>) -> Result<Vec<Refusal>, HostError> {
    let mut usages = host.usages(device)?;
    if usages.is_empty() && device.number.is_some() {
        let own = if lock.is_none() { lock::lock(&host.root, device)? } else { None };
        if let Some(_held) = lock.or(own.as_ref()) {
            usages.extend(usage::probe_exclusive(device)?);
        }
    }
    Ok(usages.iter().map(|usage| in_use_refusal(device, usage)).collect())
}

fn in_use_refusal(device: &Device, usage: &Usage) -> Refusal {
    let code = match usage {
        Usage::Mounted { .. } | Usage::Served { .. } | Usage::Swap => RefusalCode::Mounted,
        Usage::Partitioned { .. } => RefusalCode::Partitioned,
        Usage::ReadOnly => RefusalCode::Unusable,
        Usage::MultipathPath { .. } | Usage::Holder { .. } | Usage::LoopDevice { .. } | Usage::OpenedExclusively => {
            RefusalCode::Held
        }
    };
    Refusal { code, message: format!("{} is {usage}", device.path.display()) }
}

fn too_small(device: &Device) -> Option<Refusal> {
    // A dataset is as large as its pool lets it be.
    (device.size_bytes < MIN_TARGET_BYTES && device.kind != DeviceKind::Dataset).then(|| Refusal {
        code: RefusalCode::TooSmall,
        message: format!(
            "{} has {}, a target needs at least {}",
            device.path.display(),
            ByteSize(device.size_bytes),
            ByteSize(MIN_TARGET_BYTES)
        ),
    })
}

fn holds(device: &Device, content: &Content) -> Option<Refusal> {
    if device.kind == DeviceKind::Dataset {
        return zfs::holds(device, content);
    }
    let path = device.path.display();
    let (code, message) = match content {
        Content::Blank => return None,
        Content::Target(target) if target.incomplete => return None,
        // Cut off while mke2fs wrote its last blocks: it never was a target.
        Content::Unreadable { label, .. } if label == UNFINISHED_LABEL => return None,
        Content::Target(target) => {
            let mgs = target.mgs_nids.as_ref().map_or_else(String::new, |nids| format!(" of the MGS at {nids}"));
            let state = if target.registered { "registered target" } else { "never registered target" };
            (RefusalCode::LustreTarget, format!("{path} holds the {state} {}{mgs}", target.svname))
        }
        Content::Unreadable { .. } => (RefusalCode::LustreTarget, format!("{path} holds {content}")),
        Content::Foreign(_) => (RefusalCode::ForeignData, format!("{path} holds {content}")),
    };
    Some(Refusal { code, message })
}

/// Never registered, and of the same name: nobody's data is lost.
fn may_be_made_again(found: &FormattedAs, wanted: &Wanted) -> bool {
    !found.registered && found.svname == wanted.svname
}

/// Whether the device holds the wanted target already, so that there is nothing to do.
///
/// A registered target is the wanted one if name and MGS are: its stored parameters have their own life once it is in
/// service. Of a target that was never registered everything that a format decides must be as wanted.
pub fn is_same(found: &FormattedAs, wanted: &Wanted) -> bool {
    if found.incomplete || found.svname != wanted.svname {
        return false;
    }
    if found.registered {
        return shares_a_nid(found.mgs_nids.as_ref(), wanted.mkfs.mgs_nids.as_ref());
    }
    let file = &wanted.mountdata;
    found.flags == file.flags.0
        && found.mgs_nids == wanted.mkfs.mgs_nids
        && found.mount_options == file.mount_opts.to_string_lossy()
        && found.comment == file.userdata.to_string_lossy()
        && found.failover_nodes == wanted_failover(wanted)
        && found.params == wanted.mkfs.params.0.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

fn wanted_failover(wanted: &Wanted) -> Vec<String> {
    use lustre_wire::mountdata::Failover::{FailNode, ServiceNode};
    match &wanted.mkfs.failover {
        Some(FailNode(list) | ServiceNode(list)) => {
            list.nodes().iter().map(|node| node.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")).collect()
        }
        None => Vec::new(),
    }
}

/// Whether two lists mean the same MGS; an MGS's own disk names none.
fn shares_a_nid(found: Option<&NidList>, wanted: Option<&NidList>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(found), Some(wanted)) => {
            found.nodes().iter().flatten().any(|nid| wanted.nodes().iter().flatten().any(|other| other == nid))
        }
        _ => false,
    }
}
