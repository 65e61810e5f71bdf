//! Adding OSTs to a file system: one job with a part for each of them, of which so many are at work at once.
//!
//! Everything is looked at, named and refused before anything begins; the names are kept for the job until it is over. A part
//! is a job like that of a single target, and is made when its turn comes.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::agent::FormatCheck;
use lustre_api::job::{Job, JobKind, JobObject, StepKind};
use lustre_api::operation::GrowFilesystem;
use lustre_api::target::EnsureTarget;
use lustre_api::{Problem, Written};
use lustre_types::{FsName, NodeName, SvName, TargetKind};

use crate::decide::job::{self, NewJob, NewStep, request};
use crate::decide::target;
use crate::decide::{Decision, Request, filesystem};
use crate::record::OwnAct;
use crate::state::State;

/// Most OSTs of one job: their names are kept by one commit.
pub const MAX_TARGETS: usize = 100;
/// How many are at work at once where nobody says.
const AT_ONCE: usize = 8;

/// The targets that a job was asked for, complete: each is of the file system.
///
/// Errors: none, too many, something else than OSTs of this file system, two of the same index or device.
pub fn targets(fsname: &FsName, body: &GrowFilesystem) -> Result<Vec<EnsureTarget>, Problem> {
    if body.targets.is_empty() || body.targets.len() > MAX_TARGETS {
        let message = format!("{} targets; 1 to {MAX_TARGETS} are possible at once", body.targets.len());
        return Err(Problem::invalid(message).attribute("targets"));
    }
    if body.at_once == Some(0) {
        return Err(Problem::invalid("none at once would never end").attribute("at_once"));
    }
    let (mut devices, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    for (at, wanted) in body.targets.iter().enumerate() {
        let refuse = |message: String, attribute: &str| {
            Err(Problem::invalid(message).attribute(format!("targets[{at}].{attribute}")))
        };
        let mut wanted = wanted.clone();
        let spec = &mut wanted.target;
        let named = spec.filesystem.get_or_insert_with(|| fsname.clone());
        if named != fsname {
            return refuse(format!("a target of {named} can't be added to {fsname}"), "target.filesystem");
        }
        if spec.kind != TargetKind::Ost {
            let message = format!("this adds OSTs, and {}:{} is to be an {}", spec.node, spec.device, spec.kind);
            return refuse(message, "target.kind");
        }
        if wanted.confirm_within_s.is_some() {
            return refuse("a new target has nothing to go back to".into(), "confirm_within_s");
        }
        if let Some(svname) = spec.svname().filter(|svname| !names.insert(svname.clone())) {
            return refuse(format!("{svname} is named twice"), "target.index");
        }
        if !devices.insert((spec.node.clone(), spec.device.clone())) {
            return refuse(format!("{}:{} is named twice", spec.node, spec.device), "target.device");
        }
        all.push(wanted);
    }
    Ok(all)
}

/// Starts a job that makes these targets; those that are in the configuration already are left out.
///
/// `seen` is what the agents found on the devices, in the order of the targets; it may only be missing where
/// [`target::needs_check`] says so. Errors: as [`targets`]; as for each of them alone; two paths of one device; nothing left
/// to do.
pub fn grow(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
    body: &GrowFilesystem,
    seen: &[Option<FormatCheck>],
) -> Result<Decision<Written<Job>>, Problem> {
    let object = JobObject::Filesystem(fsname.clone());
    if job::named(state, req, JobKind::Grow, &object)?.is_some() {
        return request(state, req, NewJob::new(JobKind::Grow, object, Vec::new()));
    }
    filesystem::find(state, fsname)?;
    let wanted = targets(fsname, body)?;
    // Indices that people chose are not given to those that have none.
    let mut names: BTreeSet<SvName> = wanted.iter().filter_map(|wanted| wanted.target.svname()).collect();
    let mut devices: BTreeMap<(NodeName, String), String> = BTreeMap::new();
    let (mut steps, mut warnings, mut there) = (Vec::new(), Vec::new(), 0);
    for (at, wanted) in wanted.iter().enumerate() {
        let seen = seen.get(at).and_then(Option::as_ref);
        let planned = target::plan(state, req, wanted, seen, &names).map_err(|problem| within(problem, at))?;
        let Some(planned) = planned else {
            there += 1;
            continue;
        };
        let svname = planned.svname.clone();
        let path = &wanted.target.device;
        if let Some(other) = devices.insert((wanted.target.node.clone(), planned.device_key.clone()), path.clone()) {
            let message = format!("{other} and {path} are one device of {}", wanted.target.node);
            return Err(within(Problem::invalid(message).attribute("target.device"), at));
        }
        for feature in seen.iter().flat_map(|seen| &seen.missing_features) {
            warnings
                .push(format!("the e2fsprogs of {} lack {feature}; {svname} is made without it", wanted.target.node));
        }
        if wanted.target.index.is_none() && !names.insert(svname.clone()) {
            let message = format!("{svname}, which is on {path}, is to be made on another device too");
            return Err(within(Problem::invalid(message).attribute("target.device"), at));
        }
        steps.push(NewStep::own(StepKind::Job, OwnAct::Ensure(Box::new(planned))).of(svname).after([]));
    }
    if steps.is_empty() {
        let message = format!("there is nothing to do: all {there} targets are in the configuration of {fsname}");
        return Err(Problem::refused(message));
    }
    if there > 0 {
        warnings.push(format!("{there} of the {} are in the configuration already", wanted.len()));
    }
    let at_once = body.at_once.map_or(AT_ONCE, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut decision =
        request(state, req, NewJob { at_once: Some(at_once), ..NewJob::new(JobKind::Grow, object, steps) })?;
    decision.reply.warnings.extend(warnings);
    Ok(decision)
}

/// A problem with one of the targets: its attribute is that of the whole request.
pub fn within(mut problem: Problem, at: usize) -> Problem {
    let attribute = problem.attribute.take().unwrap_or_else(|| "target".into());
    problem.attribute(format!("targets[{at}].{attribute}"))
}
