//! A look at the devices of nodes, as a job: it can be watched and cancelled, and waits for no device for ever.

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::ScanOp;
use lustre_api::job::{Job, JobKind, JobObject, Nodes, StepKind};
use lustre_api::operation::{ScanNode, ScanNodes};
use lustre_api::{Problem, Written};
use lustre_types::NodeName;

use crate::decide::job::{MAX_STEPS, NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, node};
use crate::state::State;

/// Nodes that are looked at at once where nobody says.
const AT_ONCE: usize = 32;
/// Nodes that a warning names.
const NAMED: usize = 10;

/// Starts a job that looks at the devices of a node. Errors: an unknown node, a time that no device can be given.
pub fn scan_node(
    state: &State,
    req: &Request<'_>,
    name: &NodeName,
    body: &ScanNode,
) -> Result<Decision<Written<Job>>, Problem> {
    node::find(state, name)?;
    let step = step(name, timeout(body.device_timeout_s)?);
    request(state, req, NewJob::new(JobKind::Scan, JobObject::Node(name.clone()), vec![step]))
}

/// Starts a job that looks at the devices of many nodes, so many at once: those that are named, or all that are heard of and
/// not drained.
///
/// Errors: as [`scan_node`]; more nodes than a job has steps; none at all.
pub fn scan_nodes(
    state: &State,
    req: &Request<'_>,
    body: &ScanNodes,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Nodes(Nodes::All);
    let known = job::named(state, req, JobKind::Scan, &object)?.is_some();
    let timeout_s = timeout(body.device_timeout_s)?;
    if body.at_once == Some(0) {
        return Err(Problem::invalid("none at once would never end").attribute("at_once"));
    }
    let (mut nodes, mut left_out) = (body.nodes.clone(), Vec::new());
    nodes.sort();
    nodes.dedup();
    for name in &nodes {
        node::find(state, name).map_err(|problem| problem.attribute("nodes"))?;
    }
    if nodes.is_empty() {
        for (name, node) in &state.nodes {
            match (is_alive(name), &node.value.settings.drained) {
                (true, None) => nodes.push(name.clone()),
                (true, Some(_)) => left_out.push(format!("{name} (drained)")),
                (false, _) => left_out.push(format!("{name} (not heard of)")),
            }
        }
    }
    if nodes.is_empty() && !known {
        let problem = Problem::refused("no node is heard of that is not drained");
        return Err(problem.remedy("mgsctl node list shows them; those that are named are waited for"));
    }
    if nodes.len() > MAX_STEPS {
        let message = format!("{} nodes; a job looks at {MAX_STEPS} at most", nodes.len());
        return Err(Problem::refused(message).remedy("name some of them, one job after the other").attribute("nodes"));
    }
    let steps = nodes.iter().map(|name| step(name, timeout_s).after([])).collect();
    let at_once = body.at_once.map_or(AT_ONCE, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let new = NewJob { at_once: Some(at_once), ..NewJob::new(JobKind::Scan, object, steps) };
    let mut decision = request(state, req, new)?;
    if decision.reply.changed && !left_out.is_empty() {
        let more = if left_out.len() > NAMED { format!(" and {} more", left_out.len() - NAMED) } else { String::new() };
        let some = left_out[..left_out.len().min(NAMED)].join(", ");
        decision.reply.warnings.push(format!("left out: {some}{more}; name them to have them waited for"));
    }
    Ok(decision)
}

fn step(name: &NodeName, device_timeout_s: Option<u32>) -> NewStep {
    NewStep::on(name.clone(), StepKind::Scan, AgentOp::Scan(ScanOp { device_timeout_s }))
}

fn timeout(seconds: Option<u32>) -> Result<Option<u32>, Problem> {
    match seconds.filter(|seconds| !(1..=600).contains(seconds)) {
        Some(seconds) => {
            let message = format!("device_timeout_s is {seconds}; 1 to 600 are possible");
            Err(Problem::invalid(message).attribute("device_timeout_s"))
        }
        None => Ok(seconds),
    }
}
