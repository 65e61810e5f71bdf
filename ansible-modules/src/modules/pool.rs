//! `lustre_pool`.

use std::collections::BTreeSet;

use lustre_api::attributes::POOL;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::pool::PoolSpec;
use lustre_types::{FsName, PoolName};
use serde_json::{Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, table};
use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&POOL);
    arguments.push(common::state(
        "the pool exists with exactly its O(members).",
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
    let mut desired = Desired::default();
    if task.is_absent() {
        desired.absent.push(ObjectKey::Pool { filesystem: filesystem.clone(), name: name.clone() });
    } else {
        let members: BTreeSet<String> = match task.params.get("members").and_then(Value::as_array) {
            Some(given) => given.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => {
                known(&snapshot).into_iter().flat_map(|pool| pool.members).map(|member| member.to_string()).collect()
            }
        };
        desired.pools.push(PoolSpec { filesystem: filesystem.clone(), name: name.clone(), members });
    }
    let view = |snapshot: &Snapshot| known(snapshot).map_or(Value::Null, |pool| json_of(&pool));
    ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await
}
