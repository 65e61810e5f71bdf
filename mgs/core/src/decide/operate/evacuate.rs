//! The job that empties an OST and takes it out of the configuration.

use lustre_api::agent::{AgentOp, StartDriver};
use lustre_api::agent_ops::FindFilesOp;
use lustre_api::job::{Job, JobId, JobKind, JobObject, JobState, StepKind};
use lustre_api::operation::EvacuateTarget;
use lustre_api::param::ParamSpec;
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::{ParamScope, SvName, TargetKind};

use crate::decide::evacuate::EvacuationLimits;
use crate::decide::job::{self, NewJob, NewStep, request};
use crate::decide::{Compare, Decision, Request, as_read, lifecycle, node, param, put, target};
use crate::key::{Key, ParamKey};
use crate::record::{Change, JobRecord, OstTunable, OwnAct, Record};
use crate::state::State;
use crate::view;

/// Starts a job: no new files on it, move what is there, deactivate it, see that nothing is left, take it out of its pools,
/// stop it, take it out of the configuration.
///
/// Errors: no OST, or not in the configuration; the last OST; a client that is not enrolled; limits that can't be.
pub fn evacuate(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &EvacuateTarget,
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Target(svname.clone());
    let new = |steps| NewJob::new(JobKind::Evacuate, object.clone(), steps);
    if job::named(state, req, JobKind::Evacuate, &object)?.is_some() {
        return request(state, req, new(Vec::new()));
    }
    let found = target::get(state, svname)?;
    let record = &found.value;
    req.check_revision(&format!("target {svname}"), found.revision)?;
    let (TargetKind::Ost, Some(fsname)) = (svname.kind(), svname.fsname()) else {
        return Err(
            Problem::refused(format!("{svname} is no OST")).remedy("files of an MDT are moved by lfs migrate -m")
        );
    };
    if !record.state.is_registered() {
        let problem = Problem::refused(format!("{svname} is {}, not registered", record.state.as_str()));
        return Err(problem.remedy("nothing can be on it; mgsctl target delete takes it out"));
    }
    let mut others = state.targets_of(fsname, Some(TargetKind::Ost)).filter(|(other, _)| *other != svname);
    if !others.any(|(_, other)| other.value.state.is_registered()) {
        return Err(Problem::refused(format!("{svname} is the only OST of {fsname}: its files can go nowhere")));
    }
    node::find(state, &body.client).map_err(|problem| problem.attribute("client"))?;
    if body.rate_bytes_per_s == Some(0) {
        let problem = Problem::invalid("at 0 bytes a second nothing would ever move");
        return Err(problem.remedy("pause the job instead: mgsctl job pause").attribute("rate_bytes_per_s"));
    }
    if let Some(path) = body.mountpoint.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(Problem::invalid(format!("mount point {path:?} must be absolute")).attribute("mountpoint"));
    }
    let limits = EvacuationLimits {
        mountpoint: body.mountpoint.clone(),
        rate_bytes_per_s: body.rate_bytes_per_s,
        window: body.window,
    };
    let search = FindFilesOp { ost: svname.clone(), mountpoint: body.mountpoint.clone(), max_files: 1000 };
    // What the first batch is, the engine says when it begins; this stands for it in the digest.
    let first = AgentOp::FindFiles(search.clone());
    let mut steps = vec![
        NewStep::own(StepKind::NoCreate, OwnAct::Evacuate(limits)),
        NewStep::on(body.client.clone(), StepKind::Migrate, first),
        NewStep::own(StepKind::Deactivate, OwnAct::Tunable(OstTunable::Inactive, true)),
        NewStep::on(body.client.clone(), StepKind::Verify, AgentOp::FindFiles(search)),
        NewStep::own(StepKind::LeavePools, OwnAct::LeavePools),
    ];
    let has_lustre =
        node::find(state, record.place()).is_ok_and(|node| node.value.info.start_driver != StartDriver::None);
    if record.state == TargetState::Started && has_lustre {
        steps.push(lifecycle::stop_step(svname, record));
    }
    steps.push(NewStep::own(StepKind::Deregister, OwnAct::Deregister));
    request(state, req, new(steps))
}

