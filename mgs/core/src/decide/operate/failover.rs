//! All targets of a node, moved to their partner nodes, or back to their own: one job with a part for each of them.
//!
//! Everything is looked at and refused before anything begins, and no other job is on any of the targets until it is over. A part
//! is a job like that of a single move, and is made when its turn comes: MDTs first, MDT0000 before them.

use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::{FailbackTargets, FailoverTargets};
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::{NodeName, SvName, TargetKind};

use super::moving;
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, node};
use crate::record::{OwnAct, PlannedMove, TargetRecord};
use crate::state::State;

/// Most targets of one job: they are held by one commit.
pub const MAX_TARGETS: usize = 100;
/// How many are moved at once where nobody says.
const AT_ONCE: usize = 4;

/// Starts a job that moves every target which a node runs to its partner node, or all to the one that is named. Those that a
/// person stopped stay stopped. `is_alive` says which nodes are heard of.
///
/// Errors: an unknown node; one that is drained, for its steps would not begin; targets that can't be moved, each with the
/// reason, unless they are to be left; nothing to move.
pub fn failover(
    state: &State,
    req: &Request<'_>,
    from: &NodeName,
    body: &FailoverTargets,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Job>>, Problem> {
    let found = node::find(state, from)?;
    if let (Some(why), false) = (&found.value.settings.drained, body.node_is_down) {
        let problem = Problem::refused(format!("{from} is drained ({why}), so nothing would be stopped there"));
        return Err(problem.remedy(format!("mgsctl node undrain {from}, and drain it when its targets are moved")));
    }
    let is_meant = |record: &TargetRecord| record.place() == from;
    let plan = |svname: &SvName, record: &TargetRecord| {
        let wanted = moving::Wanted { to: body.to.as_ref(), from_is_down: body.node_is_down, whole_pool: false };
        moving::planned(state, svname, record, &wanted, is_alive)
    };
    let wanted = Wanted { kind: JobKind::Failover, node: from, leave_others: body.leave_others, at_once: body.at_once };
    start(state, req, &wanted, &is_meant, &plan)
}

/// Starts a job that moves every target of a node back to it. Errors: as [`failover`].
pub fn failback(
    state: &State,
    req: &Request<'_>,
    to: &NodeName,
    body: &FailbackTargets,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Job>>, Problem> {
    node::find(state, to)?;
    let is_meant = |record: &TargetRecord| record.spec.node == *to && record.place() != to;
    let plan = |svname: &SvName, record: &TargetRecord| {
        let from = record.place();
        if !is_alive(from) {
            let problem = Problem::refused(format!("{svname} is on {from}, which is not heard of"));
            return Err(
                problem.remedy(format!("if {from} is switched off: mgsctl target move {svname} {to} --node-is-down"))
            );
        }
        let wanted = moving::Wanted { to: Some(to), from_is_down: false, whole_pool: false };
        moving::planned(state, svname, record, &wanted, is_alive)
    };
    let wanted = Wanted { kind: JobKind::Failback, node: to, leave_others: body.leave_others, at_once: body.at_once };
    start(state, req, &wanted, &is_meant, &plan)
}

struct Wanted<'a> {
    kind: JobKind,
    node: &'a NodeName,
    leave_others: bool,
    at_once: Option<u32>,
}

fn start(
    state: &State,
    req: &Request<'_>,
    wanted: &Wanted<'_>,
    is_meant: &dyn Fn(&TargetRecord) -> bool,
    plan: &dyn Fn(&SvName, &TargetRecord) -> Result<PlannedMove, Problem>,
) -> Result<Decision<Written<Job>>, Problem> {
    let Wanted { kind, node, leave_others, at_once } = *wanted;
    let object = JobObject::Node(node.clone());
    if job::named(state, req, kind, &object)?.is_some() {
        return request(state, req, NewJob::new(kind, object, Vec::new()));
    }
    if at_once == Some(0) {
        return Err(Problem::invalid("none at once would never end").attribute("at_once"));
    }
    let all = state.targets.iter().map(|(svname, target)| (svname, &target.value));
    let mut targets: Vec<_> = all.filter(|(_, record)| record.state.is_registered() && is_meant(record)).collect();
    // Those who come back look for MDT0000 first.
    targets.sort_by_key(|(svname, _)| {
        let rank = match svname.kind() {
            TargetKind::Mgt => 0,
            TargetKind::Mdt => 1,
            TargetKind::Ost => 2,
        };
        (rank, svname.index().map(|index| index.get()))
    });
    let (mut steps, mut stay, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (svname, record) in targets {
        if record.state == TargetState::Stopped {
            warnings.push(format!("{svname} is stopped, and stays so"));
            continue;
        }
        let planned = plan(svname, record).and_then(|planned| match state.active_job(svname) {
            Some(job) => Err(job::busy_with(svname, &job.value.job)),
            None => Ok(planned),
        });
        match planned {
            Ok(planned) => {
                let step = NewStep::own(StepKind::Job, OwnAct::Move(Box::new(planned)));
                steps.push(step.of(svname.clone()).after([]));
            }
            Err(problem) => stay.push(problem),
        }
    }
    match stay.as_slice() {
        [] => {}
        [only] if !leave_others => return Err(only.clone()),
        [first, others @ ..] if !leave_others => {
            let others: Vec<&str> = others.iter().map(|problem| problem.message.as_str()).collect();
            let problem = Problem::refused(format!("{}; {}", first.message, others.join("; ")));
            let mend = first.remedy.as_deref().unwrap_or("mend that");
            return Err(problem.remedy(format!("{mend}; or say leave_others, and those stay where they are")));
        }
        _ => warnings.extend(stay.iter().map(|problem| format!("left where it is: {}", problem.message))),
    }
    if steps.is_empty() {
        let what = if kind == JobKind::Failover { "runs no target that could be moved" } else { "has all its targets" };
        let more = if warnings.is_empty() { String::new() } else { format!(": {}", warnings.join("; ")) };
        return Err(Problem::refused(format!("there is nothing to do: {node} {what}{more}")));
    }
    if steps.len() > MAX_TARGETS {
        let message = format!("{} targets; a job moves {MAX_TARGETS} at most", steps.len());
        return Err(Problem::refused(message).remedy("move some of them first: mgsctl target move"));
    }
    let at_once = at_once.map_or(AT_ONCE, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let new = NewJob { at_once: Some(at_once), ..NewJob::new(kind, object, steps) };
    let mut decision = request(state, req, new)?;
    decision.reply.warnings.extend(warnings);
    Ok(decision)
}
