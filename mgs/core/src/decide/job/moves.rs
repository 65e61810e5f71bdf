//! What else changes its state when a job runs: told before it starts.
//!
//! An object depends on targets: a file system on its MDT0000 being started, files on their OSTs, directories on their MDTs.
//! A step that takes a target out of the states that its dependants accept moves them too.

use lustre_api::agent::AgentOp;
use lustre_api::job::{JobObject, Move, StepKind};
use lustre_api::target::TargetState;
use lustre_types::{FsName, NidList, NodeName, PoolName, SvName, TargetKind};

use crate::decide::lifecycle;
use crate::decide::operate::{evacuate, relabel};
use crate::record::{JobRecord, Keep, OstTunable, OwnAct};
use crate::state::State;

/// What moves with a job, in the order of its steps.
pub(super) fn moves(state: &State, record: &JobRecord) -> Vec<Move> {
    let job = &record.job;
    let mut moves = Vec::from_iter(set(state, record));
    for (at, step) in job.steps.iter().enumerate() {
        let Some(svname) = job.svname_of(at) else { continue };
        let now = state.targets.get(svname).map_or("not there", |target| target.value.state.as_str());
        match step.kind {
            StepKind::Stop => {
                let is_passing = comes_back(record, at, svname);
                let target = target(svname, now, TargetState::Stopped, is_passing);
                let mut stopped = Vec::from_iter([Some(target), without(svname, is_passing)].into_iter().flatten());
                if leaves(record, at, svname) {
                    stopped.iter_mut().for_each(|moved| moved.fix = None);
                }
                moves.extend(stopped);
            }
            StepKind::Start if now != TargetState::Started.as_str() && !was_stopped(record, at, svname) => {
                moves.push(target(svname, now, TargetState::Started, false));
            }
            StepKind::Deregister => moves.extend(deregistered(state, svname, now)),
            StepKind::Job if matches!(record.own.get(&at), Some(OwnAct::Ensure(_))) => moves.push(made(svname, now)),
            StepKind::Job => moves.extend(moved(state, record, at, svname)),
            StepKind::Relabel => moves.extend(labelled(state, record, at, svname)),
            StepKind::FailoverNodes => moves.extend(partners(record, at, svname)),
            StepKind::NoCreate => moves.push(closed(state, svname, OstTunable::NoCreate)),
            StepKind::Deactivate => moves.push(closed(state, svname, OstTunable::Inactive)),
            StepKind::LeavePools => moves.extend(pools_without(state, svname)),
            _ => {}
        }
    }
    moves
}

/// The tunable that is set on nodes.
fn set(state: &State, record: &JobRecord) -> Option<Move> {
    let JobObject::Param(key) = &record.job.object else { return None };
    let value = record.ops.iter().flatten().find_map(|op| match op {
        AgentOp::SetParam(wanted) => wanted.settings.first().map(|setting| setting.value.clone()),
        _ => None,
    })?;
    let now = state.params.get(key).map_or("not set permanently", |param| param.value.value.as_str());
    let nodes = record.job.steps.iter().filter(|step| step.node.is_some()).count();
    let keep = record.own.values().find_map(|act| match act {
        OwnAct::KeepParam(keep) => Some(keep),
        _ => None,
    });
    let until = match keep {
        None => "as it is set permanently",
        Some(Keep::Temporary { expires_in_s: Some(_) }) => "until it expires",
        Some(Keep::Temporary { expires_in_s: None }) => "until they restart",
        Some(Keep::Permanent { .. }) => "permanently once all of them have it",
    };
    Some(Move {
        object: format!("param {key}"),
        now: now.to_owned(),
        becomes: value.clone(),
        is_passing: matches!(keep, Some(Keep::Temporary { .. })),
        acceptable: vec![value.clone()],
        preferred: value,
        fix: None,
        why: format!("{nodes} nodes take it, {until}"),
    })
}

fn comes_back(record: &JobRecord, after: usize, svname: &SvName) -> bool {
    let steps = record.job.steps.iter().enumerate().skip(after + 1);
    steps.into_iter().any(|(at, step)| step.kind == StepKind::Start && record.job.svname_of(at) == Some(svname))
}

fn was_stopped(record: &JobRecord, before: usize, svname: &SvName) -> bool {
    let steps = record.job.steps.iter().enumerate().take(before);
    steps.into_iter().any(|(at, step)| step.kind == StepKind::Stop && record.job.svname_of(at) == Some(svname))
}

