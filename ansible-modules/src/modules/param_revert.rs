//! `lustre_param_revert`.

use lustre_api::proof::{ParamDifference, ParamsDiff, PostRevertParams, RevertParams};
use lustre_api::{Nothing, WriteQuery};
use serde_json::{Map, Value, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = vec![
        Argument::new("revision", ArgumentType::Int).required().doc(
            "The revision of the MGS's state to go back to: RV(chandelier.lustre.lustre_info#module:revision) before a change, \
             or one of C(mgsctl param log).",
        ),
        Argument::new("filesystem", ArgumentType::Str)
            .doc("Only tunables of this file system; of every one of the MGS when not given."),
        Argument::list("ids", ArgumentType::Str)
            .doc("Only these tunables, as in V(scratch/filesystem/osc.*.max_dirty_mb); all when not given."),
    ];
    arguments.extend(common::connection());
    Module {
        name: "lustre_param_revert",
        summary: "Put Lustre tunables back to what they were",
        description: vec![
            "Sets permanent tunables to the values that they had at a revision, and unsets those that were not set then: all of \
             them in one change, or none. That is a change like any other, with a revision of its own."
                .to_owned(),
        ],
        notes: vec!["Only tunables go back. What a node has by hand is drift, which M(chandelier.lustre.lustre_param) sets right."],
        see_also: &["lustre_param", "lustre_param_info", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: What is the revision before the change?
  chandelier.lustre.lustre_info:
    gather_subset: [params]
  register: before

- name: Back to that
  chandelier.lustre.lustre_param_revert:
    revision: "{{ before.revision }}"
    filesystem: scratch
"#,
        returns: vec![
            ReturnValue {
                name: "differences",
                kind: "list",
                elements: Some("dict"),
                returned: "always",
                description: "The tunables that differ from then: C(then) is the value that they go back to, C(now) the one before \
                    the task; missing where it was not set.",
                sample: json!([{ "id": "scratch/filesystem/osc.*.max_dirty_mb", "then": "512", "now": "64" }]),
            },
            ReturnValue {
                name: "revision",
                kind: "int",
                elements: None,
                returned: "always",
                description: "The revision of the MGS's state after the task.",
                sample: json!(57),
            },
            common::warnings(),
        ],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let given = task.params.get("revision").unwrap_or(&Value::Null);
    let revision = given.as_u64().ok_or_else(|| Failure::from(format!("revision: {given} is no revision")))?;
    let fsname = task.text("filesystem").map(str::parse).transpose();
    let fsname = fsname.map_err(|error| Failure::from(format!("filesystem: {error}")))?;
    let ids = task.params.get("ids").and_then(Value::as_array).into_iter().flatten();
    let ids = ids.filter_map(Value::as_str).map(str::to_owned).collect();
    let session = Session::new(task)?;
    let query = WriteQuery { dry_run: task.internals.check_mode, ..task.write_query() };
    let body = RevertParams { revision, fsname, ids };
    let written = session.mgs.call::<PostRevertParams>(&Nothing {}, &query, &body).await;
    let written = written.map_err(|error| session.explain(error))?;
    let mut values = Map::new();
    values.insert("differences".to_owned(), json_of(&written.object.differences));
    values.insert("revision".to_owned(), json!(written.revision));
    let diff = if task.internals.diff && written.changed { vec![diff(&written.object)] } else { Vec::new() };
    Ok(Outcome { changed: written.changed, values, warnings: written.warnings, diff })
}

/// The values before and after, by tunable, as Ansible shows differences.
fn diff(diff: &ParamsDiff) -> Value {
    let side = |value: fn(&ParamDifference) -> &Option<String>| -> Map<String, Value> {
        diff.differences.iter().map(|one| (one.id.clone(), json_of(value(one)))).collect()
    };
    json!({
        "before_header": "tunables now", "before": side(|one| &one.now),
        "after_header": format!("tunables at revision {}", diff.then), "after": side(|one| &one.then),
    })
}
