//! `lustre_nodemap`.

use lustre_api::Nothing;
use lustre_api::attributes::{AttributeType, NODEMAP};
use lustre_api::mgs::Snapshot;
use lustre_api::nodemap::{ConfirmNodemap, ConfirmNodemapsActive, Nodemap, NodemapPath, NodemapSpec, NodemapsSpec};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_plan::Mode;
use lustre_types::NodemapName;
use serde_json::{Map, Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, confirm, table};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType, Relations, RequiredIf};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&NODEMAP);
    for argument in arguments.iter_mut().filter(|argument| argument.name == "name") {
        // Nodemaps can be put in force without naming one.
        argument.required = false;
    }
    arguments.push(common::mode("O(ranges), O(banned_ranges), O(uids), O(gids) and O(projids)"));
    arguments.push(
        Argument::new("active", ArgumentType::Bool)
            .doc("Put all nodemaps of the MGS in force, or out of it. Left as it is when not given.")
            .doc("While they are in force servers need a nodemap that is O(admin) and O(trusted)."),
    );
    arguments.push(confirm::state(
        "the nodemap is as described.",
        "there is no such nodemap: its NIDs belong to V(default). Of V(default), its changes are taken back.",
    ));
    arguments.push(confirm::argument("what was before"));
    arguments.push(common::fingerprint());
    arguments.extend(common::connection());
    let relations = Relations {
        required_one_of: vec![vec!["name".into(), "active".into()]],
        required_if: vec![RequiredIf {
            parameter: "state".into(),
            value: "absent".into(),
            requires: vec!["name".into()],
            any: false,
        }],
        ..Relations::default()
    };
    Module {
        name: "lustre_nodemap",
        summary: "Manage a nodemap of a Lustre MGS",
        description: vec![table::markup(NODEMAP.description)],
        notes: vec![],
        see_also: &["lustre_param", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments).with(relations),
        examples: r#"- name: Servers keep their ids
  chandelier.lustre.lustre_nodemap:
    name: servers
    ranges: ["10.0.0.[1-9]@tcp"]
    admin: true
    trusted: true

- name: Compute nodes have ids of their own; it goes back by itself should they not get in any more
  chandelier.lustre.lustre_nodemap:
    name: computes
    ranges: ["10.0.1.*@tcp"]
    uids: {500: 600, 501: 601}
    deny_unknown: true
    active: true
    confirm_within: 600

- name: They do get in
  ansible.builtin.command: ls /mnt/scratch
  delegate_to: c1
  changed_when: false

- name: So it stays
  chandelier.lustre.lustre_nodemap:
    name: computes
    active: true
    state: confirmed

- name: One more network
  chandelier.lustre.lustre_nodemap:
    name: computes
    ranges: ["10.0.2.*@tcp"]
    mode: add
"#,
        returns: common::planned(ReturnValue {
            name: "resource",
            kind: "dict",
            elements: None,
            returned: "always, but not in check mode",
            description: "The nodemap after the task, null when it is absent; and whether nodemaps are in force.",
            sample: json!({
                "nodemap": { "spec": { "name": "computes", "ranges": ["10.0.1.0-10.0.1.255@tcp"], "uids": { "500": 600 } }, "id": 2 },
                "active": true,
            }),
        }),
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let name: Option<NodemapName> =
        task.text("name").map(str::parse).transpose().map_err(|e| Failure::from(format!("name: {e}")))?;
    let active = task.params.get("active").and_then(Value::as_bool);
    let mode: Mode = task.text("mode").unwrap_or("exact").parse().map_err(Failure::from)?;
    let session = Session::new(task)?;
    let snapshot = match session.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    let known = |snapshot: &Snapshot| -> Option<Nodemap> {
        let name = name.as_ref()?;
        snapshot.nodemaps.iter().find(|known| known.spec.name == *name).cloned()
    };
    if confirm::is_wanted(task) {
        return confirmed(task, &session, &snapshot, name.as_ref(), active).await;
    }
    let mut desired = Desired { nodemaps_active: active.map(|active| NodemapsSpec { active }), ..Desired::default() };
    if let Some(name) = &name {
        let there = known(&snapshot).map(|nodemap| nodemap.spec);
        if task.is_absent() {
            desired.absent.push(ObjectKey::Nodemap { name: name.clone() });
        } else if there.is_some() || mode != Mode::Remove {
            let before = there.unwrap_or_else(|| NodemapSpec::new(name.clone()));
            desired.nodemaps.push(described(task, &before, mode)?);
        }
    }
    let view = |snapshot: &Snapshot| json!({ "nodemap": known(snapshot).map(|nodemap| json_of(&nodemap)), "active": snapshot.nodemaps_active });
    ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await
}

