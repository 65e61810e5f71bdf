//! Other NIDs of a target, in the configuration.

use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::ReplaceNids;
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::SvName;

use super::whole::{Member, Steps, members};
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, target};
use crate::record::OwnAct;
use crate::state::State;

/// Starts a job: stop what is started of the file system, write the logs with the other NIDs, start it again. The logs get
/// new records with that, so nobody may be reading on: a kernel MGS refuses for the same reason.
///
/// Errors: not in the configuration; a target that the MGS can't stop and start; a job at work on the file system.
pub fn replace_nids(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &ReplaceNids,
) -> Result<Decision<Written<Job>>, Problem> {
    let found = target::get(state, svname)?;
    let Some(fsname) = svname.fsname() else {
        return Err(Problem::refused("the NIDs of an MGS are in no config log").remedy("start it with other --nid"));
    };
    if !found.value.was_registered {
        let problem = Problem::refused(format!("{svname} is in no config log yet"));
        return Err(problem.remedy("it says its NIDs when it registers"));
    }
    let members = members(state, fsname)?;
    let running: Vec<Member<'_>> =
        members.into_iter().filter(|(_, target)| target.state == TargetState::Started).collect();
    let mut steps = Steps::default();
    let stopped = steps.stop_all(&running);
    let step = NewStep::own(StepKind::ReplaceNids, OwnAct::ReplaceNids(body.nids.clone()));
    let replaced = steps.add(step, svname, &stopped);
    steps.start_all(&running, &[replaced]);
    let object = JobObject::Filesystem(fsname.clone());
    let new = NewJob::new(JobKind::ReplaceNids, object, steps.0);
    let mut decision = request(state, req, new)?;
    if decision.reply.changed {
        let warning = format!("every client must have unmounted {fsname}: it would never hear of the new NIDs");
        decision.reply.warnings.push(warning);
    }
    Ok(decision)
}
