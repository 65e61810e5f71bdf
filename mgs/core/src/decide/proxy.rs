//! The kernel proxy of a node: a job of one step, which its agent does.

use lustre_api::agent::AgentOp;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::{Problem, Written};
use lustre_types::NodeName;

use crate::decide::job::{self, NewJob, NewStep};
use crate::decide::{Decision, Request, node};
use crate::state::State;

/// Has a node load the proxy. Errors: an unknown node, one with Lustre's servers, a job at work on the node.
pub fn ensure(state: &State, req: &Request<'_>, name: &NodeName) -> Result<Decision<Written<Job>>, Problem> {
    let known = &node::find(state, name)?.value.info;
    let servers = known.kernel_proxy.as_ref().map(|proxy| proxy.servers.join(", ")).unwrap_or_default();
    if !servers.is_empty() {
        let message = format!(
            "the kernel of {name} has Lustre's server modules loaded ({servers}), which own the portals of an MGS"
        );
        return Err(Problem::refused(message).remedy("run the MGS on a node that is no Lustre server, or unload them"));
    }
    on(state, req, name, JobKind::EnsureProxy, NewStep::on(name.clone(), StepKind::LoadProxy, AgentOp::LoadProxy))
}

/// Has a node unload the proxy. Errors: an unknown node, a job at work on the node.
pub fn remove(state: &State, req: &Request<'_>, name: &NodeName) -> Result<Decision<Written<Job>>, Problem> {
    node::find(state, name)?;
    on(state, req, name, JobKind::RemoveProxy, NewStep::on(name.clone(), StepKind::UnloadProxy, AgentOp::UnloadProxy))
}

fn on(
    state: &State,
    req: &Request<'_>,
    name: &NodeName,
    kind: JobKind,
    step: NewStep,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Node(name.clone());
    job::request(state, req, NewJob::new(kind, object, vec![step]))
}
