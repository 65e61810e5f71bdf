//! Ensuring a target: which index it gets, which device it may have, and the job that makes it.

use std::collections::BTreeSet;

use lustre_api::agent::{AgentOp, FormatCheck, FormatOp, StartDriver, StartOp};
use lustre_api::device::Device;
use lustre_api::job::{JobId, JobKind, JobObject, StepKind};
use lustre_api::target::{EnsureTarget, Target, TargetSpec};
use lustre_api::{Problem, Written};
use lustre_types::{FsName, SvName, TargetKind};

use crate::decide::job::{self, NewJob, NewStep};
use crate::decide::{Compare, Decision, Request, absent, as_read, confirm, log, put, remove, rules};
use crate::key::Key;
use crate::record::{Change, OwnAct, PlannedTarget, Record, TargetRecord};
use crate::state::{Object, State};
use crate::view;

/// Of a target whose job has not begun.
const WAITS: &str = "its format waits for its turn";

/// What a request for a target refers to.
pub(super) enum Found<'a> {
    /// A target that exists, on the device that is asked for.
    Here(&'a SvName, &'a Object<TargetRecord>),
    /// A target that exists, with another node or device than asked for.
    Elsewhere(&'a SvName, &'a Object<TargetRecord>),
    /// None yet.
    New,
}

/// Whether an ensure has to know what is on the device: not when the target stands as described already.
pub fn needs_check(state: &State, spec: &TargetSpec) -> bool {
    match find(state, spec, None) {
        Ok(Found::Here(svname, target)) => !target.value.state.is_registered() && state.active_job(svname).is_none(),
        Err(_) => false,
        _ => true,
    }
}

/// The format that an ensure would ask for, for the agent to check. The index is what it would be by now.
pub fn draft(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    busy: &BTreeSet<SvName>,
) -> Result<FormatOp, Problem> {
    let spec = &body.target;
    rules::before_look(state, req, spec)?;
    let svname = match find(state, spec, None)? {
        Found::Here(svname, _) | Found::Elsewhere(svname, _) => svname.clone(),
        Found::New => new_name(state, spec, None, busy)?,
    };
    Ok(format_op(req, &svname, body, None))
}

/// Ensures a target by a job: the same target again gives the same target, and no second format.
///
/// `seen` is what the node's agent found on the device; it may only be missing where [`needs_check`] says so.
/// Errors: an unknown file system or node, an index or a device that another target has, a device that may not be
/// formatted (saying what is on it), a change that only a new format could bring, a job that is at work on the target.
pub fn ensure(
    state: &State,
    req: &Request<'_>,
    body: EnsureTarget,
    seen: Option<&FormatCheck>,
    busy: &BTreeSet<SvName>,
) -> Result<Decision<Written<Target>>, Problem> {
    let device = seen.map(|seen| &seen.device);
    confirm::check(body.confirm_within_s)?;
    device.map_or(Ok(()), |device| rules::as_planned(&body, device))?;
    rules::target(state, req, &body, device)?;
    let mut decision = match find(state, &body.target, device)? {
        Found::New => create(state, req, &body, device, busy)?,
        Found::Here(svname, target) => again(state, req, &body, device, svname, target)?,
        Found::Elsewhere(svname, target) => moved(state, req, &body, device, svname, target)?,
    };
    let svname = decision.reply.object.svname.clone();
    if let (None, Some(job)) =
        (&decision.reply.job, job::named(state, req, JobKind::EnsureTarget, &JobObject::Target(svname))?)
    {
        decision.reply.job = Some(job.id);
    }
    for feature in seen.iter().flat_map(|seen| &seen.missing_features) {
        let warning = format!("the e2fsprogs of {} lack {feature}; the target is made without it", body.target.node);
        decision.reply.warnings.push(warning);
    }
    Ok(decision)
}

/// The target that a description refers to: by its index where it has one, else by its device.
/// Errors: the device belongs to another target.
pub(super) fn find<'a>(state: &'a State, spec: &TargetSpec, device: Option<&Device>) -> Result<Found<'a>, Problem> {
    let mut paths = vec![spec.device.as_str()];
    if let Some(device) = device {
        paths.push(&device.path);
        paths.extend(device.links.iter().map(String::as_str));
    }
    let named = spec.svname().and_then(|svname| state.targets.get_key_value(&svname));
    match (state.target_on(&spec.node, &paths), named) {
        (Some((here, target)), _) if spec.describes(here) => Ok(Found::Here(here, target)),
        (Some((other, _)), _) => {
            let message = format!("device {}:{} already belongs to target {other}", spec.node, spec.device);
            let remedy =
                format!("name another device, or deregister {other} first; that leaves its data on the device");
            Err(Problem::conflict(message).remedy(remedy).attribute("target.device"))
        }
        (None, Some((svname, target))) => Ok(Found::Elsewhere(svname, target)),
        (None, None) => Ok(Found::New),
    }
}

