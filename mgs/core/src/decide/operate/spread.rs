//! A tunable, set on nodes by a job: on one first, then on all others, and kept when every one of them has it.
//!
//! Many nodes are set by several jobs of their own, the parts of the one that was asked for: a job is one value of a store, and is
//! written with each node that is done.

use std::collections::BTreeMap;

use lustre_api::agent::AgentOp;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::mgs::LiveParams;
use lustre_api::node_param::{NodeParamSetting, SetNodeParams};
use lustre_api::proof::SpreadParam;
use lustre_api::{Problem, Written};
use lustre_plan::catalogue;
use lustre_plan::naming;
use lustre_types::NodeName;

use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, param};
use crate::key::ParamKey;
use crate::record::{Keep, OwnAct, SettingPart};
use crate::state::State;

/// The longest time after which a temporary value may end, seconds: 31 days.
pub const MAX_EXPIRY_S: u32 = 31 * 86400;

/// Most nodes that one job sets a tunable on: what it is there meanwhile is noted in one value of a store.
pub const MAX_NODES: usize = 3000;
/// Most nodes of a job without parts, and of a part.
const PART_NODES: usize = 200;
/// Most bytes that a part asks of its nodes.
const PART_BYTES: usize = 128 * 1024;

/// Nodes, and what to set on each: names or patterns.
pub type Places = BTreeMap<NodeName, Vec<String>>;

/// Starts a job with a step for each of `nodes`, which have the tunable or should have it.
///
/// Errors: a value that the catalogue refuses; what stands against setting it permanently; no node has it, or not the one to
/// try it on; a job that is setting it already, saying for whom.
pub fn spread(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    body: &SpreadParam,
    nodes: &Places,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Param(key.clone());
    let mut steps = Vec::new();
    // The job that was started under this name is answered as it is, whoever has the tunable by now.
    if job::named(state, req, JobKind::SetParam, &object)?.is_none() {
        steps = steps_for(state, req, key, body, nodes)?;
    }
    request(state, req, NewJob::new(JobKind::SetParam, object, steps))
}

fn steps_for(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    body: &SpreadParam,
    nodes: &Places,
) -> Result<Vec<NewStep>, Problem> {
    let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
    let keep = keep(state, req, key, body, nodes)?;
    if nodes.is_empty() {
        return Err(Problem::not_found(format!("{canonical} matches nothing on the nodes asked"))
            .attribute("spec.name")
            .remedy("mgsctl param explain shows what nodes have"));
    }
    if let Some(canary) = body.canary.as_ref().filter(|canary| !nodes.contains_key(*canary)) {
        let problem = Problem::refused(format!("{canary} has no {canonical}, so it can't be tried there"));
        return Err(problem.attribute("canary").remedy("name a node that has it"));
    }
    if nodes.len() > MAX_NODES {
        let message = format!("{} nodes have {canonical}; a job sets it on {MAX_NODES} at most", nodes.len());
        return Err(Problem::refused(message).attribute("nodes").remedy("name some of them, one job after the other"));
    }
    let value = &body.spec.value;
    let mut others = nodes.clone();
    let canary = body.canary.as_ref().and_then(|canary| others.remove_entry(canary));
    let canary = canary.map(|(node, names)| set_on(&node, &names, value).after([]));
    let mut steps: Vec<NewStep> = canary.into_iter().collect();
    let first: Vec<usize> = (0..steps.len()).collect();
    let mut parts = parts(others, value);
    if parts.len() == 1 {
        let part = parts.pop().unwrap_or_default();
        steps.extend(part.iter().map(|(node, names)| set_on(node, names, value).after(first.clone())));
    }
    for places in parts {
        let part = Box::new(SettingPart { value: value.clone(), places });
        steps.push(NewStep::own(StepKind::Job, OwnAct::SetPart(part)).after(first.clone()));
    }
    if let Some(keep) = keep {
        let all: Vec<usize> = (0..steps.len()).collect();
        steps.push(NewStep::own(StepKind::KeepParam, OwnAct::KeepParam(keep)).after(all));
    }
    Ok(steps)
}

/// The step that sets a value on a node.
pub(in crate::decide) fn set_on(node: &NodeName, names: &[String], value: &str) -> NewStep {
    let setting = |name: &String| NodeParamSetting { pattern: name.clone(), value: value.to_owned() };
    let settings = names.iter().map(setting).collect();
    NewStep::on(node.clone(), StepKind::SetParam, AgentOp::SetParam(SetNodeParams { settings }))
}

/// The nodes in parts, each small enough for one job.
fn parts(nodes: Places, value: &str) -> Vec<Places> {
    let mut parts: Vec<Places> = Vec::new();
    let mut bytes = 0;
    for (node, names) in nodes {
        let asked: usize = names.iter().map(|name| name.len() + value.len()).sum();
        let is_full = |part: &Places| part.len() == PART_NODES || bytes + asked > PART_BYTES;
        if parts.last().is_none_or(is_full) {
            parts.push(Places::new());
            bytes = 0;
        }
        bytes += asked;
        parts.last_mut().expect("one was just added where there was none").insert(node, names);
    }
    parts
}

/// What becomes of the value; none where it is permanent already.
fn keep(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    body: &SpreadParam,
    nodes: &Places,
) -> Result<Option<Keep>, Problem> {
    if body.is_temporary {
        if body.confirm_within_s.is_some() {
            let problem = Problem::invalid("a temporary value is not confirmed: it ends by itself");
            return Err(problem.attribute("confirm_within_s").remedy("give expires_in_s"));
        }
        check_expiry(body.expires_in_s)?;
        catalogue::check_temporary(key.name.as_str(), &body.spec.value, !nodes.is_empty()).map_err(|fault| {
            let attribute = format!("spec.{}", fault.attribute());
            Problem::invalid(fault.to_string()).attribute(attribute).remedy(fault.remedy())
        })?;
        param::idle(state, key)?;
        return Ok(Some(Keep::Temporary { expires_in_s: body.expires_in_s }));
    }
    if body.expires_in_s.is_some() {
        let problem = Problem::invalid("a permanent value does not expire");
        return Err(problem.attribute("expires_in_s").remedy("say is_temporary, or leave expires_in_s out"));
    }
    let live = LiveParams::from([(key.name.clone(), nodes.keys().cloned().collect())]);
    // What would be refused in the end is refused before a node is touched.
    let rehearsed = param::put_confirmed(state, req, key, &body.spec, body.confirm_within_s, &live)?;
    if rehearsed.changes.is_empty() {
        return Ok(None);
    }
    let revision = state.params.get(key).map_or(0, |param| param.revision);
    let (value, allow_unknown) = (body.spec.value.clone(), body.spec.allow_unknown);
    Ok(Some(Keep::Permanent { value, allow_unknown, confirm_within_s: body.confirm_within_s, revision }))
}

/// Errors: a time after which no temporary value can end.
pub fn check_expiry(expires_in_s: Option<u32>) -> Result<(), Problem> {
    match expires_in_s.filter(|seconds| !(1..=MAX_EXPIRY_S).contains(seconds)) {
        Some(seconds) => {
            let problem = format!("expires_in_s is {seconds}; 1 to {MAX_EXPIRY_S} are possible");
            Err(Problem::invalid(problem).attribute("expires_in_s"))
        }
        None => Ok(()),
    }
}
