//! `lustre_target`.

use lustre_api::attributes::{Resource as Table, TARGET};
use lustre_api::job::Move;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Action, Change, Desired, DesiredTarget, ObjectKey};
use lustre_api::target::{self, DeregisterTarget, EnsureTarget, PostTarget, TargetPath, TargetSpec, TargetState};
use lustre_types::{FsName, SvName};
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostic, Diagnostics, Plan, PlanKind, Value, async_trait};

use super::{DeletionPolicy, check_policy, confirm_within, text};
use crate::managed::{Kind, Live, Put};
use crate::mgs::{Failure, Mgs, view};
use crate::timeouts;

pub(super) struct Target;

/// The target of a spec in a snapshot: by its name, else by its place.
fn known<'a>(snapshot: &'a Snapshot, spec: &TargetSpec) -> Option<&'a target::Target> {
    let name = spec.svname();
    snapshot.targets.iter().find(|target| match &name {
        Some(name) => target.svname == *name,
        None => {
            let other = &target.spec;
            other.kind == spec.kind
                && other.filesystem == spec.filesystem
                && other.node == spec.node
                && other.device == spec.device
        }
    })
}

/// True if the state of a target says that it may hold data: it is, or was, part of a file system.
fn may_hold_data(prior: &Value) -> bool {
    !matches!(text(prior, "state"), "reserved" | "formatting" | "formatted")
}

