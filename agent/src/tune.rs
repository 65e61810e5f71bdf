//! Changes what a target at rest says of itself: label and `CONFIGS/mountdata`, natively, as `tunefs.lustre` does.
//!
//! Every check of a format stands before the first write: use, exclusive open, lock of the disk, contents, multi-mount
//! protection, the file system that the plan saw. What is to be written is journaled first and written anew after a crash,
//! so a file that was torn in the middle is no matter. The label comes last: it decides.

use crate::host::{
    Device, Host, HostError, chain,
    lock::{self, DeviceLock},
    usage,
};
use crate::observe::Content;
use lustre_api::{
    agent_ops::{TuneOp, TuneResult},
    device::FormattedAs,
};
use lustre_types::{NidList, SvName};
use lustre_wire::mountdata::{Flags, Label, Mountdata, Tunefs};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

/// What is journaled before the first write: all that is written, so that it can be written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// UUID of the file system.
    pub uuid: String,
    /// The new label.
    pub label: String,
    /// `ldd_flags`.
    pub flags: u32,
    /// `ldd_svname`.
    pub svname: String,
    /// `ldd_params`.
    pub params: String,
}

/// Why a target was not changed.
#[derive(Debug)]
pub enum TuneEnd {
    /// Nothing was touched.
    Refused(String),
    /// It didn't work.
    Failed {
        /// What happened, and what is on the device now.
        message: String,
        /// Whether the same may work later.
        retryable: bool,
    },
}

impl From<HostError> for TuneEnd {
    fn from(error: HostError) -> Self {
        Self::Failed { message: chain(&error), retryable: false }
    }
}

