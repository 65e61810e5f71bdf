//! `lustre_info`.

use lustre_api::Nothing;
use lustre_api::job::{JobQuery, ListJobs};
use lustre_api::mgs::{GetSnapshot, SnapshotQuery};
use lustre_types::FsName;
use serde_json::{Map, Value, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

const SUBSETS: [(&str, &str); 8] = [
    ("mgs", "What the MGS is and can do."),
    ("filesystems", "The file systems."),
    ("targets", "Their targets."),
    ("params", "The tunables that are set."),
    ("pools", "The pools of OSTs."),
    ("nodes", "The nodes whose agents have enrolled."),
    ("devices", "The nodes with their block devices, asked for now. In RV(nodes)."),
    ("jobs", "The last jobs, newest last."),
];
/// What is gathered when the task doesn't say.
const USUAL: [&str; 6] = ["mgs", "filesystems", "targets", "params", "pools", "nodes"];

pub(super) fn module() -> Module {
    let mut subset = Argument::list("gather_subset", ArgumentType::Str)
        .choices(SUBSETS.map(|(name, _)| name))
        .default(Value::from(USUAL.to_vec()))
        .doc("What to gather.");
    for (name, what) in SUBSETS {
        subset = subset.doc(&format!("V({name}): {}", what.trim_end_matches('.')));
    }
    let mut arguments = vec![
        subset,
        Argument::new("filesystem", ArgumentType::Str)
            .doc("Only what belongs to this file system. Nodes are always all."),
    ];
    arguments.extend(common::connection());
    let list = |name, description| ReturnValue {
        name,
        kind: "list",
        elements: Some("dict"),
        returned: "when asked for",
        description,
        sample: json!([]),
    };
    Module {
        name: "lustre_info",
        summary: "Gather what the MGS knows of its Lustre file systems",
        description: vec![
            "Reads file systems, targets, tunables, pools, nodes and jobs from the MGS. Changes nothing.".to_owned(),
        ],
        notes: vec![],
        see_also: &["lustre_facts", "lustre_filesystem"],
        is_read_only: true,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: Ask the MGS
  chandelier.lustre.lustre_info:
    api_url: http://10.0.0.1:7070
    filesystem: scratch
  register: lustre
  delegate_to: localhost

- name: The file system is whole
  ansible.builtin.assert:
    that:
      - lustre.filesystems[0].state == "ready"
      - lustre.filesystems[0].ost_count == 8

- name: How far are the jobs?
  chandelier.lustre.lustre_info:
    gather_subset: [jobs]
"#,
        returns: vec![
            ReturnValue {
                name: "mgs",
                kind: "dict",
                elements: None,
                returned: "when asked for",
                description: "What the MGS is and can do.",
                sample: json!({"uuid": "0b7e7c0e-3a55-4b7c-9d3f-51f1a6a5b0d1", "version": "0.1.0", "nids": "10.0.0.1@tcp", "store": "redb"}),
            },
            list("filesystems", "The file systems, by name."),
            list("targets", "The targets, by name."),
            list("params", "The tunables that are set."),
            list("pools", "The pools, by file system and name."),
            list("nodes", "The nodes, by name."),
            list("jobs", "The jobs, newest last."),
            ReturnValue {
                name: "revision",
                kind: "int",
                elements: None,
                returned: "unless only jobs are asked for",
                description: "The revision of the MGS's state at which all this was read.",
                sample: json!(42),
            },
        ],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let fsname: Option<FsName> =
        task.text("filesystem").map(str::parse).transpose().map_err(|e| Failure::from(format!("filesystem: {e}")))?;
    let wanted: Vec<&str> = task
        .params
        .get("gather_subset")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let session = Session::new(task)?;
    let mut values = Map::new();
    if wanted.iter().any(|name| *name != "jobs") {
        let query = SnapshotQuery { fsname: fsname.clone(), devices: wanted.contains(&"devices"), tunables: false };
        let snapshot = session.mgs.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await;
        let snapshot = json_of(&snapshot.map_err(|error| session.explain(error))?);
        for (name, value) in snapshot.as_object().into_iter().flatten() {
            let is_wanted = wanted.contains(&name.as_str())
                || name == "revision"
                || (name == "nodes" && wanted.contains(&"devices"));
            if is_wanted {
                values.insert(name.clone(), value.clone());
            }
        }
    }
    if wanted.contains(&"jobs") {
        values.insert("jobs".to_owned(), jobs(&session, fsname).await?);
    }
    Ok(Outcome { values, ..Outcome::default() })
}

async fn jobs(session: &Session, fsname: Option<FsName>) -> Result<Value, Failure> {
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let query = JobQuery { limit: Some(1000), after, fsname: fsname.clone(), ..JobQuery::default() };
        let page = session.mgs.call::<ListJobs>(&Nothing {}, &query, &Nothing {}).await;
        let page = page.map_err(|error| session.explain(error))?;
        jobs.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(json_of(&jobs)),
        }
    }
}