/// Whether it is taken out of the configuration behind that step: nobody starts it again.
fn leaves(record: &JobRecord, after: usize, svname: &SvName) -> bool {
    let mut steps = record.job.steps.iter().enumerate().skip(after + 1);
    steps.any(|(at, step)| step.kind == StepKind::Deregister && record.job.svname_of(at) == Some(svname))
}

fn target(svname: &SvName, now: &str, becomes: TargetState, is_passing: bool) -> Move {
    let is_down = becomes == TargetState::Stopped;
    Move {
        object: format!("target {svname}"),
        now: now.to_owned(),
        becomes: becomes.as_str().to_owned(),
        is_passing,
        acceptable: vec![TargetState::Started.as_str().to_owned()],
        preferred: TargetState::Started.as_str().to_owned(),
        fix: (is_down && !is_passing).then(|| format!("mgsctl target start {svname}")),
        why: if is_down { "it serves nobody" } else { "it serves its clients" }.to_owned(),
    }
}

/// What depends on a target that is stopped.
fn without(svname: &SvName, is_passing: bool) -> Option<Move> {
    let (object, becomes, why) = match (svname.kind(), svname.fsname()) {
        (TargetKind::Mgt, _) => (
            "all file systems".to_owned(),
            "no configuration",
            "nodes that read their configuration from this MGT can't mount, and hear of no change".to_owned(),
        ),
        (TargetKind::Mdt, Some(fsname)) if svname.index().is_some_and(|index| index.get() == 0) => (
            format!("filesystem {fsname}"),
            "unavailable",
            "it holds the root: clients can't mount, and operations on names wait until it is back".to_owned(),
        ),
        (TargetKind::Mdt, Some(fsname)) => (
            format!("filesystem {fsname}"),
            "partly unavailable",
            format!("directories on {svname} wait until it is back"),
        ),
        (TargetKind::Ost, Some(fsname)) => (
            format!("filesystem {fsname}"),
            "partly unavailable",
            format!("files with data on {svname} wait until it is back"),
        ),
        (_, None) => return None,
    };
    Some(Move {
        object,
        now: "available".into(),
        becomes: becomes.into(),
        is_passing,
        acceptable: vec!["available".into()],
        preferred: "available".into(),
        fix: (!is_passing).then(|| format!("mgsctl target start {svname}")),
        why,
    })
}

/// A target that comes into being.
fn made(svname: &SvName, now: &str) -> Move {
    let there: Vec<String> = [TargetState::Registered, TargetState::Started].map(|state| state.as_str().into()).into();
    Move {
        object: format!("target {svname}"),
        now: now.to_owned(),
        becomes: TargetState::Registered.as_str().to_owned(),
        is_passing: false,
        preferred: TargetState::Started.as_str().to_owned(),
        acceptable: there,
        fix: None,
        why: "its device is formatted, which destroys what is on it; new files go to it as soon as it is started"
            .to_owned(),
    }
}

/// A target that another node takes over, with what waits meanwhile.
fn moved(state: &State, record: &JobRecord, at: usize, svname: &SvName) -> Vec<Move> {
    let (Some(OwnAct::Move(planned)), Some(target)) = (record.own.get(&at), state.targets.get(svname)) else {
        return Vec::new();
    };
    let own = &target.value.spec.node;
    let on = |node: &NodeName| format!("started on {node}");
    let others = state.nodes.keys().filter(|node| **node == planned.from || **node == planned.to);
    let there = Move {
        object: format!("target {svname}"),
        now: on(&planned.from),
        becomes: on(&planned.to),
        is_passing: false,
        acceptable: others.map(on).collect(),
        preferred: on(own),
        fix: (planned.to != *own).then(|| format!("mgsctl node failback {own}")),
        why: format!("it is stopped, and its clients recover on {}", planned.to),
    };
    std::iter::once(there).chain(without(svname, true)).collect()
}

/// The label of a target that is written.
fn labelled(state: &State, record: &JobRecord, at: usize, svname: &SvName) -> Option<Move> {
    let Some(AgentOp::Relabel(op)) = record.ops.get(at)? else { return None };
    let becomes = relabel::label(svname, op.registered).to_string();
    let known = state.targets.get(svname).and_then(|target| target.value.label.clone());
    Some(Move {
        object: format!("label of {}", op.device),
        now: known.map_or_else(|| "unknown".to_owned(), |label| format!("{label}, when it was read last")),
        is_passing: false,
        acceptable: vec![becomes.clone()],
        preferred: becomes.clone(),
        becomes,
        fix: None,
        why: format!("mount.lustre takes the device for {svname} by it"),
    })
}

