//! The label of a target, written as it should be.

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::RelabelOp;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::{Dataset, SvName};
use lustre_wire::mountdata::{Label, LabelState};

use super::whole;
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, job, target};
use crate::state::State;

/// Starts a job that writes the label onto the target's device which it should have: `-` for one that is in the configuration,
/// `:` for one that is not yet. Whether the device is that target at all, its agent finds out by its mountdata and its UUID.
///
/// Errors: it is started; its format did not come to its end; nobody knows its device, or that is not changed from here.
pub fn relabel(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Target(svname.clone());
    let known = job::named(state, req, JobKind::Relabel, &object)?.is_some();
    let found = target::get(state, svname)?;
    let record = &found.value;
    let mut steps = Vec::new();
    // The job that was started under this name is answered as it is, whatever the target is by now.
    if !known {
        req.check_revision(&format!("target {svname}"), found.revision)?;
        match record.state {
            TargetState::Started => {
                let problem = Problem::refused(format!("{svname} is started on {}", record.place()));
                return Err(problem.remedy(format!("mgsctl target stop {svname} first")));
            }
            TargetState::Formatted | TargetState::Registered | TargetState::Stopped => {}
            other => {
                let problem = Problem::refused(format!("{svname} is {}: there is no finished target", other.as_str()));
                return Err(problem.remedy("ensure it again; that formats and labels it"));
            }
        }
        whole::can_be_tuned(svname, record)?;
        if Dataset::is_meant(&record.spec.device) {
            // There is no label beside the other properties that could differ from them.
            let dataset = record.device_on(record.place());
            let problem = Problem::refused(format!("{svname} is on ZFS, where a label is a property like the others"));
            return Err(
                problem.remedy(format!("zfs set lustre:svname={} {dataset}", label(svname, record.was_registered)))
            );
        }
        let op = RelabelOp {
            svname: svname.clone(),
            device: record.device_on(record.place()).to_owned(),
            expect_uuid: record.uuid.clone(),
            registered: record.was_registered,
        };
        steps.push(NewStep::on(record.place().clone(), StepKind::Relabel, AgentOp::Relabel(op)));
    }
    request(state, req, NewJob::new(JobKind::Relabel, object, steps))
}

/// The label that a target should have.
pub(in crate::decide) fn label(svname: &SvName, is_registered: bool) -> Label {
    let state = if is_registered { LabelState::Registered } else { LabelState::Virgin };
    Label::with_state(svname.clone(), state)
}