/// The path of a device that stays the same longest: what a claim is made on.
fn stable_path(device: &Device) -> &str {
    device.links.first().map_or(device.path.as_str(), String::as_str)
}

/// The name of a new target. Errors: none is free.
fn new_name(
    state: &State,
    spec: &TargetSpec,
    device: Option<&Device>,
    busy: &BTreeSet<SvName>,
) -> Result<SvName, Problem> {
    if let Some(svname) = spec.svname() {
        return Ok(svname);
    }
    let fsname = spec.filesystem.as_ref().ok_or_else(|| Problem::invalid("a target needs a file system"))?;
    // A device that was formatted as a target of this file system keeps its index: it may hold data under that name.
    let on_disk = device.and_then(|device| device.formatted_as.as_ref()).filter(|on_disk| !on_disk.incomplete);
    if let Some(on_disk) = on_disk.filter(|on_disk| spec.describes(&on_disk.svname)) {
        return Ok(on_disk.svname.clone());
    }
    let index = state
        .free_index(fsname, spec.kind, busy)
        .ok_or_else(|| Problem::refused(format!("file system {fsname} has no free index for another {}", spec.kind)))?;
    Ok(SvName::new(fsname.clone(), spec.kind, index))
}

fn create(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    device: Option<&Device>,
    busy: &BTreeSet<SvName>,
) -> Result<Decision<Written<Target>>, Problem> {
    let svname = new_name(state, &body.target, device, busy)?;
    let device = device.ok_or_else(|| unchecked(&body.target))?;
    let spec = TargetSpec { index: svname.index(), ..body.target.clone() };
    let record = TargetRecord::new(spec, stable_path(device).to_owned(), WAITS.into());
    let claim = Key::Device(record.spec.node.clone(), record.device_key.clone());
    let mut compare = claims(state, &record.spec, &svname);
    compare.push(absent(claim.clone()));
    let changes = vec![put(claim, Record::Device(svname.clone()))];
    let mut decision = start_job(state, req, body, device, &svname, record, compare, changes)?;
    if is_retired(state, &svname) {
        let warning = format!("{svname} was in the configuration before and was taken out; clients may remember it");
        decision.reply.warnings.push(warning);
    }
    Ok(decision)
}

/// What a new target's name and description rely on.
pub(super) fn claims(state: &State, spec: &TargetSpec, svname: &SvName) -> Vec<Compare> {
    let mut compare = vec![absent(Key::Target(svname.clone()))];
    if let Some(fsname) = svname.fsname() {
        let of = |object: Option<u64>| object.unwrap_or(0);
        compare.push(as_read(Key::Filesystem(fsname.clone()), of(state.filesystems.get(fsname).map(|o| o.revision))));
        compare.push(as_read(Key::Retired(fsname.clone()), of(state.retired.get(fsname).map(|o| o.revision))));
    }
    if let Some(node) = state.nodes.get(&spec.node) {
        compare.push(as_read(Key::Node(spec.node.clone()), node.revision));
    }
    compare
}

pub(super) fn is_retired(state: &State, svname: &SvName) -> bool {
    let retired = svname.fsname().and_then(|fsname| state.retired.get(fsname));
    retired.is_some_and(|retired| retired.value.contains(svname))
}

