//! What the MGS does itself in a step of a job: one function per [`OwnAct`], all done with the commit that begins the step.

use lustre_api::Problem;
use lustre_api::job::{Job, JobId, JobKind, JobObject, JobState, StepKind};
use lustre_api::target::TargetState;
use lustre_types::{NidList, SvName};

use super::retry;
use super::start::{NewJob, NewStep, start};
use super::transition::{Transition, refused, started};
use crate::configlog::PoolChange;
use crate::decide::evacuate::Evacuation;
use crate::decide::operate::{evacuate, moving, nids, spread};
use crate::decide::{Compare, Request, as_read, confirm, lifecycle, log, nidtbl, put, register, target};
use crate::key::Key;
use crate::record::{
    Change, JobRecord, OstTunable, OwnAct, PlannedMove, PlannedPartners, PlannedTarget, PoolRecord, Record, SettingPart,
};

/// What must hold for a part to begin, and what is written then.
type Part = (Vec<Compare>, Vec<Change>);

/// What the MGS does in a step; `None` where a node does it.
pub(super) fn act(record: &JobRecord, step: usize) -> Option<OwnAct> {
    let shown = record.job.steps.get(step)?;
    // Records of the first version say it by the step's kind only.
    let by_kind = || match shown.kind {
        StepKind::Register => Some(OwnAct::Register),
        StepKind::Deregister => Some(OwnAct::Deregister),
        _ => None,
    };
    record.own.get(&step).cloned().or_else(by_kind).filter(|_| shown.node.is_none())
}

/// Does it, and ends the step; but a job that is run has only begun.
pub(super) fn run(transition: &mut Transition<'_>, step: usize, act: &OwnAct) {
    let outcome = match act {
        OwnAct::Register => register(transition, step),
        OwnAct::Deregister => deregister(transition, step),
        OwnAct::Job(id) => match again(transition, id) {
            // It has begun anew.
            Ok(true) => return,
            Ok(false) => return transition.take_in_children(),
            Err(problem) => Err(problem),
        },
        OwnAct::SetPart(_) | OwnAct::Ensure(_) | OwnAct::Move(_) => match begin_part(transition, step, act) {
            // It takes as long as that job.
            Ok(()) => return,
            Err(problem) => Err(problem),
        },
        OwnAct::FailoverNodes(planned) => failover_nodes(transition, step, planned),
        OwnAct::ReplaceNids(nids) => replace_nids(transition, step, nids),
        OwnAct::Evacuate(limits) => {
            let begun = Evacuation::new(limits.clone(), transition.req.now);
            transition.record.evacuation = Some(Box::new(begun));
            tunable(transition, step, OstTunable::NoCreate, true)
        }
        OwnAct::Tunable(wanted, is_set) => tunable(transition, step, *wanted, *is_set),
        OwnAct::LeavePools => leave_pools(transition, step),
        OwnAct::KeepParam(keep) => transition.keep_param(step, keep),
    };
    let (outcome, message) = match outcome {
        Ok(()) => (JobState::Done, None),
        Err(problem) => refused(&problem),
    };
    transition.end_step(step, outcome, message);
}

/// What the job that does a step of this one is called.
fn part_name(job: &Job, step: usize) -> JobId {
    let name = format!("{}-p{}", job.id, step + 1);
    name.parse().expect("a job's name has at most 52 characters, and a job so many steps: made by start")
}

/// Begins a part anew that did not come to its goal, where the whole is tried again. False: it is as it should be.
fn again(transition: &mut Transition<'_>, id: &JobId) -> Result<bool, Problem> {
    let Some(part) = transition.state.jobs.get(id).filter(|part| retry::is_tried_with_the_whole(&part.value.job))
    else {
        return Ok(false);
    };
    retry::check(transition.state, &part.value.job, true)?;
    let mut record = part.value.clone();
    retry::begin_anew(&mut record);
    transition.compare.push(as_read(Key::Job(id.clone()), part.revision));
    transition.more.push(put(Key::Job(id.clone()), Record::Job(Box::new(record))));
    Ok(true)
}

