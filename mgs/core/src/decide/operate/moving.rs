//! A target, moved to its partner node or back.

use lustre_api::agent::StartDriver;
use lustre_api::job::{Job, JobKind, JobObject};
use lustre_api::operation::MoveTarget;
use lustre_api::{Problem, Written};
use lustre_types::{NodeName, SvName};

use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, lifecycle, node, target};
use crate::record::{PlannedMove, TargetRecord};
use crate::state::State;

/// Starts a job: stop it where it runs, start it on the other node. `is_alive` says which nodes are heard of.
///
/// Errors: no partner node, or several and none was named; a node that clients would not look for it on; it is there
/// already; a node that is said to be down and is heard of; one that is not heard of, or is drained, to start it on.
pub fn move_target(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &MoveTarget,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Target(svname.clone());
    let known = job::named(state, req, JobKind::MoveTarget, &object)?.is_some();
    let found = target::get(state, svname)?;
    let record = &found.value;
    let mut steps = Vec::new();
    // The job that was started under this name is answered as it is, wherever the target is by now.
    if !known {
        req.check_revision(&format!("target {svname}"), found.revision)?;
        if !record.state.is_registered() {
            let problem = Problem::refused(format!("{svname} is {}, not registered", record.state.as_str()));
            return Err(problem.remedy("ensure it again; that formats, registers and starts it"));
        }
        let planned = planned(state, svname, record, body.node.as_ref(), body.node_is_down, is_alive)?;
        steps = self::steps(svname, record, &planned);
    }
    request(state, req, NewJob::new(JobKind::MoveTarget, object, steps))
}

/// A move of a target, to this node or to its only partner. Errors: as [`move_target`].
pub(super) fn planned(
    state: &State,
    svname: &SvName,
    record: &TargetRecord,
    to: Option<&NodeName>,
    from_is_down: bool,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<PlannedMove, Problem> {
    let from = record.place();
    let to = destination(state, svname, record, to)?;
    if to == from {
        let problem = Problem::refused(format!("{svname} is on {from} already"));
        return Err(problem.remedy(format!("mgsctl target start {svname} starts it there")));
    }
    if from_is_down && is_alive(from) {
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
    Ok(PlannedMove { from: from.clone(), to: to.clone(), from_is_down })
}

/// The steps of a move.
pub(in crate::decide) fn steps(svname: &SvName, record: &TargetRecord, planned: &PlannedMove) -> Vec<NewStep> {
    let stop = (!planned.from_is_down).then(|| lifecycle::stop_step(svname, record));
    stop.into_iter().chain([lifecycle::start_step_on(svname, record, &planned.to)]).collect()
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