/// The same target again: nothing, a change in place, or another try.
fn again(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    device: Option<&Device>,
    svname: &SvName,
    target: &Object<TargetRecord>,
) -> Result<Decision<Written<Target>>, Problem> {
    let before = &target.value;
    let spec = TargetSpec { index: svname.index(), ..body.target.clone() };
    if let Some(job) = state.active_job(svname) {
        if before.spec != spec {
            return Err(job::busy_with(svname, &job.value.job));
        }
        let mut decision = Decision::unchanged(view::target(state, svname, before, target.revision), state.revision);
        decision.reply.job = Some(job.value.job.id.clone());
        return Ok(decision);
    }
    let mut after = before.clone();
    after.spec = spec;
    if before.state.is_registered() {
        let object = view::target(state, svname, &after, target.revision);
        if after == *before {
            return Ok(Decision::unchanged(object, state.revision));
        }
        req.check_revision(&format!("target {svname}"), target.revision)?;
        let key = Key::Target(svname.clone());
        let (mut compare, mut changes) = (vec![as_read(key.clone(), target.revision)], Vec::new());
        let mut draft = log::draft(state, req, svname.fsname());
        let (old, new) = (&before.spec.failover_nodes, &after.spec.failover_nodes);
        if old != new {
            after.confirm = confirm::pending(req, body.confirm_within_s, Some(old.clone()), before.confirm.as_ref());
        }
        let object = view::target(state, svname, &after, target.revision);
        let warning = log::failover(&mut draft, svname, old, new)?;
        log::commit(draft, &mut compare, &mut changes);
        changes.push(put(key, Record::Target(Box::new(after))));
        let mut decision = Decision::changed(req, format!("update {svname}"), object, compare, changes);
        decision.reply.warnings.extend(warning);
        return Ok(decision);
    }
    req.check_revision(&format!("target {svname}"), target.revision)?;
    let device = device.ok_or_else(|| unchecked(&body.target))?;
    after.reserved_until = None;
    after.state_reason = WAITS.into();
    let compare = vec![as_read(Key::Target(svname.clone()), target.revision)];
    start_job(state, req, body, device, svname, after, compare, Vec::new())
}

/// A target whose node or device changed: it has to be that very target that is found there.
fn moved(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    device: Option<&Device>,
    svname: &SvName,
    target: &Object<TargetRecord>,
) -> Result<Decision<Written<Target>>, Problem> {
    let before = &target.value;
    if let Some(job) = state.active_job(svname) {
        return Err(job::busy_with(svname, &job.value.job));
    }
    // That the disk there is this very target was found by the rules, by its name and UUID.
    let device = device.ok_or_else(|| unchecked(&body.target))?;
    req.check_revision(&format!("target {svname}"), target.revision)?;
    let spec = TargetSpec { index: svname.index(), ..body.target.clone() };
    let old_claim = Key::Device(before.spec.node.clone(), before.device_key.clone());
    let runs_on = before.runs_on.clone().filter(|node| *node != spec.node);
    let after = TargetRecord { spec, device_key: stable_path(device).to_owned(), runs_on, ..before.clone() };
    let claim = Key::Device(after.spec.node.clone(), after.device_key.clone());
    let key = Key::Target(svname.clone());
    let mut compare = vec![as_read(key.clone(), target.revision), absent(claim.clone())];
    compare.extend(job::idle(svname));
    let object = view::target(state, svname, &after, target.revision);
    let mut draft = log::draft(state, req, svname.fsname());
    let warning = log::failover(&mut draft, svname, &before.spec.failover_nodes, &after.spec.failover_nodes)?;
    let mut changes =
        vec![put(key, Record::Target(Box::new(after))), remove(old_claim), put(claim, Record::Device(svname.clone()))];
    log::commit(draft, &mut compare, &mut changes);
    let mut decision = Decision::changed(req, format!("move {svname}"), object, compare, changes);
    decision.reply.warnings.extend(warning);
    Ok(decision)
}