#[async_trait]
impl Kind for Target {
    const TABLE: &'static Table = &TARGET;
    const TIMEOUTS: &'static [&'static str] = &["create", "update", "delete"];
    const TOLD_BY: &'static str = "device";
    const IDENTITY: &'static [(&'static str, bool)] = &[("svname", true)];
    type Spec = TargetSpec;

    fn name(object: &Value) -> Option<String> {
        match object.get("svname").as_str().known() {
            Some(svname) if !svname.is_empty() => Some(svname.to_owned()),
            _ => Some(format!("{}:{}", object.get("node").as_str().known()?, object.get("device").as_str().known()?)),
        }
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let svname: SvName = text(state, "svname").parse().ok()?;
        snapshot.targets.iter().find(|target| target.svname == svname).map(view)
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let of = |target: &&target::Target| {
            filesystem.is_none_or(|only| target.svname.fsname().is_some_and(|of| of.as_str() == only))
        };
        snapshot.targets.iter().filter(of).map(|target| (target.svname.to_string(), view(target))).collect()
    }

    fn desired(spec: &TargetSpec, object: &Value) -> Desired {
        let allow_reformat = object.get("allow_reformat").as_bool().known().unwrap_or_default();
        Desired { targets: vec![DesiredTarget { target: spec.clone(), allow_reformat }], ..Desired::default() }
    }

    fn is_about(spec: &TargetSpec, key: &ObjectKey) -> bool {
        match key {
            ObjectKey::Target { svname: name } => spec.svname().is_none_or(|mine| mine == *name),
            ObjectKey::NewTarget { node, device } => *node == spec.node && *device == spec.device,
            _ => false,
        }
    }

    fn assume(spec: &TargetSpec, snapshot: &mut Snapshot) {
        let Some(svname) = spec.svname() else { return };
        match snapshot.targets.iter_mut().find(|target| target.svname == svname) {
            Some(target) => target.state = TargetState::Registered,
            None => snapshot.targets.push(planned(spec, svname)),
        }
    }

    fn made(view: &Json, snapshot: &mut Snapshot) {
        // The index that the MGS assigned: a pool that refers to this target has it as a member.
        let Ok(made) = serde_json::from_value::<target::Target>(view.clone()) else { return };
        snapshot.targets.retain(|target| target.svname != made.svname);
        snapshot.targets.push(made);
    }

    fn needs_devices(_: &TargetSpec) -> bool {
        true
    }

    fn repair(plan: &mut Plan) {
        // Its job failed or was interrupted, or somebody took it back to this: "ensure" goes on from there.
        if matches!(text(&plan.prior, "state"), "reserved" | "formatting" | "formatted" | "failed") {
            plan.planned.put("state", Value::Unknown);
            plan.planned.put("state_reason", Value::Unknown);
        }
    }

    fn complete(spec: Option<&TargetSpec>, plan: &mut Plan, live: Option<Live<'_>>) {
        if plan.kind() == PlanKind::Update {
            for attribute in ["state", "state_reason", "label", "uuid", "size_bytes"] {
                plan.planned.put(attribute, Value::Unknown);
            }
            return;
        }
        let Some(spec) = spec else { return };
        if let Some(svname) = spec.svname() {
            plan.planned.put("svname", svname.to_string());
        }
        let Some(Live { snapshot, change }) = live else { return };
        // The device says which target it is, or it is known by another name of its device: the plan names it.
        let named = match change {
            Some(Change { action: Action::Adopt | Action::Update, object: ObjectKey::Target { svname }, .. }) => {
                Some(svname)
            }
            _ => None,
        };
        if let Some(svname) = named {
            plan.planned.put("svname", svname.to_string());
            if let Some(index) = svname.index() {
                plan.planned.put("index", i64::from(index.get()));
            }
        }
        let there = named.and_then(|svname| snapshot.targets.iter().find(|target| target.svname == *svname));
        match there.or_else(|| known(snapshot, spec)) {
            // An earlier attempt, or another tool, made it: it is taken up, and what was lost then is known.
            Some(target) if target.formatted_over.is_some() => {
                plan.planned.put("formatted_over", target.formatted_over.clone());
            }
            Some(_) => {}
            None => {
                if let Some(content) = content(snapshot, spec) {
                    plan.planned.put("formatted_over", content);
                }
            }
        }
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        let name = Self::name(prior).unwrap_or_default();
        check_policy(&TARGET, &name, prior, diags);
        if DeletionPolicy::of(prior) == DeletionPolicy::Deregister && may_hold_data(prior) {
            let (device, node) = (text(prior, "device"), text(prior, "node"));
            diags.warning(
                "A target with data leaves the file system",
                format!(
                    "{name} is taken out of the configuration: files with objects on it lose them until it is back. \
                     Its device {device} on {node} is left as it is."
                ),
            );
        }
    }

    fn check_replacement(prior: &Value, diags: &mut Diagnostics) {
        let name = Self::name(prior).unwrap_or_default();
        if may_hold_data(prior) {
            diags.error(
                "A target with data is not replaced",
                format!(
                    "The change would make {name} another target, and it may hold data. Put the old values back. If it \
                     shall really go, remove its resource (with deletion_policy = \"DEREGISTER\"), apply, and then \
                     describe the new one."
                ),
            );
        } else {
            check_policy(&TARGET, &name, prior, diags);
        }
    }

    async fn put(mgs: &Mgs, spec: TargetSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let operation = if put.prior.is_some() { "update" } else { "create" };
        let limit = timeouts::limit(put.planned, operation);
        // Where the MGS already has the target, its device may be formatted by now, and "ensure" takes it up. Else the
        // device must be as the plan saw it.
        let is_new = known(&*mgs.snapshot().await?, &spec).is_none();
        let expect_content = Some(text(put.planned, "formatted_over")).filter(|text| is_new && !text.is_empty());
        let body = EnsureTarget {
            expect_content: expect_content.map(str::to_owned),
            expect_size_bytes: None,
            allow_reformat: put.planned.get("allow_reformat").as_bool().known().unwrap_or_default(),
            confirm_within_s: confirm_within(put.planned),
            target: spec,
        };
        let written =
            put.heard(mgs.write::<PostTarget>(lustre_api::Nothing {}, body, put.if_revision(mgs).await?).await?);
        let svname = written.object.svname.clone();
        let Some(job) = written.job else { return Ok(view(&written.object)) };
        mgs.wait_for(&job, limit).await?;
        let made = mgs.target(svname).await?;
        if made.state == TargetState::Registered {
            let detail = format!(
                "{} is {}. Clients can't use it before it is started: bring Lustre there, then `mgsctl target start {}`.",
                made.svname, made.state_reason, made.svname,
            );
            put.warn(Diagnostic::warning("Not started", detail));
        }
        Ok(view(&made))
    }

    fn confirm_command(object: &Value) -> String {
        format!("mgsctl target confirm {}", text(object, "svname"))
    }

    async fn moved_by_removal(mgs: &Mgs, prior: &Value) -> Vec<Move> {
        let (DeletionPolicy::Deregister, Ok(svname)) =
            (DeletionPolicy::of(prior), text(prior, "svname").parse::<SvName>())
        else {
            return Vec::new();
        };
        let itself = format!("target {svname}");
        // What refuses it now may be gone when it is its turn: the apply will say.
        let written = mgs.rehearse_removal::<DeregisterTarget>(TargetPath { svname }).await.ok();
        let moves = written.and_then(|written| written.plan).map(|plan| plan.moves).unwrap_or_default();
        moves.into_iter().filter(|moved| moved.object != itself).collect()
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        if DeletionPolicy::of(prior) == DeletionPolicy::Abandon {
            return Ok(());
        }
        let Ok(svname) = text(prior, "svname").parse() else { return Ok(()) };
        let limit = timeouts::limit(prior, "delete");
        match mgs.remove::<DeregisterTarget>(TargetPath { svname }).await?.and_then(|written| written.job) {
            Some(job) => mgs.wait_for(&job, limit).await,
            None => Ok(()),
        }
    }

    fn import(id: &str) -> Result<Value, String> {
        let name = id.rsplit('/').next().unwrap_or(id);
        let svname: SvName = name.parse().map_err(|err| format!("{err}; import a target by its name"))?;
        let kind = svname.kind();
        Ok(Value::object([
            ("svname", svname.to_string().into()),
            ("kind", kind.as_str().into()),
            ("filesystem", svname.fsname().map(FsName::to_string).into()),
        ]))
    }
}

/// What is on the device of a spec.
fn content(snapshot: &Snapshot, spec: &TargetSpec) -> Option<String> {
    let node = snapshot.nodes.iter().find(|node| node.node.name == spec.node)?;
    let device = lustre_plan::device_of(node.inventory.as_ref()?, spec)?;
    Some(device.content.clone())
}

/// A target that will be there when what is planned is done.
fn planned(spec: &TargetSpec, svname: SvName) -> target::Target {
    target::Target {
        spec: spec.clone(),
        svname,
        id: String::new(),
        state: TargetState::Registered,
        state_reason: "planned".to_owned(),
        label: None,
        uuid: None,
        size_bytes: None,
        formatted_over: None,
        nids: Vec::new(),
        job: None,
        runs_on: None,
        reserved_until: None,
        confirm_until: None,
        revision: 0,
    }
}
