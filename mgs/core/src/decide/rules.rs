//! What stands against a description: asked of `lustre-plan`, so that a plan and its apply refuse for the same reasons, in
//! the same words. Here is only what the plan is computed against: the few objects that a description touches.

use std::collections::BTreeMap;

use lustre_api::agent::Inventory;
use lustre_api::device::Device;
use lustre_api::filesystem::{Filesystem, FilesystemSpec, FilesystemState};
use lustre_api::mgs::{LiveParams, ProofByKey, Snapshot};
use lustre_api::node::LiveNode;
use lustre_api::nodemap::NodemapSpec;
use lustre_api::param::ParamSpec;
use lustre_api::plan::{Desired, DesiredTarget, Finding, Severity};
use lustre_api::target::{EnsureTarget, TargetSpec};
use lustre_api::{Problem, ProblemCode};
use lustre_types::{FsName, NodeName, SvName};

use crate::decide::Request;
use crate::record::NodeRecord;
use crate::state::{Object, State};
use crate::view;

/// What a reservation does not need: nobody is asked to format anything yet.
const NOT_FOR_RESERVATIONS: [&str; 2] = ["unknown_node", "mgs_without_nid"];

/// Errors: a file system that can't be.
pub(super) fn filesystem(state: &State, req: &Request<'_>, spec: &FilesystemSpec) -> Result<(), Problem> {
    let desired = Desired { filesystems: vec![spec.clone()], ..Desired::default() };
    refuse(errors(&desired, &around(state, req, None)), "")
}

/// Errors: a tunable that can't be, or not of this file system; a value that no node would take. The file system of all of
/// them is the same; `live` are those that the catalogue lacks and nodes have.
pub(super) fn params(
    state: &State,
    req: &Request<'_>,
    specs: Vec<ParamSpec>,
    live: &LiveParams,
) -> Result<(), Problem> {
    let Some(first) = specs.first() else { return Ok(()) };
    let mut snapshot = Snapshot { live_params: live.clone(), ..around(state, req, first.filesystem.as_ref()) };
    if specs.iter().any(|spec| lustre_plan::naming::names_device(&spec.name)) {
        snapshot.filesystems = state.filesystems.values().map(|known| bare_filesystem(&known.value)).collect();
    }
    if specs.iter().any(|spec| lustre_plan::catalogue::is_otherwise_in_older(spec.name.as_str())) {
        let node = |(name, node): (&NodeName, &Object<NodeRecord>)| LiveNode {
            node: view::node(name, &node.value, node.revision, None, false),
            inventory: None,
            unreachable: None,
        };
        snapshot.nodes = state.nodes.iter().map(node).collect();
        let targets = state.targets.iter();
        snapshot.targets =
            targets.map(|(svname, target)| view::target(state, svname, &target.value, target.revision)).collect();
    }
    refuse(errors(&Desired { params: specs, ..Desired::default() }, &snapshot), "")
}

/// Errors: a nodemap that can't be, or that has NIDs of another one.
pub(super) fn nodemap(state: &State, req: &Request<'_>, spec: &NodemapSpec) -> Result<(), Problem> {
    let desired = Desired { nodemaps: vec![spec.clone()], ..Desired::default() };
    let nodemaps = state.nodemaps.values().map(super::nodemap::view).collect();
    refuse(errors(&desired, &Snapshot { nodemaps, ..around(state, req, None) }), "spec.")
}

/// Errors: a target that can't be, an index or a device of another one, a device that may not be formatted (saying what is
/// on it), a change that only a new format could bring. `device` is as its agent sees it, where it was asked.
pub(super) fn target(
    state: &State,
    req: &Request<'_>,
    body: &EnsureTarget,
    device: Option<&Device>,
) -> Result<(), Problem> {
    let snapshot = around_target(state, req, &body.target, device);
    let desired = Desired { targets: vec![wanted(&body.target, body.allow_reformat)], ..Desired::default() };
    refuse(errors(&desired, &snapshot), "target.")
}

/// Errors: what is wrong with a target whatever is on its device.
pub(super) fn before_look(state: &State, req: &Request<'_>, spec: &TargetSpec) -> Result<(), Problem> {
    let snapshot = around_target(state, req, spec, None);
    let desired = Desired { targets: vec![wanted(spec, false)], ..Desired::default() };
    let mut errors = errors(&desired, &snapshot);
    // Its disk may have moved there: only the device can tell.
    errors.retain(|finding| finding.code != "index_taken");
    refuse(errors, "target.")
}

/// Errors: a target that can't be, or whose index or device another one has.
pub(super) fn reservation(state: &State, req: &Request<'_>, spec: &TargetSpec) -> Result<(), Problem> {
    let snapshot = around_target(state, req, spec, None);
    let desired = Desired { targets: vec![wanted(spec, false)], ..Desired::default() };
    let mut errors = errors(&desired, &snapshot);
    errors.retain(|finding| !NOT_FOR_RESERVATIONS.contains(&finding.code.as_str()));
    refuse(errors, "target.")
}

