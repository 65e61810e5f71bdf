//! The configuration of a file system, written anew.

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::TuneOp;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::WriteconfFilesystem;
use lustre_api::{Problem, Written};
use lustre_types::FsName;

use super::whole::{Steps, is_mdt0, members};
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request};
use crate::state::State;

/// Starts a job: stop the MDTs, then the OSTs; mark them all; start the first MDT, which removes every log of the file
/// system, then the other MDTs, then the OSTs, which write theirs. Tunables and pools are written again as each registers.
///
/// Partner nodes are written onto the devices with the mark: what was changed since the format comes back too.
/// Errors: a target that the MGS can't stop and start, or that is not at home; a job at work on the file system; more targets than one job can have.
pub fn writeconf(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
    body: &WriteconfFilesystem,
) -> Result<Decision<Written<Job>>, Problem> {
    let members = members(state, fsname)?;
    if let Some((svname, target)) = members.iter().find(|(_, target)| *target.place() != target.spec.node) {
        // An MGS denies the first registration of a target from a NID that the target names as its partner's.
        let (place, home) = (target.place(), &target.spec.node);
        let problem =
            Problem::refused(format!("{svname} runs on its partner {place}, and can't register anew from there"));
        return Err(problem.remedy(format!("bring it home first: mgsctl target move {svname} {home}")));
    }
    let mgs_nids = match body.set_mgs_nids {
        true => Some(req.env.mgs_nids.clone().ok_or_else(|| {
            Problem::refused("this MGS has no NIDs that could be written onto targets").remedy("start it with --nid")
        })?),
        false => None,
    };
    let mut steps = Steps::default();
    let stopped = steps.stop_all(&members);
    let mut marked = Vec::new();
    for (svname, target) in &members {
        let op = TuneOp {
            svname: (*svname).clone(),
            device: target.device_on(target.place()).to_owned(),
            expect_uuid: target.uuid.clone(),
            writeconf: Some(true),
            mgs_nids: mgs_nids.clone(),
            failover_nodes: Some(target.spec.failover_nodes.clone()),
        };
        let step = NewStep::on(target.place().clone(), StepKind::Tune, AgentOp::Tune(op));
        // The others wait for the first MDT's mark, so that not each has to name all steps before it.
        let after = if is_mdt0(svname) { &stopped[..] } else { &marked[..1] };
        marked.push(steps.add(step, svname, after));
    }
    steps.start_all(&members, &marked);
    let object = JobObject::Filesystem(fsname.clone());
    let new = NewJob::new(JobKind::Writeconf, object, steps.0);
    let mut decision = request(state, req, new)?;
    if decision.reply.changed {
        let warning = format!("every client must have unmounted {fsname}: the configuration that it knows is removed");
        decision.reply.warnings.push(warning);
    }
    Ok(decision)
}
