//! `lustre_param_info`.

use lustre_api::Nothing;
use lustre_api::param::{CatalogueQuery, GetCatalogue, ParamPath};
use lustre_api::proof::{ExplainParam, Explanation};
use serde_json::{Map, Value, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = vec![
        Argument::list("names", ArgumentType::Str)
            .required()
            .doc("The tunables, as V(lctl set_param) names them, with V(*) for the device."),
        Argument::new("filesystem", ArgumentType::Str).doc("Their file system; every one of the MGS when not given."),
        Argument::new("scope", ArgumentType::Str)
            .default(Value::from("filesystem"))
            .doc("Whom they concern: V(filesystem), V(mdts), V(osts), V(clients), or one target by name."),
    ];
    arguments.extend(common::connection());
    Module {
        name: "lustre_param_info",
        summary: "Ask nodes what they have of Lustre tunables",
        description: vec![
            "Says of each tunable what is wanted, who wanted it, what the catalogue knows of it, and what every node concerned \
             has: applied, different, refused, missing or not reached, with the layer that its value comes from. Changes nothing."
                .to_owned(),
        ],
        notes: vec![],
        see_also: &["lustre_param", "lustre_info"],
        is_read_only: true,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: Do all nodes have it?
  chandelier.lustre.lustre_param_info:
    api_url: http://10.0.0.1:7070
    filesystem: scratch
    names: [osc.*.max_dirty_mb]
  register: dirty
  delegate_to: localhost

- name: They do
  ansible.builtin.assert:
    that: dirty.params[0].is_proven
"#,
        returns: vec![
            ReturnValue {
                name: "params",
                kind: "list",
                elements: Some("dict"),
                returned: "success",
                description: "The tunables in the order asked, each with C(nodes) and what each of them has.",
                sample: json!([{
                    "id": "scratch/filesystem/osc.*.max_dirty_mb", "wanted": "512", "is_proven": false,
                    "nodes": [{ "node": "c1", "state": "differs", "message": "osc.scratch-OST0000-osc-ff88.max_dirty_mb is 64 instead of 512" }],
                }]),
            },
            ReturnValue {
                name: "catalogue",
                kind: "list",
                elements: Some("dict"),
                returned: "success",
                description: "What is known of the tunables asked for: type, range, default, versions, when they work.",
                sample: json!([{ "name": "osc.*.max_dirty_mb", "type": "size", "unit": "MiB", "set_by": "any", "effective": "live" }]),
            },
        ],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let names = task.params.get("names").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let fsname = task.text("filesystem").unwrap_or("*");
    let scope = task.text("scope").unwrap_or("filesystem");
    let session = Session::new(task)?;
    let (mut params, mut catalogue) = (Vec::new(), Vec::new());
    for name in names {
        let path = ParamPath {
            fsname: fsname.to_owned(),
            scope: scope.parse().map_err(|error| Failure::from(format!("scope: {error}")))?,
            name: name.parse().map_err(|error| Failure::from(format!("names: {error}")))?,
        };
        let explained = session.mgs.call::<ExplainParam>(&path, &Nothing {}, &Nothing {}).await;
        let explained: Explanation = explained.map_err(|error| session.explain(error))?;
        match &explained.catalogue {
            Some(entry) => catalogue.push(json_of(entry)),
            None => catalogue.extend(near(&session, name).await?),
        }
        params.push(json_of(&explained));
    }
    let mut values = Map::new();
    values.insert("params".to_owned(), params.into());
    values.insert("catalogue".to_owned(), catalogue.into());
    Ok(Outcome { values, ..Outcome::default() })
}

/// What the catalogue has whose name ends like this one's.
async fn near(session: &Session, name: &str) -> Result<Vec<Value>, Failure> {
    let query = CatalogueQuery { contains: name.rsplit('.').next().map(str::to_owned) };
    let found = session.mgs.call::<GetCatalogue>(&Nothing {}, &query, &Nothing {}).await;
    let found = found.map_err(|error| session.explain(error))?;
    Ok(found.entries.iter().map(json_of).collect())
}