/// Errors: the device is not what the caller's plan saw.
pub(super) fn as_planned(body: &EnsureTarget, device: &Device) -> Result<(), Problem> {
    let name = format!("{}:{}", body.target.node, body.target.device);
    if let Some(planned) = body.expect_content.as_ref().filter(|planned| **planned != device.content) {
        let message = format!("{name} held {planned:?} when the plan was made, and holds {:?} now", device.content);
        let problem = Problem::conflict(message).remedy("plan again and look at what would be lost");
        return Err(problem.attribute("expect_content"));
    }
    // A dataset is as large as its pool lets it be at the moment.
    let planned_size = body.expect_size_bytes.filter(|_| !device.is_dataset());
    if let Some(planned) = planned_size.filter(|planned| *planned != device.size_bytes) {
        let message = format!("{name} had {planned} bytes when the plan was made, and has {} now", device.size_bytes);
        let problem = Problem::conflict(message).remedy("plan again: it may be another disk");
        return Err(problem.attribute("expect_size_bytes"));
    }
    Ok(())
}

fn wanted(spec: &TargetSpec, allow_reformat: bool) -> DesiredTarget {
    DesiredTarget { target: spec.clone(), allow_reformat }
}

fn errors(desired: &Desired, snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = lustre_plan::diff(desired, snapshot).findings;
    findings.retain(|finding| finding.severity == Severity::Error);
    findings
}

/// The first error as a refusal, with all of them where there are more. `prefix` leads to the attribute in the body.
fn refuse(errors: Vec<Finding>, prefix: &str) -> Result<(), Problem> {
    let Some(first) = errors.first() else { return Ok(()) };
    let mut problem = Problem::new(problem_code(&first.code), first.message.clone());
    problem.remedy.clone_from(&first.remedy);
    problem.attribute = first.attribute.as_ref().map(|attribute| format!("{prefix}{attribute}"));
    if errors.len() > 1 {
        problem.findings = errors;
    }
    Err(problem)
}

/// What kind of refusal a finding is.
fn problem_code(code: &str) -> ProblemCode {
    match code {
        "unknown_filesystem" | "unknown_node" | "no_such_device" => ProblemCode::NotFound,
        "mgs_without_nid" => ProblemCode::Unavailable,
        "device_taken" | "index_taken" | "duplicate_device" | "duplicate_index" | "range_taken" => {
            ProblemCode::Conflict
        }
        "needs_format" | "filesystem_in_use" => ProblemCode::Refused,
        device if device.starts_with("device_") => ProblemCode::Refused,
        _ => ProblemCode::Invalid,
    }
}

/// The MGS with one file system, as plans see it.
fn around(state: &State, req: &Request<'_>, fsname: Option<&FsName>) -> Snapshot {
    Snapshot {
        revision: state.revision,
        mgs: view::mgs(state, req.env),
        filesystems: fsname
            .and_then(|fsname| state.filesystems.get(fsname))
            .map(|known| bare_filesystem(&known.value))
            .into_iter()
            .collect(),
        targets: Vec::new(),
        params: Vec::new(),
        pools: Vec::new(),
        nodemaps: Vec::new(),
        nodemaps_active: false,
        nodemaps_confirm_until: None,
        nodes: Vec::new(),
        live_params: LiveParams::new(),
        param_proofs: ProofByKey::new(),
        removals: BTreeMap::new(),
    }
}

/// That a file system exists: counting its targets for each request would not be free.
fn bare_filesystem(spec: &FilesystemSpec) -> Filesystem {
    Filesystem {
        spec: spec.clone(),
        id: String::new(),
        mount_source: None,
        state: FilesystemState::Empty,
        state_reason: String::new(),
        mdt_count: 0,
        ost_count: 0,
        capacity_bytes: 0,
        revision: 0,
    }
}

/// What a target's description touches: its file system, its node with the device, and the targets there or of its name.
fn around_target(state: &State, req: &Request<'_>, spec: &TargetSpec, device: Option<&Device>) -> Snapshot {
    let mut snapshot = around(state, req, spec.filesystem.as_ref());
    let from = (spec.node.clone(), String::new());
    let on_node = state.devices.range(from..).take_while(|((node, _), _)| *node == spec.node);
    let mut names: Vec<SvName> = on_node.map(|(_, svname)| svname.value.clone()).collect();
    names.extend(spec.svname());
    names.extend(device.and_then(|device| device.formatted_as.as_ref()).map(|found| found.svname.clone()));
    names.sort();
    names.dedup();
    for svname in names {
        if let Some(target) = state.targets.get(&svname) {
            snapshot.targets.push(view::target(state, &svname, &target.value, target.revision));
        }
    }
    if let Some(node) = state.nodes.get(&spec.node) {
        let inventory = device.map(|device| Inventory {
            info: node.value.info.clone(),
            // Under the name that is asked for: the agent resolved it.
            devices: vec![named_as(device, &spec.device)],
            zfs: None,
            kernel_proxy_use: None,
            at: req.now,
        });
        let node = view::node(&spec.node, &node.value, node.revision, None, true);
        snapshot.nodes.push(LiveNode { node, inventory, unreachable: None });
    }
    snapshot
}

fn named_as(device: &Device, path: &str) -> Device {
    let mut device = device.clone();
    if !device.is_named(path) {
        device.links.push(path.to_owned());
    }
    device
}