/// Makes the change, or goes on making it where `begun` says that an earlier agent began. `journal` makes durable what is
/// about to be written; nothing is written before that.
pub fn tune(
    host: &Host,
    op: &TuneOp,
    begun: Option<&Rewrite>,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<TuneResult, TuneEnd> {
    let device = host.device(Path::new(&op.device))?;
    if device.dataset().is_some() {
        let message =
            format!("{} is a ZFS dataset, which is not changed from here; use tunefs.lustre", device.path.display());
        return Err(TuneEnd::Refused(message));
    }
    let lock = take_lock(host, &device, begun.is_some())?;
    if let Some(begun) = begun {
        check_idle(host, &device)?;
        let uuid = host.superblock(&device)?.map(|superblock| superblock.uuid.to_string());
        if uuid.as_ref() != Some(&begun.uuid) {
            let message = format!("{} is not the device whose change had begun", device.path.display());
            return Err(TuneEnd::Refused(message));
        }
        write(host, &device, &lock, begun)?;
        return Ok(TuneResult { formatted_as: read_back(host, &device, &op.svname, begun)?, changed: true });
    }
    check_idle(host, &device)?;
    let found = the_target(host, &device, &lock, op)?;
    let tunefs = Tunefs {
        writeconf: op.writeconf,
        mgs_nids: op.mgs_nids.clone(),
        failover: op
            .failover_nodes
            .as_ref()
            .map(|nodes| NidList::new(nodes.iter().flat_map(|list| list.nodes().iter().cloned()).collect())),
    };
    let failed = |message: String| TuneEnd::Failed { message, retryable: false };
    let on = |what: &dyn std::error::Error| format!("{} on {}: {}", op.svname, device.path.display(), chain(what));
    let label: Label = found.label.parse().map_err(|error: lustre_wire::mountdata::LabelError| failed(on(&error)))?;
    let file = read_file(host, &device, &failed)?;
    let (after, label_after) = tunefs.apply(&file, &label).map_err(|error| TuneEnd::Refused(on(&error)))?;
    if after == file && label_after == label {
        return Ok(TuneResult { formatted_as: found, changed: false });
    }
    let rewrite = Rewrite {
        uuid: found.uuid,
        label: label_after.to_string(),
        flags: after.flags.0,
        svname: after.svname.to_string_lossy(),
        params: after.params.to_string_lossy(),
    };
    journal(&rewrite).map_err(|why| TuneEnd::Failed {
        message: format!("the agent's journal can't be written ({why}), so {} was not touched", device.path.display()),
        retryable: true,
    })?;
    write(host, &device, &lock, &rewrite)?;
    Ok(TuneResult { formatted_as: read_back(host, &device, &op.svname, &rewrite)?, changed: true })
}

pub(crate) fn take_lock(host: &Host, device: &Device, had_begun: bool) -> Result<DeviceLock, TuneEnd> {
    let asked = Instant::now();
    let patience = if had_begun { lock::PATIENCE_WITH_OWN } else { lock::PATIENCE };
    loop {
        if let Some(lock) = lock::lock(&host.root, device)? {
            return Ok(lock);
        }
        if asked.elapsed() > patience {
            let message = format!(
                "{} is locked by another program that works on its disk; `lslocks` says which",
                device.path.display()
            );
            return Err(TuneEnd::Failed { message, retryable: true });
        }
        thread::sleep(lock::PAUSE);
    }
}

/// Nobody uses it: by the kernel's tables, by an exclusive open, and by the multi-mount protection of other nodes.
pub(crate) fn check_idle(host: &Host, device: &Device) -> Result<(), TuneEnd> {
    let path = device.path.display();
    let mut usages = host.usages(device)?;
    if usages.is_empty() {
        usages.extend(usage::probe_exclusive(device)?);
    }
    if !usages.is_empty() {
        let users: Vec<String> = usages.iter().map(ToString::to_string).collect();
        let message = format!("{path} is {}; stop the target first, no option overrides this", users.join(", and "));
        return Err(TuneEnd::Refused(message));
    }
    let superblock = host.superblock(device)?;
    if superblock.is_some_and(|superblock| superblock.has_mmp) && host.is_mounted_elsewhere(device)? {
        let message = format!("{path} is mounted on another node, says its multi-mount protection");
        return Err(TuneEnd::Refused(message));
    }
    Ok(())
}

/// What is there, which must be the target that is meant; its journal is empty afterwards.
fn the_target(host: &Host, device: &Device, lock: &DeviceLock, op: &TuneOp) -> Result<FormattedAs, TuneEnd> {
    let found = match host.observe(device)?.content {
        Content::Target(found) if found.svname == op.svname && !found.incomplete => found,
        other => {
            let message = format!("{} holds {other}, not {}", device.path.display(), op.svname);
            return Err(TuneEnd::Refused(message));
        }
    };
    if let Some(expected) = op.expect_uuid.as_ref().filter(|expected| **expected != found.uuid) {
        let message =
            format!("{} holds {} with UUID {}, the plan saw {expected}", device.path.display(), op.svname, found.uuid);
        return Err(TuneEnd::Refused(message));
    }
    if replay(host, device, lock)? {
        return the_clean_target(host, device, op);
    }
    Ok(*found)
}

/// Empties the journal of a file system that was cut off: replayed by the next mount it could bring the old label back.
/// Whether there was anything to do. Errors: it can't be replayed.
pub(crate) fn replay(host: &Host, device: &Device, lock: &DeviceLock) -> Result<bool, TuneEnd> {
    if host.superblock(device)?.is_none_or(|superblock| superblock.is_clean) {
        return Ok(false);
    }
    host.replay_journal(device, lock)?;
    if host.superblock(device)?.is_none_or(|superblock| superblock.needs_recovery()) {
        let message =
            format!("{} was not unmounted and its journal can't be replayed; run e2fsck on it", device.path.display());
        return Err(TuneEnd::Failed { message, retryable: false });
    }
    Ok(true)
}

/// Once more, for the journal may have changed what is there.
fn the_clean_target(host: &Host, device: &Device, op: &TuneOp) -> Result<FormattedAs, TuneEnd> {
    match host.observe(device)?.content {
        Content::Target(found) if found.svname == op.svname && !found.incomplete => Ok(*found),
        other => Err(TuneEnd::Refused(format!("{} holds {other}, not {}", device.path.display(), op.svname))),
    }
}

pub(crate) fn read_file(
    host: &Host,
    device: &Device,
    failed: &dyn Fn(String) -> TuneEnd,
) -> Result<Mountdata, TuneEnd> {
    let bytes = host.mountdata(device)?.unwrap_or_default();
    Mountdata::decode(&bytes).map_err(|error| failed(format!("{}: {}", device.path.display(), chain(&error))))
}

/// The file, onto the medium; then the label. What a torn write left in the fields that are not written here is what was
/// there before.
pub(crate) fn write(host: &Host, device: &Device, lock: &DeviceLock, rewrite: &Rewrite) -> Result<(), TuneEnd> {
    let path: &PathBuf = &device.path;
    let failed = |message: String| TuneEnd::Failed { message, retryable: false };
    let mut file = read_file(host, device, &failed)?;
    file.flags = Flags(rewrite.flags);
    let set = file.svname.set(&rewrite.svname).and_then(|()| file.params.set(&rewrite.params));
    set.map_err(|error| failed(format!("{}: {}", path.display(), chain(&error))))?;
    host.write_mountdata(device, &file)?;
    host.sync(device)?;
    host.set_label_at_rest(device, Some(lock), &rewrite.label)?;
    host.sync(device)?;
    Ok(())
}

pub(crate) fn read_back(
    host: &Host,
    device: &Device,
    svname: &SvName,
    rewrite: &Rewrite,
) -> Result<FormattedAs, TuneEnd> {
    match host.observe(device)?.content {
        Content::Target(found)
            if found.svname == *svname && found.label == rewrite.label && found.flags == rewrite.flags =>
        {
            Ok(*found)
        }
        other => {
            let message =
                format!("{} was written as {} and reads back as {other}", device.path.display(), rewrite.label);
            Err(TuneEnd::Failed { message, retryable: true })
        }
    }
}
