//! Starts and stops of targets on ZFS, with what belongs to them: the pool is imported before, and exported behind.

use super::{
    Jobs,
    run::{End, is_cancelled},
    start_stop,
};
use crate::{
    host::{Device, chain},
    pool::{self, PoolEnd},
    start::under_way,
};
use lustre_api::{
    agent::{StartOp, StopOp},
    job::JobId,
};
use lustre_types::{Dataset, DatasetError, SvName};

impl PoolEnd {
    /// `what` was to happen: the subject of the message.
    fn of(self, what: &str) -> End {
        match self {
            Self::Refused(why) => End::failed(format!("{what}: {why}"), false),
            Self::Failed(why) => End::failed(format!("{what}: {why}"), true),
            Self::Cancelled => End::cancelled(format!("cancelled; {what}")),
        }
    }
}

/// Starts a target; on ZFS, has this node import its pool first. A start that comes to nothing exports it again, so that the
/// other node can have it.
pub(super) fn start(jobs: &Jobs, id: &JobId, op: &StartOp) -> Result<End, End> {
    let Some(dataset) = dataset(&op.device)? else { return start_stop::start(jobs, id, op) };
    let is_imported = import(jobs, id, op, &dataset)?;
    let not_begun = || End::cancelled("cancelled before it began");
    let ended = if is_cancelled(jobs, id) { Err(not_begun()) } else { start_stop::start(jobs, id, op) };
    ended.map_err(|end| if is_imported { put_back(jobs, id, op, &dataset, end) } else { end })
}

/// Whether this job has imported the pool, now or before the agent was started anew.
fn import(jobs: &Jobs, id: &JobId, op: &StartOp, dataset: &Dataset) -> Result<bool, End> {
    let host = &jobs.host;
    let had_begun = jobs.imports(id);
    if had_begun {
        pool::outlive_import(dataset.pool());
    }
    if host.has_pool(dataset.pool())? {
        return Ok(had_begun);
    }
    if is_cancelled(jobs, id) {
        return Err(End::cancelled("cancelled before it began"));
    }
    start_stop::unmanaged(jobs, &Device::of_dataset(dataset, 0), &op.svname, "started")?;
    let about_to = |pool: &str| {
        let put = jobs.update(id, |entry| entry.imports = Some(pool.to_owned()));
        put.map(drop).map_err(|error| chain(&error))
    };
    let taken = pool::take_over(host, &op.svname, dataset, op.pool_of.as_ref(), about_to);
    taken.map_err(|end| end.of(&format!("{} was not started", op.svname)))
}

/// Has this node import the pool of a target that is to be changed at rest; it stays, for the target is started here next.
pub(super) fn import_to_change(jobs: &Jobs, svname: &SvName, device: &str) -> Result<(), End> {
    let Some(dataset) = dataset(device)? else { return Ok(()) };
    let taken = pool::take_over(&jobs.host, svname, &dataset, None, |_| Ok(()));
    taken.map(drop).map_err(|end| end.of(&format!("{svname} was not changed")))
}

/// Exports the pool that was imported for a start which came to nothing; what to say of that.
fn put_back(jobs: &Jobs, id: &JobId, op: &StartOp, dataset: &Dataset, end: End) -> End {
    let pool = dataset.pool();
    let at_work = jobs.at_work_in(pool, id);
    let left = if under_way(&Device::of_dataset(dataset, 0)).is_some() {
        format!("pool {pool} stays imported here as long as the mount is under way")
    } else {
        match pool::let_go(&jobs.host, &op.svname, dataset, &at_work, &|| false) {
            Ok(_) => format!("pool {pool}, which was imported for it, was exported again"),
            Err(PoolEnd::Refused(why) | PoolEnd::Failed(why)) => format!("pool {pool} stays imported here: {why}"),
            Err(PoolEnd::Cancelled) => format!("pool {pool} stays imported here"),
        }
    };
    end.and(&left)
}

/// Stops a target; where the operation says so, has this node export its pool then.
pub(super) fn stop(jobs: &Jobs, id: &JobId, op: &StopOp) -> Result<End, End> {
    if !op.export_pool {
        return start_stop::stop(jobs, id, op);
    }
    let (host, svname) = (&jobs.host, &op.svname);
    let Some(dataset) = dataset(&op.device)? else {
        return Err(End::failed(format!("{} is no ZFS dataset, so it has no pool to export", op.device), false));
    };
    let pool = dataset.pool();
    // Looked at before anything is stopped, and again before the export.
    if host.has_pool(pool)? {
        let alone = pool::check_alone(host, svname, &dataset, &jobs.at_work_in(pool, id));
        alone.map_err(|end| end.of(&format!("{svname} was not stopped")))?;
    }
    let end = start_stop::stop(jobs, id, op)?;
    let stopped = end.message.clone().unwrap_or_default();
    let at_work = jobs.at_work_in(pool, id);
    match pool::let_go(host, svname, &dataset, &at_work, &|| is_cancelled(jobs, id)) {
        Ok(true) => Ok(end.and(&format!("pool {pool} was exported"))),
        Ok(false) => Ok(end.and(&format!("pool {pool} was not imported here"))),
        Err(why) => Err(why.of(&format!("{stopped}, and pool {pool} stays imported here"))),
    }
}

fn dataset(device: &str) -> Result<Option<Dataset>, End> {
    let dataset = Dataset::is_meant(device).then(|| device.parse()).transpose();
    dataset.map_err(|error: DatasetError| End::failed(chain(&error), false))
}
