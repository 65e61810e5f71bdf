//! Takes a target's ZFS pool over to this node, and lets go of it: around the start and the stop of a target on ZFS.
//!
//! A pool is on one node at a time, and two that write to it destroy it. So it is imported only where ZFS itself says that
//! nobody else has it, or where its last user is the node that a person has said to be switched off; and exported only
//! while nothing else in it is in use here. `zpool export -f` is never said.

use crate::{
    host::{Device, Host, HostError, chain, detached::find_by_argument, usage, zpool::Import},
    start::under_way,
};
use lustre_api::agent::PoolUser;
use lustre_types::{Dataset, SvName};
use std::{
    sync::{MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a pool may be busy behind the stop of its last target: the kernel lets go of it a moment later.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a `zpool` of an earlier agent is waited for; an import takes seconds, of many disks minutes.
const OWN_PATIENCE: Duration = Duration::from_secs(120);
/// Pause before it is looked for again.
const OWN_PAUSE: Duration = Duration::from_millis(20);
/// Pause before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Why a pool stays where it is; in words, with what to do.
#[derive(Debug)]
pub enum PoolEnd {
    /// Nothing was touched.
    Refused(String),
    /// It didn't work, and may later.
    Failed(String),
    /// Nobody waits any more.
    Cancelled,
}

impl From<HostError> for PoolEnd {
    fn from(error: HostError) -> Self {
        Self::Failed(chain(&error))
    }
}

/// Has this node import the pool of a target, where it has not; whether it did so now. `about_to` makes durable that it is
/// about to; nothing is imported before that.
///
/// `last_user` is the node that is switched off by a person's word: from this one the pool is taken, and from no other.
pub fn take_over(
    host: &Host,
    svname: &SvName,
    dataset: &Dataset,
    last_user: Option<&PoolUser>,
    about_to: impl FnOnce(&str) -> Result<(), String>,
) -> Result<bool, PoolEnd> {
    let pool = dataset.pool();
    let _turn = turn(host);
    if host.has_pool(pool)? {
        return Ok(false);
    }
    unmanaged(host, pool, "imported")?;
    if host.hostid().is_none() {
        return Err(PoolEnd::Refused(format!(
            "this node has no pool {pool}, and no host id by which ZFS could tell whether another node uses it; give it one \
             (zgenhostid; every node another), then start {svname} again"
        )));
    }
    about_to(pool).map_err(|why| {
        PoolEnd::Failed(format!("the agent's journal can't be written ({why}), so pool {pool} was not imported"))
    })?;
    let elsewhere = |said: &str| {
        PoolEnd::Refused(format!(
            "pool {pool} of {svname} was used by another node last and was not exported there ({said}); if that node has it, \
             mgsctl target move brings {svname} back here; if it is switched off, start it by mgsctl target move {svname} \
             --node-is-down, or import it by hand: zpool import -f {pool}"
        ))
    };
    let force = match host.import_pool(pool, false)? {
        Import::Done => return Ok(true),
        Import::NoSuchPool => return Err(not_there(svname, pool)),
        Import::UsedElsewhere { hostid, said } => match last_user {
            Some(user) if hostid.is_some() && hostid == u32::from_str_radix(&user.hostid, 16).ok() => user,
            Some(user) => {
                return Err(PoolEnd::Refused(format!(
                    "{} is said to be switched off, and its host id is {}, but pool {pool} was used by another node last \
                     ({said}); find out which, and make sure that it is off or has exported the pool; then import it by \
                     hand: zpool import -f {pool}",
                    user.node, user.hostid
                )));
            }
            None => return Err(elsewhere(&said)),
        },
    };
    match host.import_pool(pool, true)? {
        Import::Done => Ok(true),
        Import::NoSuchPool => Err(not_there(svname, pool)),
        Import::UsedElsewhere { said, .. } => Err(PoolEnd::Refused(format!(
            "{} is said to be switched off, but ZFS sees pool {pool} in use ({said}); switch it off, then try again",
            force.node
        ))),
    }
}

/// Waits for an import that an earlier agent began and did not see end, so that nothing is decided before it has.
pub fn outlive_import(pool: &str) {
    let begun = Instant::now();
    while find_by_argument(pool).is_some() && begun.elapsed() < OWN_PATIENCE {
        thread::sleep(OWN_PAUSE);
    }
}

fn not_there(svname: &SvName, pool: &str) -> PoolEnd {
    PoolEnd::Failed(format!(
        "this node sees no pool {pool} for {svname} to import; are the pool's devices connected to it? `zpool import` lists \
         what it sees"
    ))
}

/// Errors: something else in the pool of a dataset is in use on this node; the pool can't leave then.
/// `at_work` says what jobs of this agent are about to do in the pool.
pub fn check_alone(host: &Host, svname: &SvName, dataset: &Dataset, at_work: &[String]) -> Result<(), PoolEnd> {
    let pool = dataset.pool();
    unmanaged(host, pool, "exported")?;
    let in_use = others_in_use(host, dataset, at_work)?;
    if in_use.is_empty() {
        return Ok(());
    }
    Err(PoolEnd::Refused(format!(
        "pool {pool} of {svname} can't leave this node: {}; stop them first, or leave {svname} here",
        in_use.join(", ")
    )))
}

/// Exports the pool of a target that was stopped; whether it was imported at all.
///
/// Errors: something else in it is in use; it stays busy; `is_cancelled` meanwhile.
pub fn let_go(
    host: &Host,
    svname: &SvName,
    dataset: &Dataset,
    at_work: &[String],
    is_cancelled: &dyn Fn() -> bool,
) -> Result<bool, PoolEnd> {
    let pool = dataset.pool();
    let _turn = turn(host);
    if !host.has_pool(pool)? {
        return Ok(false);
    }
    check_alone(host, svname, dataset, at_work)?;
    let begun = Instant::now();
    loop {
        if is_cancelled() {
            return Err(PoolEnd::Cancelled);
        }
        if host.export_pool(pool)? {
            return Ok(true);
        }
        if begun.elapsed() >= BUSY_PATIENCE {
            let seconds = BUSY_PATIENCE.as_secs();
            return Err(PoolEnd::Failed(format!(
                "pool {pool} stays on this node: it was busy for {seconds} s, and nothing that the agent knows of uses it; \
                 see what `zpool status {pool}` and `lsof` say"
            )));
        }
        thread::sleep(BUSY_PAUSE);
    }
}

/// What in the pool of a dataset is in use on this node, but for the dataset itself.
fn others_in_use(host: &Host, dataset: &Dataset, at_work: &[String]) -> Result<Vec<String>, HostError> {
    let pool = dataset.pool();
    let mounted = usage::mounted_of_pool(&host.root, pool)?.into_iter();
    let mounted = mounted.filter(|(source, _)| source != dataset.as_str());
    let mut in_use: Vec<String> = mounted.map(|(source, place)| format!("{source} is mounted at {place}")).collect();
    let is_other = |device: &std::path::Path| {
        let other = device.to_str().and_then(|device| device.parse::<Dataset>().ok());
        other.is_some_and(|other| other.pool() == pool && other != *dataset)
    };
    let served = host.served.started().into_iter().filter(|target| is_other(&target.device));
    in_use.extend(served.map(|target| format!("{} is started on {}", target.svname, target.device.display())));
    let mut others = host.datasets()?;
    others.retain(|other| other.pool() == pool && other != dataset);
    let mounting = others.iter().filter(|other| under_way(&Device::of_dataset(other, 0)).is_some());
    in_use.extend(mounting.map(|other| format!("a mount of {other} is under way")));
    in_use.extend(at_work.iter().cloned());
    Ok(in_use)
}

/// Refuses to fight Pacemaker, as for targets.
fn unmanaged(host: &Host, pool: &str, verb: &str) -> Result<(), PoolEnd> {
    let Some(resource) = host.pool_managed_by(pool)? else { return Ok(()) };
    let id = resource.id;
    Err(PoolEnd::Refused(format!(
        "pool {pool} is not {verb}: Pacemaker manages it as resource {id}; use pcs (resource move {id}), or take it out of \
         Pacemaker's hands first: pcs resource unmanage {id}"
    )))
}

fn turn(host: &Host) -> MutexGuard<'_, ()> {
    host.pools_turn.lock().unwrap_or_else(PoisonError::into_inner)
}