/// Keeps the partner nodes or NIDs of a target that would go back to those before. Errors: there is no such target.
pub fn confirm(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<Written<Target>>, Problem> {
    let before = get(state, svname)?;
    if before.value.confirm.is_none() && before.value.confirm_nids.is_none() {
        let object = view::target(state, svname, &before.value, before.revision);
        return Ok(Decision::unchanged(object, state.revision));
    }
    let key = Key::Target(svname.clone());
    let after = TargetRecord { confirm: None, confirm_nids: None, ..before.value.clone() };
    let object = view::target(state, svname, &after, 0);
    let compare = vec![as_read(key.clone(), before.revision)];
    let changes = vec![put(key, Record::Target(Box::new(after)))];
    Ok(Decision::changed(req, format!("confirm {svname}"), object, compare, changes))
}

/// Puts the partner nodes of a target back that nobody confirmed.
pub(super) fn go_back(state: &State, req: &Request<'_>, svname: &SvName) -> Result<Decision<()>, Problem> {
    let before = get(state, svname)?;
    let key = Key::Target(svname.clone());
    let (mut compare, mut changes) = (vec![as_read(key.clone(), before.revision)], Vec::new());
    let mut after = TargetRecord { confirm: None, ..before.value.clone() };
    let settled = before.value.confirm.as_ref().and_then(|waits| waits.before.clone());
    after.spec.failover_nodes = settled.unwrap_or_default();
    let mut draft = log::draft(state, req, svname.fsname());
    log::failover(&mut draft, svname, &before.value.spec.failover_nodes, &after.spec.failover_nodes)?;
    log::commit(draft, &mut compare, &mut changes);
    changes.push(put(key, Record::Target(Box::new(after))));
    Ok(Decision { compare, changes, what: String::new(), reply: () })
}

/// The decision that makes or renews a target and the job that brings it into being; without a change where that job was
/// started before under the caller's name for it.
#[allow(clippy::too_many_arguments)]
fn start_job(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    device: &Device,
    svname: &SvName,
    mut record: TargetRecord,
    mut compare: Vec<Compare>,
    mut changes: Vec<Change>,
) -> Result<Decision<Written<Target>>, Problem> {
    let object = JobObject::Target(svname.clone());
    if let Some(job) = job::named(state, req, JobKind::EnsureTarget, &object)? {
        let (target, revision) =
            state.targets.get(svname).map_or((&record, 0), |target| (&target.value, target.revision));
        let mut decision = Decision::unchanged(view::target(state, svname, target, revision), state.revision);
        decision.reply.job = Some(job.id);
        return Ok(decision);
    }
    let steps = steps(state, &record.spec, svname, format_op(req, svname, body, Some(device)));
    let started = job::start(state, req, NewJob::new(JobKind::EnsureTarget, object, steps))?;
    let id = started.plan.job.id.clone();
    record.job = Some(id.clone());
    let object = view::target(state, svname, &record, 0);
    compare.extend(started.compare);
    changes.push(put(Key::Target(svname.clone()), Record::Target(Box::new(record))));
    changes.extend(started.changes);
    let mut decision = Decision::changed(req, format!("ensure {svname}"), object, compare, changes);
    decision.reply.job = Some(id);
    decision.reply.plan = Some(started.plan);
    Ok(decision)
}

/// The steps that bring a target into being.
fn steps(state: &State, spec: &TargetSpec, svname: &SvName, format: FormatOp) -> Vec<NewStep> {
    let node = &spec.node;
    let mut steps = vec![NewStep::on(node.clone(), StepKind::Format, AgentOp::Format(format))];
    if state.nodes.get(node).is_some_and(|node| node.value.info.start_driver != StartDriver::None) {
        let start = StartOp { svname: svname.clone(), device: spec.device.clone(), mountpoint: None, pool_of: None };
        steps.push(NewStep::on(node.clone(), StepKind::Start, AgentOp::Start(start)));
    }
    steps.push(NewStep::own(StepKind::Register, OwnAct::Register));
    steps
}

/// What a job is to do that makes this target later; `None` where it is in the configuration as described. `names` are those
/// that it can't have.
///
/// Errors: as [`ensure`]; a target of this name that is described otherwise, or that a job is at work on.
pub(super) fn plan(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    seen: Option<&FormatCheck>,
    names: &BTreeSet<SvName>,
) -> Result<Option<PlannedTarget>, Problem> {
    let device = seen.map(|seen| &seen.device);
    device.map_or(Ok(()), |device| rules::as_planned(body, device))?;
    rules::target(state, req, body, device)?;
    let otherwise = |svname: &SvName| {
        let problem = Problem::conflict(format!("{svname} is there and described otherwise"));
        Err(problem.remedy(format!("describe it alone, or leave it out: mgsctl target show {svname}")))
    };
    let (svname, device_key) = match find(state, &body.target, device)? {
        Found::New => {
            let svname = new_name(state, &body.target, device, names)?;
            let device = device.ok_or_else(|| unchecked(&body.target))?;
            (svname, stable_path(device).to_owned())
        }
        Found::Here(svname, _) if state.active_job(svname).is_some() => {
            let job = state.active_job(svname).expect("it is there: asked above");
            return Err(job::busy_with(svname, &job.value.job));
        }
        Found::Here(svname, target) => {
            let is_same = target.value.spec == TargetSpec { index: svname.index(), ..body.target.clone() };
            match (target.value.state.is_registered(), is_same) {
                (true, true) => return Ok(None),
                (true, false) => return otherwise(svname),
                (false, _) => (svname.clone(), target.value.device_key.clone()),
            }
        }
        Found::Elsewhere(svname, _) => return otherwise(svname),
    };
    let device = device.ok_or_else(|| unchecked(&body.target))?;
    let format = format_op(req, &svname, body, Some(device));
    let spec = TargetSpec { index: svname.index(), ..body.target.clone() };
    Ok(Some(PlannedTarget { svname, spec, device_key, format }))
}

/// What makes a target that was planned, by a job of this name that is a part of another. Errors: its name or its device is
/// another's by now; it is in the configuration.
pub(super) fn make(
    state: &State,
    req: &Request<'_>,
    planned: &PlannedTarget,
    parent: &JobId,
    name: &JobId,
) -> Result<(Vec<Compare>, Vec<Change>), Problem> {
    let PlannedTarget { svname, spec, device_key, format } = planned;
    let key = Key::Target(svname.clone());
    let (mut record, mut compare, mut changes) = match state.targets.get(svname) {
        None => {
            let claim = Key::Device(spec.node.clone(), device_key.clone());
            if let Some(other) = state.devices.get(&(spec.node.clone(), device_key.clone())) {
                let message = format!("{}:{} belongs to {} by now", spec.node, spec.device, other.value);
                return Err(Problem::conflict(message).remedy("look what is there, and plan again"));
            }
            let mut compare = claims(state, spec, svname);
            compare.push(absent(claim.clone()));
            let changes = vec![put(claim, Record::Device(svname.clone()))];
            (TargetRecord::new(spec.clone(), device_key.clone(), WAITS.into()), compare, changes)
        }
        Some(before) if before.value.state.is_registered() || before.value.device_key != *device_key => {
            let message = format!("{svname} is {} by now", before.value.state.as_str());
            return Err(Problem::conflict(message).remedy("look what is there, and plan again"));
        }
        Some(before) => {
            let reason = WAITS.to_owned();
            let again =
                TargetRecord { spec: spec.clone(), reserved_until: None, state_reason: reason, ..before.value.clone() };
            (again, vec![as_read(key.clone(), before.revision)], Vec::new())
        }
    };
    let new = NewJob {
        name: Some(name.clone()),
        parent: Some(parent.clone()),
        ..NewJob::new(
            JobKind::EnsureTarget,
            JobObject::Target(svname.clone()),
            steps(state, spec, svname, format.clone()),
        )
    };
    let started = job::start(state, req, new)?;
    record.job = Some(name.clone());
    compare.extend(started.compare);
    changes.push(put(key, Record::Target(Box::new(record))));
    changes.extend(started.changes);
    Ok((compare, changes))
}

fn format_op(req: &Request<'_>, svname: &SvName, body: &EnsureTarget, device: Option<&Device>) -> FormatOp {
    let spec = &body.target;
    // The agent looks again, under its lock: what the plan saw, or else what was seen just now, must still be there.
    let content = body.expect_content.clone().or_else(|| device.map(|device| device.content.clone()));
    FormatOp {
        svname: svname.clone(),
        fsname: spec.filesystem.clone(),
        device: spec.device.clone(),
        vdevs: spec.vdevs.clone(),
        mgs_nids: req.env.mgs_nids.clone().filter(|_| spec.kind != TargetKind::Mgt),
        failover_nodes: spec.failover_nodes.clone(),
        mkfs_options: spec.mkfs_options.clone(),
        mount_options: spec.mount_options.clone(),
        params: spec.format_params.clone(),
        comment: spec.comment.clone(),
        expect_content: content,
        expect_size_bytes: body.expect_size_bytes.or_else(|| device.map(|device| device.size_bytes)),
        allow_reformat: body.allow_reformat,
    }
}

/// A request that came without a look at the device although it needs one.
fn unchecked(spec: &TargetSpec) -> Problem {
    Problem::unavailable(format!("nobody has looked at {}:{} yet", spec.node, spec.device)).remedy("try again")
}

/// The target. Errors: there is none of that name.
pub fn get<'a>(state: &'a State, svname: &SvName) -> Result<&'a Object<TargetRecord>, Problem> {
    let problem = || {
        let fsname = svname.fsname().map_or("this MGS", FsName::as_str);
        Problem::not_found(format!("there is no target {svname}"))
            .remedy(format!("mgsctl target list shows those of {fsname}"))
    };
    state.targets.get(svname).ok_or_else(problem)
}
