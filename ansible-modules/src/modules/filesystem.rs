//! `lustre_filesystem`.

use lustre_api::attributes::FILESYSTEM;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_types::FsName;
use serde_json::{Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, table};
use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&FILESYSTEM);
    arguments.push(common::state(
        "the file system is known to the MGS as described.",
        "the MGS forgets it. Refused while it has targets, pools or tunables.",
    ));
    arguments.push(common::fingerprint());
    arguments.extend(common::connection());
    Module {
        name: "lustre_filesystem",
        summary: "Describe a Lustre file system to its MGS",
        description: vec![
            table::markup(FILESYSTEM.description),
            "Its targets are made with M(chandelier.lustre.lustre_target).".to_owned(),
        ],
        notes: vec![],
        see_also: &["lustre_target", "lustre_pool", "lustre_param", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: The file system scratch exists
  chandelier.lustre.lustre_filesystem:
    name: scratch
    description: Scratch space of the cluster

- name: The same from the controller, without any host
  chandelier.lustre.lustre_filesystem:
    api_url: http://10.0.0.1:7070
    name: scratch
  delegate_to: localhost
"#,
        returns: common::planned(ReturnValue {
            name: "resource",
            kind: "dict",
            elements: None,
            returned: "always, but not in check mode",
            description: "The file system after the task; null when it is absent.",
            sample: json!({
                "name": "scratch", "id": "0b7e7c0e-3a55-4b7c-9d3f-51f1a6a5b0d1/scratch", "state": "ready",
                "state_reason": "MDT0000 and 4 OSTs are registered", "mount_source": "10.0.0.1@tcp:/scratch",
                "mdt_count": 1, "ost_count": 4, "capacity_bytes": 4_398_046_511_104u64,
            }),
        }),
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let name: FsName =
        task.text("name").unwrap_or_default().parse().map_err(|e| Failure::from(format!("name: {e}")))?;
    let session = Session::new(task)?;
    let snapshot = match session.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    let mut desired = Desired::default();
    if task.is_absent() {
        desired.absent.push(ObjectKey::Filesystem { name: name.clone() });
    } else {
        let known = snapshot.filesystems.iter().find(|known| known.spec.name == name);
        let description = match task.params.get("description").and_then(Value::as_str) {
            Some("") => None,
            Some(text) => Some(text.to_owned()),
            None => known.and_then(|known| known.spec.description.clone()),
        };
        desired.filesystems.push(FilesystemSpec { name: name.clone(), description });
    }
    let view = |snapshot: &lustre_api::mgs::Snapshot| {
        snapshot.filesystems.iter().find(|known| known.spec.name == name).map_or(Value::Null, json_of)
    };
    ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await
}