/// The partner nodes of a target that are others.
fn partners(record: &JobRecord, at: usize, svname: &SvName) -> Option<Move> {
    let Some(OwnAct::FailoverNodes(planned)) = record.own.get(&at) else { return None };
    let text = |nodes: &[NidList]| match nodes {
        [] => "no partner node".to_owned(),
        nodes => format!("partner nodes {}", nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    };
    let becomes = text(&planned.after);
    Some(Move {
        object: format!("target {svname}"),
        now: text(&planned.before),
        is_passing: false,
        acceptable: vec![becomes.clone()],
        preferred: becomes.clone(),
        becomes,
        fix: None,
        why: "clients and MDTs look for it there when it is not on its own node".to_owned(),
    })
}

/// An OST that takes no new files, or that nobody uses.
fn closed(state: &State, svname: &SvName, tunable: OstTunable) -> Move {
    let is_set = evacuate::is_set(state, svname, tunable);
    let (open, shut, name, value, why) = match tunable {
        OstTunable::NoCreate => (
            "takes new files",
            "takes no new files",
            "obdfilter.*.no_create",
            "0",
            "new files go to the other OSTs; what is on it is read and written as before",
        ),
        OstTunable::Inactive => (
            "active",
            "inactive",
            "osc.*.active",
            "1",
            "clients and MDTs do not use it; a file that were still on it could not be read",
        ),
    };
    let fsname = svname.fsname().map(ToString::to_string).unwrap_or_default();
    Move {
        object: format!("target {svname}"),
        now: if is_set { shut } else { open }.to_owned(),
        becomes: shut.to_owned(),
        is_passing: false,
        acceptable: vec![open.to_owned()],
        preferred: open.to_owned(),
        fix: Some(format!(
            "cancel the job, which takes it back, or: mgsctl param set {fsname} '{name}' {value} --scope {svname}"
        )),
        why: why.to_owned(),
    }
}

/// The pools that an OST leaves.
fn pools_without(state: &State, svname: &SvName) -> Vec<Move> {
    let smaller = |fsname: &FsName, pool: &PoolName| {
        let left = state.pools.get(&(fsname.clone(), pool.clone())).map_or(0, |pool| pool.value.members.len() - 1);
        let members = |count: usize| if count == 1 { "1 member".to_owned() } else { format!("{count} members") };
        Move {
            object: format!("pool {fsname}.{pool}"),
            now: members(left + 1),
            becomes: members(left),
            is_passing: false,
            acceptable: vec!["at least 1 member".into()],
            preferred: members(left + 1),
            fix: Some(format!("mgsctl pool set {fsname} {pool} {svname} --mode add")),
            why: match left {
                0 => "files can't be created in it any more: it has no OST left".into(),
                _ => "new files of it go to its other OSTs".into(),
            },
        }
    };
    lifecycle::pools_with(state, svname).map(|(fsname, pool)| smaller(fsname, pool)).collect()
}

/// What a target that is taken out of the configuration leaves.
fn deregistered(state: &State, svname: &SvName, now: &str) -> Vec<Move> {
    let mut moves = vec![Move {
        object: format!("target {svname}"),
        now: now.to_owned(),
        becomes: "not there".into(),
        is_passing: false,
        acceptable: vec!["not there".into()],
        preferred: "not there".into(),
        fix: None,
        why: "it leaves the configuration; its device keeps its data, its index is not given away again".into(),
    }];
    let Some(fsname) = svname.fsname() else { return moves };
    let mut others = state.targets_of(fsname, Some(svname.kind())).filter(|(other, _)| *other != svname);
    if !others.any(|(_, other)| other.value.state.is_registered()) {
        moves.push(Move {
            object: format!("filesystem {fsname}"),
            now: "available".into(),
            becomes: "incomplete".into(),
            is_passing: false,
            acceptable: vec!["ready".into()],
            preferred: "ready".into(),
            fix: Some(format!("ensure another {} of {fsname}", svname.kind())),
            why: format!("{svname} is its last {}", svname.kind()),
        });
    }
    moves
}
