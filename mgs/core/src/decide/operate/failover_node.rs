//! A partner node more, or one less.
//!
//! What counts for those that have the file system mounted is the configuration: it is written first, without stopping anything.
//! The device has a copy that counts with the next writeconf only; it is written where the target is stopped, and where that is
//! asked for.

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::TuneOp;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::FailoverNode;
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::{Nid, NidList, SvName};

use super::whole;
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, confirm, job, lifecycle, log, node, target};
use crate::record::{OwnAct, PlannedPartners, TargetRecord};
use crate::state::State;

/// Which way a partner node goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The target is given it.
    Add,
    /// It is taken from the target.
    Remove,
}

/// Starts a job: write the partner nodes into the description and the logs; then onto the device, where the target is stopped
/// or is to be stopped for it.
///
/// Errors: it has that partner already, or has it not; the target's own node; one that it runs on now; nobody knows the node's
/// NIDs; a config log that is full; a device that can't be written, where that was asked for.
pub fn change(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &FailoverNode,
    way: Way,
) -> Result<Decision<Written<Job>>, Problem> {
    let kind = match way {
        Way::Add => JobKind::AddFailoverNode,
        Way::Remove => JobKind::RemoveFailoverNode,
    };
    let object = JobObject::Target(svname.clone());
    if job::named(state, req, kind, &object)?.is_some() {
        return request(state, req, NewJob::new(kind, object, Vec::new()));
    }
    confirm::check(body.confirm_within_s)?;
    let found = target::get(state, svname)?;
    let record = &found.value;
    req.check_revision(&format!("target {svname}"), found.revision)?;
    if !record.was_registered {
        let problem = Problem::refused(format!("{svname} is not in the configuration yet"));
        return Err(problem.remedy("describe it with its partner nodes: they are written with its format"));
    }
    if body.write_device && body.confirm_within_s.is_some() {
        let problem = Problem::invalid("what is on the device would not go back by itself");
        return Err(problem.attribute("write_device").remedy("write it once the change is confirmed"));
    }
    let nids = nids(state, body)?;
    let before = &record.spec.failover_nodes;
    let after = match way {
        Way::Add => with(state, svname, record, &nids)?,
        Way::Remove => without(state, svname, record, &nids)?,
    };
    let is_device_only = after == *before;
    if is_device_only && !body.write_device {
        let problem = Problem::refused(format!("{} is a partner node of {svname} already", text(&nids)));
        return Err(problem.remedy("give write_device to have it written onto the device, too"));
    }
    let mut steps = Vec::new();
    if !is_device_only {
        let planned = Box::new(PlannedPartners { before: before.clone(), after: after.clone() });
        steps.push(NewStep::own(StepKind::FailoverNodes, OwnAct::FailoverNodes(planned)));
    }
    let mut warnings = Vec::from_iter(on_device(svname, record, body, &after, &mut steps)?);
    // What would be refused by then is refused now.
    let rehearsed = log::failover(&mut log::draft(state, req, svname.fsname()), svname, before, &after)?;
    warnings.extend(rehearsed);
    if way == Way::Add && before.is_empty() {
        warnings.push(format!(
            "two nodes can start {svname} now: a target that was formatted without a partner node has no multi-mount \
             protection; tune2fs -O mmp sets it while the target is stopped"
        ));
    }
    let new = NewJob { confirm_within_s: body.confirm_within_s, ..NewJob::new(kind, object, steps) };
    let mut decision = request(state, req, new)?;
    if let Some(seconds) = body.confirm_within_s {
        warnings.push(format!(
            "{seconds} s after its end the partner nodes of before come back, unless somebody confirms: mgsctl target confirm \
             {svname}"
        ));
    }
    decision.reply.warnings.extend(warnings);
    Ok(decision)
}