/// What was there, with what the task gives.
fn described(task: &Task<'_>, before: &NodemapSpec, mode: Mode) -> Result<NodemapSpec, Failure> {
    let mut given = json_of(before);
    let is_given = |name: &str| task.params.get(name).is_some_and(|value| !value.is_null());
    for attribute in NODEMAP.attributes.iter().filter(|attribute| attribute.is_in_spec() && is_given(attribute.name)) {
        let value = &task.params[attribute.name];
        given[attribute.name] = match (attribute.kind, value) {
            (AttributeType::Ids, Value::Object(ids)) => Value::Object(numbers(attribute.name, ids, mode)?),
            (AttributeType::Text, Value::String(text)) if text.is_empty() => Value::Null,
            _ => value.clone(),
        };
    }
    let mut spec: NodemapSpec = serde_json::from_value(given).map_err(|error| Failure::from(error.to_string()))?;
    let set = |name: &str, before: &_, given| if is_given(name) { mode.of_set(before, given) } else { given };
    spec.ranges = set("ranges", &before.ranges, spec.ranges);
    spec.banned_ranges = set("banned_ranges", &before.banned_ranges, spec.banned_ranges);
    let map = |name: &str, before: &_, given| if is_given(name) { mode.of_map(before, given) } else { given };
    spec.uids = map("uids", &before.uids, spec.uids);
    spec.gids = map("gids", &before.gids, spec.gids);
    spec.projids = map("projids", &before.projids, spec.projids);
    Ok(spec)
}

/// Ids by ids: templates make texts of numbers. What is taken away needs no value.
fn numbers(option: &str, ids: &Map<String, Value>, mode: Mode) -> Result<Map<String, Value>, Failure> {
    let pair = |(key, value): (&String, &Value)| {
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if !text.is_empty() => text.parse().ok(),
            Value::Null | Value::String(_) if mode == Mode::Remove => Some(0),
            _ => None,
        };
        let number = number.filter(|number| u32::try_from(*number).is_ok() && key.parse::<u32>().is_ok());
        let problem = || Failure::from(format!("{option}: {key}: {value} is no pair of ids; write it like 500: 600"));
        Ok((key.clone(), number.ok_or_else(problem)?.into()))
    };
    ids.iter().map(pair).collect()
}

async fn confirmed(
    task: &Task<'_>,
    session: &Session,
    snapshot: &Snapshot,
    name: Option<&NodemapName>,
    active: Option<bool>,
) -> Result<Outcome, Failure> {
    let nodemap = snapshot.nodemaps.iter().find(|known| Some(&known.spec.name) == name).cloned();
    let active_waits = snapshot.nodemaps_confirm_until.filter(|_| active.is_some());
    let removal = name.and_then(|name| snapshot.removals.get(&format!("nodemap {name}")).copied());
    let waits = nodemap.as_ref().and_then(|nodemap| nodemap.confirm_until).or(removal);
    let query = task.write_query();
    if !task.internals.check_mode {
        if let (Some(name), Some(_)) = (name, waits) {
            let path = NodemapPath { name: name.clone() };
            let written = session.mgs.call::<ConfirmNodemap>(&path, &query, &Nothing {}).await;
            written.map_err(|error| session.explain(error))?;
        }
        if active_waits.is_some() {
            let written = session.mgs.call::<ConfirmNodemapsActive>(&Nothing {}, &query, &Nothing {}).await;
            written.map_err(|error| session.explain(error))?;
        }
    }
    let shown = nodemap.map(|nodemap| json_of(&nodemap.spec));
    Ok(confirm::outcome([waits, active_waits], json!({ "nodemap": shown, "active": snapshot.nodemaps_active })))
}
