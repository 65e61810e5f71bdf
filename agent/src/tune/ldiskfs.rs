//! A target on ldiskfs, changed at rest: its label and `CONFIGS/mountdata`.
//!
//! What was torn in the middle is written anew from the journal, so it is no matter. The label comes last: it decides.

use super::{Rewrite, TuneEnd, check_unused, journaled, planned, read_back, the_target};
use crate::host::{
    Device, Host, chain,
    lock::{self, DeviceLock},
    usage,
};
use lustre_api::{
    agent_ops::{TuneOp, TuneResult},
    device::FormattedAs,
};
use lustre_wire::mountdata::{Flags, Mountdata};
use std::{path::PathBuf, thread, time::Instant};

/// As [`tune`](super::tune).
pub(super) fn tune(
    host: &Host,
    device: &Device,
    op: &TuneOp,
    begun: Option<&Rewrite>,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<TuneResult, TuneEnd> {
    let lock = take_lock(host, device, begun.is_some())?;
    check_idle(host, device)?;
    if let Some(begun) = begun {
        let uuid = host.superblock(device)?.map(|superblock| superblock.uuid.to_string());
        if uuid.as_ref() != Some(&begun.uuid) {
            let message = format!("{} is not the device whose change had begun", device.path.display());
            return Err(TuneEnd::Refused(message));
        }
        write(host, device, &lock, begun)?;
        return Ok(TuneResult { formatted_as: read_back(host, device, &op.svname, begun)?, changed: true });
    }
    let found = the_clean_target(host, device, &lock, op)?;
    let failed = |message: String| TuneEnd::Failed { message, retryable: false };
    let file = read_file(host, device, &failed)?;
    let rewrite = planned(device, op, &found, &file)?;
    if rewrite.is_same(&found, &file) {
        return Ok(TuneResult { formatted_as: found, changed: false });
    }
    journaled(device, &rewrite, journal)?;
    write(host, device, &lock, &rewrite)?;
    Ok(TuneResult { formatted_as: read_back(host, device, &op.svname, &rewrite)?, changed: true })
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
    let mut usages = host.usages(device)?;
    if usages.is_empty() {
        usages.extend(usage::probe_exclusive(device)?);
    }
    check_unused(device, &usages)?;
    let superblock = host.superblock(device)?;
    if superblock.is_some_and(|superblock| superblock.has_mmp) && host.is_mounted_elsewhere(device)? {
        let message = format!("{} is mounted on another node, says its multi-mount protection", device.path.display());
        return Err(TuneEnd::Refused(message));
    }
    Ok(())
}

/// The target that is meant; its journal is empty afterwards.
fn the_clean_target(host: &Host, device: &Device, lock: &DeviceLock, op: &TuneOp) -> Result<FormattedAs, TuneEnd> {
    let found = the_target(host, device, op)?;
    if replay(host, device, lock)? {
        // Once more, for the journal may have changed what is there.
        return the_target(host, device, op);
    }
    Ok(found)
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