/// Lets an evacuation rest, or go on. Errors: another job, or one that is over.
pub fn pause(state: &State, req: &Request<'_>, id: &JobId, is_paused: bool) -> Result<Decision<Written<Job>>, Problem> {
    let object = job::get(state, id)?;
    let mut record = object.value.clone();
    if record.job.state.is_final() || record.job.state == JobState::Cancelling {
        let problem = Problem::refused(format!("job {id} is {}", record.job.state.as_str()));
        return Err(problem.remedy("an evacuation that is started again goes on with what is left"));
    }
    let Some(evacuation) = &mut record.evacuation else {
        let problem = Problem::refused(format!("job {id} is no evacuation that has begun; only those can rest"));
        return Err(problem.remedy(format!("mgsctl job cancel {id} stops it")));
    };
    if evacuation.is_paused == is_paused {
        return Ok(Decision::unchanged(view::job(&object.value, object.revision, 0), state.revision));
    }
    evacuation.is_paused = is_paused;
    let key = Key::Job(id.clone());
    let shown = view::job(&record, object.revision, 0);
    let compare = vec![as_read(key.clone(), object.revision)];
    let what = format!("{} job {id}", if is_paused { "pause" } else { "resume" });
    let mut decision = Decision::changed(req, what, shown, compare, vec![put(key, Record::Job(Box::new(record)))]);
    decision.reply.job = Some(id.clone());
    Ok(decision)
}

/// Sets a tunable of an OST that an evacuation needs, or unsets it. Nothing changes where all is as wanted.
/// Errors: a config log that is full.
pub(in crate::decide) fn tunable(
    state: &State,
    req: &Request<'_>,
    ost: &SvName,
    tunable: OstTunable,
    is_set: bool,
    compare: &mut Vec<Compare>,
    changes: &mut Vec<Change>,
) -> Result<(), Problem> {
    let key = key_of(ost, tunable);
    let value = value_of(tunable);
    let spec = ParamSpec {
        filesystem: key.filesystem.clone(),
        scope: key.scope.clone(),
        name: key.name.clone(),
        value: value.to_owned(),
        allow_unknown: false,
    };
    let req = Request { if_revision: None, ..*req };
    let decision = match (is_set, state.params.contains_key(&key)) {
        (true, _) => param::put_param(state, &req, &key, &spec)?,
        (false, true) if tunable == OstTunable::Inactive => {
            // Nodes keep what they were told: they have to be told that it is active.
            let active = ParamSpec { value: "1".to_owned(), ..spec };
            param::put_param(state, &req, &key, &active)?
        }
        (false, true) => {
            let off = ParamSpec { value: "0".to_owned(), ..spec };
            param::put_param(state, &req, &key, &off)?
        }
        (false, false) => return Ok(()),
    };
    compare.extend(decision.compare);
    changes.extend(decision.changes);
    Ok(())
}

/// Whether a tunable says already what an evacuation makes it say.
pub(in crate::decide) fn is_set(state: &State, ost: &SvName, tunable: OstTunable) -> bool {
    let value = state.params.get(&key_of(ost, tunable)).map(|param| param.value.value.as_str());
    value == Some(value_of(tunable))
}

fn value_of(tunable: OstTunable) -> &'static str {
    match tunable {
        OstTunable::NoCreate => "1",
        OstTunable::Inactive => "0",
    }
}

fn key_of(ost: &SvName, tunable: OstTunable) -> ParamKey {
    let name = match tunable {
        OstTunable::NoCreate => "obdfilter.*.no_create",
        OstTunable::Inactive => "osc.*.active",
    };
    let name = name.parse().expect("a name of a tunable");
    ParamKey { filesystem: ost.fsname().cloned(), scope: ParamScope::Target(ost.clone()), name }
}

/// What has to be taken back of an evacuation that ends without its goal, with the words for it. A failed one keeps new
/// files off, so that it can go on; but nobody is kept from files that are still there.
pub(in crate::decide) fn to_undo(record: &JobRecord, outcome: JobState) -> Vec<(OstTunable, &'static str)> {
    let is_done = |kind| record.job.steps.iter().any(|step| step.kind == kind && step.state == JobState::Done);
    if record.job.kind != JobKind::Evacuate || is_done(StepKind::Deregister) {
        return Vec::new();
    }
    let mut undo = Vec::new();
    if is_done(StepKind::Deactivate) {
        undo.push((OstTunable::Inactive, "the OST is active again"));
    }
    if outcome == JobState::Cancelled && is_done(StepKind::NoCreate) {
        undo.push((OstTunable::NoCreate, "the OST takes new files again"));
    }
    undo
}
