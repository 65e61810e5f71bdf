//! A target, moved to its partner node or back.

use lustre_api::agent::StartDriver;
use lustre_api::job::{Job, JobKind, JobObject};
use lustre_api::operation::MoveTarget;
use lustre_api::{Problem, Written};
use lustre_types::{NodeName, SvName};

use super::pool_move::{self, PoolMove};
use super::whole::{Member, Steps};
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, lifecycle, node, target};
use crate::record::{PlannedMove, TargetRecord};
use crate::state::State;

/// Starts a job: stop it where it runs, start it on the other node. `is_alive` says which nodes are heard of.
///
/// Where it is on ZFS its pool moves with it; what else is in use in that pool moves only where `whole_pool` says so.
///
/// Errors: no partner node, or several and none was named; a node that clients would not look for it on; it is there
/// already; a node that is said to be down and is heard of; one that is not heard of, or is drained, to start it on; a pool
/// that can't move.
pub fn move_target(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &MoveTarget,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = match svname.fsname().filter(|_| body.whole_pool) {
        Some(fsname) => JobObject::Filesystem(fsname.clone()),
        None => JobObject::Target(svname.clone()),
    };
    let known = job::named(state, req, JobKind::MoveTarget, &object)?.is_some();
    let found = target::get(state, svname)?;
    let record = &found.value;
    let (mut steps, mut warnings) = (Vec::new(), Vec::new());
    // The job that was started under this name is answered as it is, wherever the target is by now.
    if !known {
        req.check_revision(&format!("target {svname}"), found.revision)?;
        if !record.state.is_registered() {
            let problem = Problem::refused(format!("{svname} is {}, not registered", record.state.as_str()));
            return Err(problem.remedy("ensure it again; that formats, registers and starts it"));
        }
        let wanted = Wanted { to: body.node.as_ref(), from_is_down: body.node_is_down, whole_pool: body.whole_pool };
        let planned = planned(state, svname, record, &wanted, is_alive)?;
        let pool = pool_move::of(state, svname, record, &planned.to, planned.from_is_down)?;
        let mut moved = vec![(svname, record)];
        steps = match &pool {
            Some(pool) if body.whole_pool => {
                check_mates(state, svname, &pool.mates, &planned.to)?;
                moved.extend(pool.mates.iter().copied());
                steps_of_all(&moved, &planned)
            }
            None if body.whole_pool => {
                let problem = Problem::refused(format!("{svname} is on no ZFS dataset, so it has no pool"));
                return Err(problem.remedy("leave whole_pool out").attribute("whole_pool"));
            }
            _ => self::steps(svname, record, &planned),
        };
        warnings = pool.map(|pool| left_behind(&pool, &moved, &planned.from)).unwrap_or_default();
    }
    let mut decision = request(state, req, NewJob::new(JobKind::MoveTarget, object, steps))?;
    decision.reply.warnings.extend(warnings);
    Ok(decision)
}

/// How a target is to move.
pub(super) struct Wanted<'a> {
    /// Where to; the other one of two nodes when missing.
    pub(super) to: Option<&'a NodeName>,
    /// It is not stopped where it is: a person says that the node is off.
    pub(super) from_is_down: bool,
    /// What else is in use in its ZFS pool moves in the same job.
    pub(super) whole_pool: bool,
}

/// A move of a target, to this node or to its only partner. Errors: as [`move_target`].
pub(super) fn planned(
    state: &State,
    svname: &SvName,
    record: &TargetRecord,
    wanted: &Wanted<'_>,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<PlannedMove, Problem> {
    let from = record.place();
    let to = destination(state, svname, record, wanted.to)?;
    if to == from {
        let problem = Problem::refused(format!("{svname} is on {from} already"));
        return Err(problem.remedy(format!("mgsctl target start {svname} starts it there")));
    }
    if wanted.from_is_down && is_alive(from) {
        let message = format!("{from} is said to be down, and its agent was heard of a moment ago");
        let problem = Problem::refused(message).attribute("node_is_down");
        return Err(problem.remedy(format!("leave node_is_down out: {svname} is stopped there first")));
    }
    // It would be stopped, and then wait.
    if !is_alive(to) {
        let problem = Problem::refused(format!("{to} is not heard of, so {svname} would not be started there"));
        return Err(problem.remedy(format!("see systemctl status lustre-agent on {to}")).attribute("node"));
    }
    if let Some(why) = &node::find(state, to)?.value.settings.drained {
        let problem = Problem::refused(format!("{to} is drained ({why}), so {svname} would not be started there"));
        return Err(problem.remedy(format!("mgsctl node undrain {to}, or name another node")).attribute("node"));
    }
    let pool = pool_move::of(state, svname, record, to, wanted.from_is_down)?;
    let has_mates = pool.as_ref().is_some_and(|pool| !pool.mates.is_empty());
    if let Some(pool) = pool.as_ref().filter(|_| has_mates && !wanted.from_is_down && !wanted.whole_pool) {
        return Err(self::has_mates(svname, record, &pool.mates));
    }
    let pool_of = pool.and_then(|pool| pool.last_user);
    Ok(PlannedMove { from: from.clone(), to: to.clone(), from_is_down: wanted.from_is_down, pool_of })
}