/// Has a job of its own do the step; any other act has none. Errors: why that job can't begin.
fn begin_part(transition: &mut Transition<'_>, step: usize, act: &OwnAct) -> Result<(), Problem> {
    let name = part_name(&transition.record.job, step);
    let (compare, changes) = match act {
        OwnAct::SetPart(part) => set_part(transition, &name, part)?,
        OwnAct::Ensure(planned) => ensure(transition, &name, planned)?,
        OwnAct::Move(planned) => match transition.record.job.svname_of(step) {
            Some(svname) => move_target(transition, svname, &name, planned)?,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    transition.compare.extend(compare);
    transition.more.extend(changes);
    transition.record.job.steps[step].job = Some(name.clone());
    transition.record.own.insert(step, OwnAct::Job(name));
    Ok(())
}

/// Starts a job that is a part of this one.
fn start_part(
    transition: &Transition<'_>,
    name: &JobId,
    kind: JobKind,
    object: JobObject,
    steps: Vec<NewStep>,
) -> Result<Part, Problem> {
    let job = &transition.record.job;
    let req = Request { who: &job.who, why: job.why.as_deref(), job: None, plan: None, ..*transition.req };
    let new = NewJob { name: Some(name.clone()), parent: Some(job.id.clone()), ..NewJob::new(kind, object, steps) };
    let started = start(transition.state, &req, new)?;
    Ok((started.compare, started.changes))
}

/// Has a part of the nodes set the tunable by a job of their own. Errors: none that a tunable can have.
fn set_part(transition: &Transition<'_>, name: &JobId, part: &SettingPart) -> Result<Part, Problem> {
    let job = &transition.record.job;
    let steps = part.places.iter().map(|(node, names)| spread::set_on(node, names, &part.value).after([])).collect();
    start_part(transition, name, job.kind, job.object.clone(), steps)
}

/// Has a target made by a job that is a part of this one. Errors: the name or the device is another's by now.
fn ensure(transition: &Transition<'_>, name: &JobId, planned: &PlannedTarget) -> Result<Part, Problem> {
    let job = &transition.record.job;
    let req = Request { who: &job.who, why: job.why.as_deref(), ..*transition.req };
    target::make(transition.state, &req, planned, &job.id, name)
}

/// Has a target moved by a job that is a part of this one. Errors: it is somewhere else by now.
fn move_target(
    transition: &Transition<'_>,
    svname: &SvName,
    name: &JobId,
    planned: &PlannedMove,
) -> Result<Part, Problem> {
    let target = target::get(transition.state, svname)?;
    if *target.value.place() != planned.from {
        let message = format!("{svname} is on {} by now, not on {}", target.value.place(), planned.from);
        return Err(Problem::conflict(message).remedy("look where it is, and plan again"));
    }
    let steps = moving::steps(svname, &target.value, planned);
    let object = JobObject::Target(svname.clone());
    let (mut compare, changes) = start_part(transition, name, JobKind::MoveTarget, object, steps)?;
    compare.push(as_read(Key::Target(svname.clone()), target.revision));
    Ok((compare, changes))
}

/// Writes the partner nodes of the target into its description and the logs. Errors: somebody else changed them since the job
/// was asked for; a config log that is full.
fn failover_nodes(transition: &mut Transition<'_>, step: usize, planned: &PlannedPartners) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let within_s = transition.record.confirm_within_s;
    let Some((svname, target)) = transition.target(step) else { return Ok(()) };
    if target.spec.failover_nodes != planned.before {
        let message = format!("the partner nodes of {svname} were changed after this job was asked for");
        return Err(Problem::conflict(message).remedy("look what they are now, and ask for the change anew"));
    }
    target.confirm = confirm::pending(req, within_s, Some(planned.before.clone()), target.confirm.as_ref());
    target.spec.failover_nodes.clone_from(&planned.after);
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    let mut draft = log::draft(state, req, svname.fsname());
    log::failover(&mut draft, &svname, &planned.before, &planned.after)?;
    log::commit(draft, &mut compare, &mut changes);
    transition.compare.extend(compare);
    transition.more.extend(changes);
    Ok(())
}

/// Writes the target into the configuration. Errors: a config log that is full.
fn register(transition: &mut Transition<'_>, step: usize) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    let svname = transition.record.job.svname_of(step).cloned();
    let was_started = svname.is_some_and(|svname| transition.is_done(StepKind::Start, &svname));
    if let Some((svname, target)) = transition.target(step) {
        let node = state.nodes.get(&target.spec.node);
        // A target that registered by itself, when it was started, said its NIDs.
        if target.nids.is_empty() {
            target.nids = node.map(|node| node.value.info.nids.clone()).unwrap_or_default();
        }
        let info = register::info(&svname, target, &target.nids);
        register::configure(state, req, &info, &mut compare, &mut changes)?;
        target.was_registered = true;
        (target.state, target.state_reason) = if was_started {
            (TargetState::Started, format!("in the configuration and {}", started(state, &target.spec.node)))
        } else {
            (TargetState::Registered, format!("in the configuration; {} has no Lustre to start it", target.spec.node))
        };
    }
    transition.compare.extend(compare);
    transition.more.extend(changes);
    Ok(())
}

/// Takes the target out of the configuration. Errors: a config log that is full.
fn deregister(transition: &mut Transition<'_>, step: usize) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let Some(svname) = transition.record.job.svname_of(step).cloned() else { return Ok(()) };
    if let Some(target) = state.targets.get(&svname) {
        let (compare, changes) = lifecycle::removal(state, req, &svname, &target.value, target.revision)?;
        transition.compare.extend(compare);
        transition.more.extend(changes);
        transition.gone(svname);
    }
    Ok(())
}

/// Writes other NIDs of the target into the logs; where it runs now is forgotten, until it says so again.
/// Errors: a config log that is full.
fn replace_nids(transition: &mut Transition<'_>, step: usize, nids: &NidList) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let within_s = transition.record.confirm_within_s;
    let Some((svname, target)) = transition.target(step) else { return Ok(()) };
    let Some((first, partners)) = nids.nodes().split_first() else { return Ok(()) };
    let before = nids::now(target);
    target.confirm_nids = confirm::pending(req, within_s, before, target.confirm_nids.as_ref());
    // They are decided with this, too.
    target.confirm = None;
    target.nids.clone_from(first);
    target.spec.failover_nodes = partners.iter().filter_map(|node| NidList::new(vec![node.clone()])).collect();
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    let mut draft = log::draft(state, req, svname.fsname());
    draft.replace_nids(&svname, nids.nodes())?;
    log::commit(draft, &mut compare, &mut changes);
    if let (Some(as_read), Some(removal)) = nidtbl::removal(state, &svname) {
        compare.push(as_read);
        changes.push(removal);
    }
    transition.compare.extend(compare);
    transition.more.extend(changes);
    Ok(())
}

/// Sets a tunable of the OST, or unsets it. Errors: a config log that is full.
fn tunable(transition: &mut Transition<'_>, step: usize, wanted: OstTunable, is_set: bool) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let Some(svname) = transition.record.job.svname_of(step).cloned() else { return Ok(()) };
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    evacuate::tunable(state, req, &svname, wanted, is_set, &mut compare, &mut changes)?;
    transition.compare.extend(compare);
    transition.more.extend(changes);
    Ok(())
}

/// Takes the OST out of every pool. Errors: a config log that is full.
fn leave_pools(transition: &mut Transition<'_>, step: usize) -> Result<(), Problem> {
    let (state, req) = (transition.state, transition.req);
    let Some(svname) = transition.record.job.svname_of(step).cloned() else { return Ok(()) };
    let Some(fsname) = svname.fsname() else { return Ok(()) };
    let mut compare = vec![Compare::Prefix(Key::pools_of(fsname), state.revision)];
    let mut changes = Vec::new();
    let mut draft = log::draft(state, req, Some(fsname));
    for (owner, pool) in lifecycle::pools_with(state, &svname) {
        let found = &state.pools[&(owner.clone(), pool.clone())];
        let mut members = found.value.members.clone();
        members.remove(&svname);
        draft.pool(owner, pool, &PoolChange::Remove(svname.clone()))?;
        let key = Key::Pool(owner.clone(), pool.clone());
        compare.push(as_read(key.clone(), found.revision));
        changes.push(put(key, Record::Pool(PoolRecord { members })));
    }
    log::commit(draft, &mut compare, &mut changes);
    transition.compare.extend(compare);
    transition.more.extend(changes);
    Ok(())
}
