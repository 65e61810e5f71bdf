//! Other NIDs of a target, in the configuration.

use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::ReplaceNids;
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::{NidList, SvName};

use super::whole::{Member, Steps, members};
use crate::decide::job::{NewJob, NewStep, request};
use crate::decide::{Decision, Request, as_read, confirm, put, target};
use crate::key::Key;
use crate::record::{OwnAct, Record, TargetRecord};
use crate::state::State;

/// Starts a job: stop what is started of the file system, write the logs with the other NIDs, start it again. The logs get
/// new records with that, so nobody may be reading on: a kernel MGS refuses for the same reason.
///
/// With `confirm_within_s` another such job puts back what was there, unless somebody confirms the NIDs in time ([`go_back`]).
///
/// Errors: not in the configuration; a target that the MGS can't stop and start; a job at work on the file system; nobody
/// knows what could be put back.
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
    confirm::check(body.confirm_within_s)?;
    if body.confirm_within_s.is_some() && now(&found.value).is_none() {
        let problem = Problem::refused(format!("nobody knows which NIDs {svname} has, so they could not be put back"));
        return Err(problem
            .attribute("confirm_within_s")
            .remedy("leave it out, or start the target: it says its NIDs"));
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
    let new = NewJob { confirm_within_s: body.confirm_within_s, ..NewJob::new(JobKind::ReplaceNids, object, steps.0) };
    let mut decision = request(state, req, new)?;
    if decision.reply.changed {
        let warning = format!("every client must have unmounted {fsname}: it would never hear of the new NIDs");
        decision.reply.warnings.push(warning);
        if let Some(seconds) = body.confirm_within_s {
            let warning = format!(
                "{seconds} s after its end another job puts the NIDs back that {svname} has now, and stops {fsname} for that, \
                 unless somebody confirms them: mgsctl target confirm {svname}"
            );
            decision.reply.warnings.push(warning);
        }
    }
    Ok(decision)
}

/// The NIDs that would have to be put back: of its node, then of each partner. What nobody has confirmed yet is none of them.
pub(in crate::decide) fn now(target: &TargetRecord) -> Option<NidList> {
    let settled = target.confirm.as_ref().and_then(|waits| waits.before.as_ref());
    let partners = settled.unwrap_or(&target.spec.failover_nodes);
    let partners = partners.iter().flat_map(|partner| partner.nodes()).cloned();
    NidList::new(std::iter::once(target.nids.clone()).chain(partners).collect())
}

/// Starts the job that puts NIDs back which nobody confirmed. Whatever becomes of it, it is not started a second time: it can be
/// tried again like any other. Errors: as [`replace_nids`]; then nothing changes, and it may be asked for again.
pub(in crate::decide) fn go_back(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<()>, Problem> {
    let found = target::get(state, svname)?;
    let nids = found.value.confirm_nids.as_ref().and_then(|waits| waits.before.clone());
    let record = TargetRecord { confirm_nids: None, ..found.value.clone() };
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    if let Some(nids) = nids {
        let req = Request {
            why: Some("nobody confirmed the NIDs in time"),
            job: None,
            plan: None,
            if_revision: None,
            ..*req
        };
        let started = replace_nids(state, &req, svname, &ReplaceNids { nids, confirm_within_s: None })?;
        (compare, changes) = (started.compare, started.changes);
    }
    let key = Key::Target(svname.clone());
    compare.push(as_read(key.clone(), found.revision));
    changes.push(put(key, Record::Target(Box::new(record))));
    Ok(Decision { compare, changes, what: String::new(), reply: () })
}