/// The steps of a move.
pub(in crate::decide) fn steps(svname: &SvName, record: &TargetRecord, planned: &PlannedMove) -> Vec<NewStep> {
    let has_pool = pool_move::dataset(record, record.place()).is_some();
    let stop = (!planned.from_is_down).then(|| lifecycle::stop_to_move(svname, record, has_pool));
    let start = lifecycle::start_step_from(svname, record, &planned.to, planned.pool_of.clone());
    stop.into_iter().chain([start]).collect()
}

/// Stops all of a pool, the last one with the pool itself, when nothing in it is in use any more; then starts all.
fn steps_of_all(moved: &[Member<'_>], planned: &PlannedMove) -> Vec<NewStep> {
    let mut steps = Steps::default();
    let mut stopped = Vec::new();
    for (at, (svname, record)) in moved.iter().enumerate().filter(|_| !planned.from_is_down) {
        let is_last = at + 1 == moved.len();
        let after = if is_last { stopped.clone() } else { Vec::new() };
        stopped.push(steps.add(lifecycle::stop_to_move(svname, record, is_last), svname, &after));
    }
    for (svname, record) in moved {
        steps.add(lifecycle::start_step_from(svname, record, &planned.to, planned.pool_of.clone()), svname, &stopped);
    }
    steps.0
}

/// Errors: something in the pool that can't be on the other node, or belongs to another file system.
fn check_mates(state: &State, svname: &SvName, mates: &[Member<'_>], to: &NodeName) -> Result<(), Problem> {
    for (mate, record) in mates {
        if mate.fsname() != svname.fsname() {
            let problem = Problem::refused(format!("{mate} is in the pool of {svname}, and of another file system"));
            return Err(problem.remedy(format!("stop it first: mgsctl target stop {mate}")).attribute("whole_pool"));
        }
        destination(state, mate, record, Some(to))?;
    }
    Ok(())
}

fn has_mates(svname: &SvName, record: &TargetRecord, mates: &[Member<'_>]) -> Problem {
    let from = record.place();
    let pool = pool_move::dataset(record, from).map(|dataset| dataset.pool().to_owned()).unwrap_or_default();
    let names: Vec<String> = mates.iter().map(|(mate, _)| mate.to_string()).collect();
    let names = names.join(", ");
    let message = format!("ZFS pool {pool} of {svname} can't leave {from}: {names} in it would be torn out");
    let remedy =
        format!("move all of the pool at once (mgsctl target move {svname} --whole-pool), or stop {names} first");
    Problem::refused(message).remedy(remedy).attribute("whole_pool")
}

/// What to say of targets whose pool goes and that don't.
fn left_behind(pool: &PoolMove<'_>, moved: &[Member<'_>], from: &NodeName) -> Vec<String> {
    let mates = pool.mates.iter().map(|(mate, _)| *mate).filter(|mate| moved.iter().all(|(moved, _)| moved != mate));
    let left = pool.left.iter().copied().chain(mates);
    left.map(|svname| format!("{svname} is in the same ZFS pool, which leaves {from}: move it too before it can start"))
        .collect()
}

fn destination<'a>(
    state: &'a State,
    svname: &SvName,
    record: &'a TargetRecord,
    wanted: Option<&'a NodeName>,
) -> Result<&'a NodeName, Problem> {
    let partners = partners(state, record);
    let all: Vec<&NodeName> = std::iter::once(&record.spec.node).chain(partners.iter().copied()).collect();
    let to = match wanted {
        Some(node) => {
            if !all.contains(&node) {
                let problem =
                    Problem::refused(format!("{node} is no node of {svname}: clients would not look for it there"));
                let remedy = format!("add the NIDs of {node} to failover_nodes of {svname} first");
                return Err(problem.remedy(remedy).attribute("node"));
            }
            node
        }
        None => {
            let mut others = all.iter().filter(|node| **node != record.place());
            match (others.next(), others.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    let problem = Problem::refused(format!("{svname} has no partner node with an agent"));
                    return Err(problem.remedy("add its NIDs to failover_nodes, and start lustre-agent there"));
                }
                (Some(_), Some(_)) => {
                    let names: Vec<&str> = all.iter().map(|node| node.as_str()).collect();
                    let message = format!("{svname} may run on {}", names.join(", "));
                    return Err(Problem::invalid(message).remedy("say which").attribute("node"));
                }
            }
        }
    };
    if node::find(state, to)?.value.info.start_driver == StartDriver::None {
        let problem = Problem::refused(format!("{to} has no Lustre to start {svname} with"));
        return Err(problem.remedy("install the Lustre server modules there, or configure another start driver"));
    }
    Ok(to)
}

/// The enrolled nodes with a NID among those of its partners.
fn partners<'a>(state: &'a State, record: &TargetRecord) -> Vec<&'a NodeName> {
    let listed: Vec<_> = record.spec.failover_nodes.iter().flat_map(|list| list.nodes().concat()).collect();
    let nodes = state.nodes.iter().filter(|(name, node)| {
        **name != record.spec.node && node.value.info.nids.iter().any(|nid| listed.contains(nid))
    });
    nodes.map(|(name, _)| name).collect()
}
