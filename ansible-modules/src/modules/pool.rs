//! `lustre_pool`.

use std::collections::BTreeSet;

use lustre_api::attributes::POOL;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::pool::PoolSpec;
use lustre_plan::Mode;
use lustre_types::{FsName, PoolName, SvName};
use serde_json::{Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, table};
use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&POOL);
    arguments.push(common::mode("O(members)"));
    arguments.push(common::state(
        "the pool exists with its O(members).",
        "there is no such pool. Its OSTs and the files on them stay.",
    ));
    arguments.push(common::fingerprint());
    arguments.extend(common::connection());
    Module {
        name: "lustre_pool",
        summary: "Manage a pool of OSTs of a Lustre file system",
        description: vec![table::markup(POOL.description)],
        notes: vec![],
        see_also: &["lustre_target", "lustre_filesystem", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: Pool flash has the first four OSTs
  chandelier.lustre.lustre_pool:
    filesystem: scratch
    name: flash
    members: ["OST[0-3]"]

- name: One more, whatever else it has
  chandelier.lustre.lustre_pool:
    filesystem: scratch
    name: flash
    members: [OST0007]
    mode: add

- name: There is no pool old
  chandelier.lustre.lustre_pool:
    filesystem: scratch
    name: old
    state: absent
"#,
        returns: common::planned(ReturnValue {
            name: "resource",
            kind: "dict",
            elements: None,
            returned: "always, but not in check mode",
            description: "The pool after the task; null when it is absent.",
            sample: json!({
                "filesystem": "scratch", "name": "flash", "id": "scratch.flash", "members": ["scratch-OST0000", "scratch-OST0001"],
            }),
        }),
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let filesystem: FsName =
        task.text("filesystem").unwrap_or_default().parse().map_err(|e| Failure::from(format!("filesystem: {e}")))?;
    let name: PoolName =
        task.text("name").unwrap_or_default().parse().map_err(|e| Failure::from(format!("name: {e}")))?;
    let session = Session::new(task)?;
    let snapshot = match session.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    let known = |snapshot: &Snapshot| {
        snapshot.pools.iter().find(|known| known.filesystem == filesystem && known.name == name).cloned()
    };
    let mode: Mode = task.text("mode").unwrap_or("exact").parse().map_err(Failure::from)?;
    let mut desired = Desired::default();
    if task.is_absent() {
        desired.absent.push(ObjectKey::Pool { filesystem: filesystem.clone(), name: name.clone() });
    } else {
        let there = known(&snapshot).map(|pool| pool.members);
        let given = task.params.get("members").and_then(Value::as_array);
        let given: Option<BTreeSet<String>> =
            given.map(|given| given.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        let names = |members: BTreeSet<SvName>| members.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let members = match (given, mode) {
            (None, _) => Some(names(there.unwrap_or_default())),
            (Some(given), Mode::Exact) => Some(given),
            // Nothing can be taken from a pool that is not there.
            (Some(_), Mode::Remove) if there.is_none() => None,
            (Some(given), mode) => {
                let given = lustre_plan::pool_members(&filesystem, &given)
                    .map_err(|error| Failure::from(format!("members: {error}")))?;
                Some(names(mode.of_set(&there.unwrap_or_default(), given)))
            }
        };
        let spec = |members| PoolSpec { filesystem: filesystem.clone(), name: name.clone(), members };
        desired.pools.extend(members.map(spec));
    }
    let view = |snapshot: &Snapshot| known(snapshot).map_or(Value::Null, |pool| json_of(&pool));
    ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await
}
