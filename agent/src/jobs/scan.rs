//! A look at all devices, as a job: what is on each is a line of its output.

use super::Jobs;
use super::run::{End, is_cancelled};
use crate::{inventory::look_at_all, time::now};
use lustre_api::{
    agent_ops::ScanOp,
    device::{Device, RefusalCode},
    job::{JobId, Progress},
};
use lustre_types::ByteSize;
use std::{cell::Cell, time::Duration};

/// How long a device is waited for when the operation doesn't say.
const PATIENCE_S: u32 = 10;
/// Devices that the output lists.
const LINES: usize = 500;

/// Looks at all devices. One that does not answer is named; the scan is done all the same.
pub(super) fn scan(jobs: &Jobs, id: &JobId, op: &ScanOp) -> Result<End, End> {
    let patience = Duration::from_secs(op.device_timeout_s.unwrap_or(PATIENCE_S).into());
    let done_of = Cell::new((0, 0));
    let tell = |done: usize, total: usize| {
        done_of.set((done, total));
        let progress = Progress {
            phase: "looking at devices".to_owned(),
            done: done as u64,
            total: Some(total as u64),
            unit: "devices".to_owned(),
            at: now(),
            rate_per_s: None,
            eta_s: None,
        };
        jobs.note(id, |entry| entry.job.progress = Some(progress));
    };
    let Some(looked) = look_at_all(&jobs.host, patience, &tell, &|| is_cancelled(jobs, id))? else {
        let (done, total) = done_of.get();
        return Err(End::cancelled(format!("cancelled; {done} of {total} devices had been looked at")));
    };
    let lines: Vec<String> = looked.devices.iter().take(LINES).map(line).collect();
    jobs.note(id, |entry| entry.job.output = lines);
    let is_finished = |device: &&Device| device.formatted_as.as_ref().is_some_and(|target| !target.incomplete);
    let targets = looked.devices.iter().filter(is_finished).count();
    let blank = looked.devices.iter().filter(|device| device.content == "blank").count();
    let mut message = format!("{} devices were looked at: {targets} targets, {blank} blank", looked.devices.len());
    if !looked.silent.is_empty() {
        message += &format!("; {} did not answer: {}", looked.silent.len(), looked.silent.join(", "));
    }
    if let Some(problem) = looked.zfs.and_then(|zfs| zfs.problem) {
        message += &format!("; ZFS: {problem}");
    }
    Ok(End::done(message))
}

/// As in `/dev/sdb 1.8 TiB lustre scratch-OST0001 (registered) uuid=…`; of a device that can't be read, why.
fn line(device: &Device) -> String {
    let unusable = device.refusals.iter().find(|refusal| refusal.code == RefusalCode::Unusable);
    let content = unusable.map_or(&device.content, |refusal| &refusal.message);
    format!("{} {} {content}", device.path, ByteSize(device.size_bytes))
}
