//! `lustre_param`.

use lustre_api::attributes::PARAM;
use lustre_api::mgs::Snapshot;
use lustre_api::param::{Param, ParamPath, ParamSpec};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proof::{ConfirmParam, ExplainParam, Explanation, ProofState};
use lustre_api::{Nothing, Time};
use lustre_types::{FsName, ParamKey, ParamName, ParamScope};
use serde_json::{Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, confirm, table};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType, Relations, RequiredIf};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&PARAM);
    for argument in &mut arguments {
        // One tunable by name and value, or many by `params`.
        argument.required = false;
    }
    arguments.push(
        Argument::new("params", ArgumentType::Dict)
            .doc("Many tunables of the same O(filesystem) and O(scope) in one task: names with their values.")
            .doc("With O(state=absent) only the names count."),
    );
    arguments.push(Argument::new("exclusive", ArgumentType::Bool).default(Value::from(false)).doc(
        "Unset every other tunable of the same O(filesystem) and O(scope). They are in the plan as what is deleted.",
    ));
    arguments.push(confirm::state(
        "they are set permanently to these values.",
        "they are not set; their defaults come back.",
    ));
    arguments.push(
        Argument::new("prove", ArgumentType::Bool)
            .default(Value::from(false))
            .doc("Ask every node concerned whether it has the value, before and afterwards; in RV(proof).")
            .doc("A node that has something else although the value is set is a change: it is in the diff, and set right by a job.")
            .doc("A node that has it not afterwards is a warning, not a failure: it may be down, or the value may work for new mounts only."),
    );
    arguments.push(
        Argument::new("canary", ArgumentType::Str)
            .doc("Try a new value of O(name) on this node first, then on all others, and set it permanently only when each of them has read it back.")
            .doc("Where one refuses it, all have again what they had, and the task fails."),
    );
    arguments.push(confirm::argument("what was set before"));
    arguments.extend(common::waiting());
    arguments.push(common::fingerprint());
    arguments.extend(common::connection());
    let relations = Relations {
        mutually_exclusive: vec![vec!["name".into(), "params".into()], vec!["value".into(), "params".into()]],
        required_one_of: vec![vec!["name".into(), "params".into()]],
        required_if: vec![RequiredIf {
            parameter: "state".into(),
            value: "present".into(),
            requires: vec!["value".into(), "params".into()],
            any: true,
        }],
        required_by: vec![("value".into(), vec!["name".into()]), ("canary".into(), vec!["name".into()])],
        ..Relations::default()
    };
    Module {
        name: "lustre_param",
        summary: "Set permanent Lustre tunables",
        description: vec![table::markup(PARAM.description)],
        notes: vec![
            "Other tunables than those named are left alone, but with O(exclusive).",
            "Several that change are changed together: all of them, or none.",
        ],
        see_also: &["lustre_filesystem", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments).with(relations),
        examples: r#"- name: Clients may have 512 MiB of dirty pages per OST
  chandelier.lustre.lustre_param:
    filesystem: scratch
    name: osc.*.max_dirty_mb
    value: 512

- name: Several in one task
  chandelier.lustre.lustre_param:
    filesystem: scratch
    scope: clients
    params:
      osc.*.max_pages_per_rpc: 4M
      llite.*.max_read_ahead_mb: 256

- name: These, and no other, for the clients
  chandelier.lustre.lustre_param:
    filesystem: scratch
    scope: clients
    params:
      llite.*.max_read_ahead_mb: 256
    exclusive: true

- name: The default is good enough
  chandelier.lustre.lustre_param:
    filesystem: scratch
    name: osc.*.max_dirty_mb
    state: absent
"#,
        returns: with_proof(common::planned(ReturnValue {
            name: "resource",
            kind: "list",
            elements: Some("dict"),
            returned: "always, but not in check mode",
            description: "The named tunables that are set after the task.",
            sample: json!([{
                "filesystem": "scratch", "scope": "filesystem", "name": "osc.*.max_dirty_mb", "value": "512",
                "id": "scratch/filesystem/osc.*.max_dirty_mb", "canonical_name": "osc.scratch-OST*-osc-*.max_dirty_mb",
            }]),
        })),
        run: |task| block_on(run(task)),
    }
}

