//! Start, stop and deregister of targets that exist.

use lustre_api::agent::{AgentOp, PoolUser, StartDriver, StartOp, StopOp};
use lustre_api::agent_ops::StopForce;
use lustre_api::job::{JobKind, JobObject, StepKind};
use lustre_api::operation::StopWithin;
use lustre_api::target::{Target, TargetState};
use lustre_api::{Problem, Written};
use lustre_types::{NodeName, SvName, TargetKind};

use crate::configlog::PoolChange;
use crate::decide::job::{self, NewJob, NewStep};
use crate::decide::{Compare, Decision, Request, as_read, log, nidtbl, node, put, remove, target};
use crate::key::Key;
use crate::record::{Change, OwnAct, Record, TargetRecord};
use crate::state::{Object, State};
use crate::view;

/// Starts a target by a job. Errors: not registered, a node without Lustre, a job at work on it.
pub fn start(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<Written<Target>>, Problem> {
    if let Some(known) = started_before(state, req, JobKind::StartTarget, svname)? {
        return Ok(known);
    }
    let object = ready(state, req, svname)?;
    if object.value.state == TargetState::Started {
        return Ok(Decision::unchanged(view::target(state, svname, &object.value, object.revision), state.revision));
    }
    job_on(state, req, JobKind::StartTarget, svname, object, vec![start_step(svname, &object.value)])
}

/// Stops a target by a job. Errors: as [`start`].
pub fn stop(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<Written<Target>>, Problem> {
    stop_within(state, req, svname, &StopWithin::default())
}

/// As [`stop`], in a given time and by so much force. Errors: as [`stop`]; a time that is out of range.
pub fn stop_within(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: &StopWithin,
) -> Result<Decision<Written<Target>>, Problem> {
    if let Some(seconds) = body.timeout_s.filter(|seconds| !(1..=86400).contains(seconds)) {
        let message = format!("timeout_s is {seconds}; 1 to 86400 are possible");
        return Err(Problem::invalid(message).attribute("timeout_s"));
    }
    if let Some(known) = started_before(state, req, JobKind::StopTarget, svname)? {
        return Ok(known);
    }
    let object = ready(state, req, svname)?;
    if object.value.state == TargetState::Stopped {
        return Ok(Decision::unchanged(view::target(state, svname, &object.value, object.revision), state.revision));
    }
    let steps = vec![stop_step_within(svname, &object.value, body)];
    let mut decision = job_on(state, req, JobKind::StopTarget, svname, object, steps)?;
    if body.force == StopForce::Lazy {
        let warning = format!(
            "behind a lazy unmount the kernel may still write: don't start {svname} elsewhere before {} let go of it",
            object.value.place()
        );
        decision.reply.warnings.push(warning);
    }
    Ok(decision)
}

/// Takes a target out of the configuration; its device is left as it is.
///
/// What was never registered is removed at once, anything else by a job. Errors: a pool has it, a job is at work on it.
pub fn deregister(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<Written<Target>>, Problem> {
    deregister_from(state, req, svname, false, &|_| true)
}

/// As [`deregister`]; with `node_is_down` it is not stopped where it runs. `is_alive` says which nodes are heard of.
/// Errors: as [`deregister`]; that node is heard of.
pub fn deregister_from(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    node_is_down: bool,
    is_alive: &dyn Fn(&NodeName) -> bool,
) -> Result<Decision<Written<Target>>, Problem> {
    if let Some(known) = started_before(state, req, JobKind::DeregisterTarget, svname)? {
        return Ok(known);
    }
    let object = target::get(state, svname)?;
    let record = &object.value;
    req.check_revision(&format!("target {svname}"), object.revision)?;
    if let Some(job) = state.active_job(svname) {
        return Err(job::busy_with(svname, &job.value.job));
    }
    if let Some((fsname, pool)) = pools_with(state, svname).next() {
        let problem = Problem::refused(format!("{svname} is a member of pool {fsname}.{pool}"));
        return Err(problem.remedy(format!("take it out of {fsname}.{pool} first; files keep their objects")));
    }
    if !record.was_registered {
        let (mut compare, changes) = removal(state, req, svname, record, object.revision)?;
        compare.extend(job::idle(svname));
        let view = view::target(state, svname, record, object.revision);
        return Ok(Decision::changed(req, format!("delete {svname}"), view, compare, changes));
    }
    let has_lustre =
        node::find(state, record.place()).is_ok_and(|node| node.value.info.start_driver != StartDriver::None);
    if node_is_down && is_alive(record.place()) {
        let message = format!("{} is said to be down, and its agent was heard of a moment ago", record.place());
        let problem = Problem::refused(message).attribute("node_is_down");
        return Err(problem.remedy(format!("leave node_is_down out: {svname} is stopped there first")));
    }
    let mut steps = Vec::new();
    if record.state == TargetState::Started && has_lustre && !node_is_down {
        steps.push(stop_step(svname, record));
    }
    steps.push(NewStep::own(StepKind::Deregister, OwnAct::Deregister));
    job_on(state, req, JobKind::DeregisterTarget, svname, object, steps)
}

/// What removing a target from the state takes.
/// Nodes that have the target are told that it is inactive; with the last target, the file system's logs go.
/// Errors: a config log that is full.
pub(super) fn removal(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    record: &TargetRecord,
    revision: u64,
) -> Result<(Vec<Compare>, Vec<Change>), Problem> {
    let key = Key::Target(svname.clone());
    let mut compare = vec![as_read(key.clone(), revision)];
    let mut changes = vec![remove(key), remove(Key::Device(record.spec.node.clone(), record.device_key.clone()))];
    let Some(fsname) = svname.fsname() else { return Ok((compare, changes)) };
    if let (Some(as_read), Some(removal)) = nidtbl::removal(state, svname) {
        compare.push(as_read);
        changes.push(removal);
    }
    // Written even when it does not change: whoever counts on the target being there compares it.
    let before = state.retired.get(fsname);
    let mut retired = before.map(|retired| retired.value.clone()).unwrap_or_default();
    if record.was_registered {
        retired.insert(svname.clone());
    }
    compare.push(as_read(Key::Retired(fsname.clone()), before.map_or(0, |retired| retired.revision)));
    changes.push(put(Key::Retired(fsname.clone()), Record::Retired(retired)));
    let mut draft = log::draft(state, req, Some(fsname));
    if svname.kind() == TargetKind::Ost {
        compare.push(Compare::Prefix(Key::pools_of(fsname), state.revision));
        for (owner, pool) in pools_with(state, svname) {
            let mut members = state.pools[&(owner.clone(), pool.clone())].value.clone();
            members.members.remove(svname);
            draft.pool(owner, pool, &PoolChange::Remove(svname.clone()))?;
            changes.push(put(Key::Pool(owner.clone(), pool.clone()), Record::Pool(members)));
        }
    }
    let mut others = state.targets_of(fsname, None).filter(|(other, _)| *other != svname);
    if draft.has_target(svname) && others.any(|(other, _)| draft.has_target(other)) {
        draft.deactivate_for_good(svname)?;
    } else if draft.has_target(svname) {
        draft.erase_all();
    }
    log::commit(draft, &mut compare, &mut changes);
    Ok((compare, changes))
}

pub(super) fn pools_with<'a>(
    state: &'a State,
    svname: &'a SvName,
) -> impl Iterator<Item = &'a (lustre_types::FsName, lustre_types::PoolName)> {
    state.pools.iter().filter(|(_, pool)| pool.value.members.contains(svname)).map(|(key, _)| key)
}

/// A registered target that no job is at work on, on a node with Lustre.
fn ready<'a>(state: &'a State, req: &Request<'_>, svname: &SvName) -> Result<&'a Object<TargetRecord>, Problem> {
    let object = target::get(state, svname)?;
    req.check_revision(&format!("target {svname}"), object.revision)?;
    if let Some(job) = state.active_job(svname) {
        return Err(job::busy_with(svname, &job.value.job));
    }
    if !object.value.state.is_registered() {
        let problem = Problem::refused(format!("{svname} is {}, not registered", object.value.state.as_str()));
        return Err(problem.remedy("ensure it again; that formats, registers and starts it"));
    }
    let node = node::find(state, object.value.place())?;
    if node.value.info.start_driver == StartDriver::None {
        let problem = Problem::refused(format!("{} has no Lustre to start {svname} with", node.value.info.node));
        return Err(problem.remedy("install the Lustre server modules there, or configure another start driver"));
    }
    Ok(object)
}

/// The step that starts a target on its node.
pub(super) fn start_step(svname: &SvName, record: &TargetRecord) -> NewStep {
    start_step_from(svname, record, record.place(), None)
}

/// The step that starts a target on a node, on ZFS with the pool that its `last_user` may have left imported.
pub(super) fn start_step_from(
    svname: &SvName,
    record: &TargetRecord,
    node: &NodeName,
    last_user: Option<PoolUser>,
) -> NewStep {
    let device = record.device_on(node).to_owned();
    let op = StartOp { svname: svname.clone(), device, mountpoint: None, pool_of: last_user };
    NewStep::on(node.clone(), StepKind::Start, AgentOp::Start(op))
}

/// The step that stops a target on its node.
pub(super) fn stop_step(svname: &SvName, record: &TargetRecord) -> NewStep {
    stop_step_within(svname, record, &StopWithin::default())
}

fn stop_step_within(svname: &SvName, record: &TargetRecord, body: &StopWithin) -> NewStep {
    stop_by(svname, record, body, false)
}

/// The step that stops a target to have it on another node: whether its ZFS pool leaves with it.
pub(super) fn stop_to_move(svname: &SvName, record: &TargetRecord, export_pool: bool) -> NewStep {
    stop_by(svname, record, &StopWithin::default(), export_pool)
}

fn stop_by(svname: &SvName, record: &TargetRecord, body: &StopWithin, export_pool: bool) -> NewStep {
    let op = StopOp {
        svname: svname.clone(),
        device: record.device_on(record.place()).to_owned(),
        timeout_s: body.timeout_s,
        force: body.force,
        export_pool,
    };
    NewStep::on(record.place().clone(), StepKind::Stop, AgentOp::Stop(op))
}

/// The answer to a request whose job was started before, under the caller's name for it.
fn started_before(
    state: &State,
    req: &Request<'_>,
    kind: JobKind,
    svname: &SvName,
) -> Result<Option<Decision<Written<Target>>>, Problem> {
    let named = job::named(state, req, kind, &JobObject::Target(svname.clone()))?;
    let (Some(job), Some(target)) = (named, state.targets.get(svname)) else { return Ok(None) };
    let mut decision = Decision::unchanged(view::target(state, svname, &target.value, target.revision), state.revision);
    decision.reply.job = Some(job.id);
    Ok(Some(decision))
}

fn job_on(
    state: &State,
    req: &Request<'_>,
    kind: JobKind,
    svname: &SvName,
    object: &Object<TargetRecord>,
    steps: Vec<NewStep>,
) -> Result<Decision<Written<Target>>, Problem> {
    let new = NewJob::new(kind, JobObject::Target(svname.clone()), steps);
    let started = job::start(state, req, new)?;
    let id = started.plan.job.id.clone();
    let record = TargetRecord { job: Some(id.clone()), ..object.value.clone() };
    let key = Key::Target(svname.clone());
    let view = view::target(state, svname, &record, object.revision);
    let (mut compare, mut changes) = (started.compare, started.changes);
    compare.push(as_read(key.clone(), object.revision));
    changes.push(put(key, Record::Target(Box::new(record))));
    let mut decision = Decision::changed(req, format!("job {id}"), view, compare, changes);
    decision.reply.job = Some(id);
    decision.reply.plan = Some(started.plan);
    Ok(decision)
}