/// The steps that write the device; words on where it is left as it is.
fn on_device(
    svname: &SvName,
    record: &TargetRecord,
    body: &FailoverNode,
    after: &[NidList],
    steps: &mut Vec<NewStep>,
) -> Result<Option<String>, Problem> {
    let is_started = record.state == TargetState::Started;
    let can = whole::can_be_tuned(svname, record);
    if body.write_device {
        can.clone()?;
    }
    let is_written = body.write_device || (!is_started && can.is_ok() && body.confirm_within_s.is_none());
    if !is_written {
        let fsname = svname.fsname().map(ToString::to_string).unwrap_or_default();
        return Ok(Some(format!(
            "the device of {svname} is left as it is, which counts with a writeconf only, and that writes it: mgsctl fs \
             writeconf {fsname}; --write-device does it now"
        )));
    }
    let op = TuneOp {
        svname: svname.clone(),
        device: record.device_on(record.place()).to_owned(),
        expect_uuid: record.uuid.clone(),
        writeconf: None,
        mgs_nids: None,
        failover_nodes: Some(after.to_vec()),
    };
    let tune = NewStep::on(record.place().clone(), StepKind::Tune, AgentOp::Tune(op));
    match is_started {
        true => steps.extend([lifecycle::stop_step(svname, record), tune, lifecycle::start_step(svname, record)]),
        false => steps.push(tune),
    }
    Ok(None)
}

/// The NIDs of the node that is meant.
fn nids(state: &State, body: &FailoverNode) -> Result<Vec<Nid>, Problem> {
    match (&body.node, &body.nids) {
        (Some(name), None) => {
            let nids = node::find(state, name)?.value.info.nids.clone();
            if nids.is_empty() {
                let problem = Problem::refused(format!("the agent of {name} knows no NIDs of it"));
                return Err(problem.remedy("give its NIDs instead").attribute("node"));
            }
            Ok(nids)
        }
        (None, Some(list)) => match list.nodes() {
            [one] => Ok(one.clone()),
            several => {
                let message = format!("{list} are the NIDs of {} nodes", several.len());
                Err(Problem::invalid(message).remedy("one node at a time: a comma between its NIDs").attribute("nids"))
            }
        },
        _ => Err(Problem::invalid("one of node and nids says which partner node is meant").attribute("node")),
    }
}

/// Its partner nodes, with one more; the same where it has that one.
fn with(state: &State, svname: &SvName, record: &TargetRecord, nids: &[Nid]) -> Result<Vec<NidList>, Problem> {
    let own = state.nodes.get(&record.spec.node).map_or(&[][..], |node| &node.value.info.nids);
    if let Some(nid) = nids.iter().find(|nid| record.nids.contains(nid) || own.contains(nid)) {
        let problem = Problem::refused(format!("{nid} is a NID of {}, the own node of {svname}", record.spec.node));
        return Err(problem.remedy("name another node").attribute("node"));
    }
    let mut after = record.spec.failover_nodes.clone();
    let known = after.iter().flat_map(|list| list.nodes()).find(|known| known.iter().any(|nid| nids.contains(nid)));
    match known {
        Some(known) if nids.iter().all(|nid| known.contains(nid)) => {}
        Some(known) => {
            let message = format!("{} is a partner node of {svname} with other NIDs", text(known));
            let remedy = "take that one out first: mgsctl target remove-failover-node";
            return Err(Problem::conflict(message).remedy(remedy).attribute("nids"));
        }
        None => after.extend(NidList::new(vec![nids.to_vec()])),
    }
    Ok(after)
}

/// Its partner nodes without one. Errors: it has no such partner; it runs there.
fn without(state: &State, svname: &SvName, record: &TargetRecord, nids: &[Nid]) -> Result<Vec<NidList>, Problem> {
    let is_it = |node: &Vec<Nid>| node.iter().any(|nid| nids.contains(nid));
    let before = &record.spec.failover_nodes;
    if !before.iter().flat_map(|list| list.nodes()).any(is_it) {
        let has = before.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let has = if has.is_empty() { "none".to_owned() } else { has };
        return Err(Problem::refused(format!("{} is no partner node of {svname}, which has {has}", text(nids)))
            .remedy(format!("mgsctl target show {svname}")));
    }
    let place = record.place();
    let is_there = state.nodes.get(place).is_some_and(|node| is_it(&node.value.info.nids));
    if is_there && *place != record.spec.node {
        let problem = Problem::refused(format!("{svname} is on {place} now, and would be found by nobody"));
        return Err(problem.remedy(format!("move it back first: mgsctl target move {svname} {}", record.spec.node)));
    }
    let rest = |list: &NidList| NidList::new(list.nodes().iter().filter(|node| !is_it(node)).cloned().collect());
    Ok(before.iter().filter_map(rest).collect())
}

fn text(nids: &[Nid]) -> String {
    nids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