fn with_proof(mut returns: Vec<ReturnValue>) -> Vec<ReturnValue> {
    returns.push(common::jobs());
    returns.push(ReturnValue {
        name: "proof",
        kind: "list",
        elements: Some("dict"),
        returned: "when asked for by O(prove), but not in check mode",
        description: "Of each tunable what every node concerned has; C(is_proven) if all have the value.",
        sample: json!([{
            "id": "scratch/filesystem/osc.*.max_dirty_mb", "wanted": "512", "is_proven": true,
            "nodes": [{ "node": "c1", "state": "applied" }],
        }]),
    });
    returns
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let filesystem: Option<FsName> =
        task.text("filesystem").map(str::parse).transpose().map_err(|e| Failure::from(format!("filesystem: {e}")))?;
    let scope: ParamScope = task
        .text("scope")
        .map(str::parse)
        .transpose()
        .map_err(|e| Failure::from(format!("scope: {e}")))?
        .unwrap_or_default();
    let named = named(task)?;
    let session = Session::new(task)?;
    let seen = if task.is("prove") { session.snapshot_with_proofs().await } else { session.snapshot().await };
    let snapshot = match seen {
        Ok(snapshot) => snapshot,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    let is_it =
        |spec: &ParamSpec, name: &ParamName| spec.filesystem == filesystem && spec.scope == scope && spec.name == *name;
    if confirm::is_wanted(task) {
        let keys = named.iter().map(|(name, _)| ParamKey {
            filesystem: filesystem.clone(),
            scope: scope.clone(),
            name: name.clone(),
        });
        let removed = keys.filter_map(|key| Some((snapshot.removals.get(&format!("param {key}")).copied()?, key)));
        let removed: Vec<_> = removed.collect();
        let waits = snapshot.params.iter().filter(|known| named.iter().any(|(name, _)| is_it(&known.spec, name)));
        return confirmed(task, &session, waits.collect(), removed).await;
    }
    let mut desired = Desired::default();
    if task.is("exclusive") && !task.is_absent() {
        let of_scope =
            snapshot.params.iter().filter(|known| known.spec.filesystem == filesystem && known.spec.scope == scope);
        let others = of_scope.filter(|known| named.iter().all(|(name, _)| *name != known.spec.name));
        desired.absent.extend(others.map(|known| ObjectKey::Param {
            filesystem: filesystem.clone(),
            scope: scope.clone(),
            name: known.spec.name.clone(),
        }));
    }
    for (name, value) in &named {
        if task.is_absent() {
            let key = ObjectKey::Param { filesystem: filesystem.clone(), scope: scope.clone(), name: name.clone() };
            desired.absent.push(key);
            continue;
        }
        let known = snapshot.params.iter().find(|known| is_it(&known.spec, name));
        let given = task.params.get("allow_unknown").and_then(Value::as_bool);
        desired.params.push(ParamSpec {
            filesystem: filesystem.clone(),
            scope: scope.clone(),
            name: name.clone(),
            value: value.clone(),
            allow_unknown: given.unwrap_or_else(|| known.is_some_and(|known| known.spec.allow_unknown)),
        });
    }
    let snapshot = with_live(&session, snapshot, &desired.params).await?;
    let view = |snapshot: &Snapshot| {
        let set = snapshot.params.iter().filter(|known| named.iter().any(|(name, _)| is_it(&known.spec, name)));
        set.map(json_of).collect()
    };
    let mut outcome = ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await?;
    if !task.internals.check_mode && !task.is_absent() && task.is("prove") {
        let proof = prove(&session, filesystem.as_ref(), &scope, &named).await?;
        for unproven in proof.iter().filter(|proof| !proof.is_proven) {
            let bad = unproven.nodes.iter().filter(|node| node.state != ProofState::Applied);
            outcome.warnings.extend(bad.filter_map(|node| Some(format!("{}: {}", node.node, node.message.clone()?))));
        }
        outcome.values.insert("proof".to_owned(), proof.iter().map(json_of).collect());
    }
    Ok(outcome)
}

/// What is there, with those of the tunables that the catalogue does not know and that nodes have, now.
async fn with_live(session: &Session, mut snapshot: Snapshot, specs: &[ParamSpec]) -> Result<Snapshot, Failure> {
    for spec in specs.iter().filter(|spec| !spec.allow_unknown) {
        if lustre_plan::catalogue::lookup(spec.name.as_str()).is_some() {
            continue;
        }
        let named = [(spec.name.clone(), String::new())];
        let explained = prove(session, spec.filesystem.as_ref(), &spec.scope, &named).await?;
        let having = explained.into_iter().flat_map(|one| one.nodes).filter(|proof| !proof.values.is_empty());
        snapshot.live_params.insert(spec.name.clone(), having.map(|proof| proof.node).collect());
    }
    Ok(snapshot)
}

/// Keeps what would go back.
async fn confirmed(
    task: &Task<'_>,
    session: &Session,
    params: Vec<&Param>,
    removed: Vec<(Time, ParamKey)>,
) -> Result<Outcome, Failure> {
    let waiting = params.iter().filter(|param| param.confirm_until.is_some()).map(|param| ParamKey {
        filesystem: param.spec.filesystem.clone(),
        scope: param.spec.scope.clone(),
        name: param.spec.name.clone(),
    });
    let waiting: Vec<ParamKey> = waiting.chain(removed.iter().map(|(_, key)| key.clone())).collect();
    for key in waiting.iter().filter(|_| !task.internals.check_mode) {
        let path = ParamPath { fsname: key.fsname().to_owned(), scope: key.scope.clone(), name: key.name.clone() };
        let written = session.mgs.call::<ConfirmParam>(&path, &task.write_query(), &Nothing {}).await;
        written.map_err(|error| session.explain(error))?;
    }
    let shown = params.iter().map(|param| json_of(&param.spec)).collect();
    let waited = params.iter().map(|param| param.confirm_until).chain(removed.iter().map(|(until, _)| Some(*until)));
    Ok(confirm::outcome(waited, shown))
}

/// What the nodes have of the tunables, now.
async fn prove(
    session: &Session,
    filesystem: Option<&FsName>,
    scope: &ParamScope,
    named: &[(ParamName, String)],
) -> Result<Vec<Explanation>, Failure> {
    let mut proof = Vec::new();
    for (name, _) in named {
        let fsname = filesystem.map_or("*", FsName::as_str).to_owned();
        let path = ParamPath { fsname, scope: scope.clone(), name: name.clone() };
        let explained = session.mgs.call::<ExplainParam>(&path, &Nothing {}, &Nothing {}).await;
        proof.push(explained.map_err(|error| session.explain(error))?);
    }
    Ok(proof)
}

/// The tunables that the task names, with their values; empty values where they are to be absent.
fn named(task: &Task<'_>) -> Result<Vec<(ParamName, String)>, Failure> {
    let parse = |name: &str| name.parse::<ParamName>().map_err(Failure::from);
    if let Some(name) = task.text("name") {
        let value = task.params.get("value").and_then(Value::as_str).unwrap_or_default();
        return Ok(vec![(parse(name)?, value.to_owned())]);
    }
    let Some(Value::Object(params)) = task.params.get("params") else { return Ok(Vec::new()) };
    let value_of = |name: &str, value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        // What YAML makes of `on` and `yes`.
        Value::Bool(truth) => Ok(if *truth { "1" } else { "0" }.to_owned()),
        Value::Null if task.is_absent() || confirm::is_wanted(task) => Ok(String::new()),
        _ => Err(Failure::from(format!("params: the value of {name} must be a text or a number"))),
    };
    params.iter().map(|(name, value)| Ok((parse(name)?, value_of(name, value)?))).collect()
}
