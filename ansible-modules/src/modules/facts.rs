//! `lustre_facts`.

use lustre_api::Nothing;
use lustre_api::agent::GetFormatted;
use serde_json::{Map, Value, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common};
use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    Module {
        name: "lustre_facts",
        summary: "Gather what a node is to Lustre: NIDs, versions, devices, targets",
        description: vec![
            "Asks the agent of the host for its versions and NIDs, its block devices with all that speaks against formatting \
             them, and the Lustre targets on them. Changes nothing."
                .to_owned(),
        ],
        notes: vec![],
        see_also: &["lustre_info", "lustre_target"],
        is_read_only: true,
        is_facts: true,
        spec: ArgumentSpec::new(vec![common::agent_socket()]),
        examples: r#"- name: What disks are there?
  chandelier.lustre.lustre_facts:
  become: true

- name: Those that may be formatted
  ansible.builtin.debug:
    msg: "{{ ansible_facts.lustre.devices | selectattr('refusals', 'equalto', []) | map(attribute='path') }}"
"#,
        returns: vec![ReturnValue {
            name: "ansible_facts",
            kind: "dict",
            elements: None,
            returned: "always",
            description: "The facts, all in C(lustre): what the node is, C(devices) with their C(refusals), and C(targets), \
                what the devices are formatted as.",
            sample: json!({"lustre": {
                "node": "oss1", "agent_version": "0.1.0", "kernel": "6.1.0", "start_driver": "none", "nids": ["10.0.0.5@tcp"],
                "devices": [{"path": "/dev/sdb", "size_bytes": 1_099_511_627_776u64, "content": "blank", "refusals": []}],
                "targets": [],
            }}),
        }],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let session = Session::new(task)?;
    let inventory = session.own_inventory().await?;
    let agent = session.agent.as_ref().expect("there is no api_url among the options");
    let formatted = agent.call::<GetFormatted>(&Nothing {}, &Nothing {}, &Nothing {}).await;
    let formatted = formatted.map_err(|error| session.explain(error))?;
    let mut lustre = json_of(&inventory);
    lustre["targets"] = json_of(&formatted.targets);
    let mut values = Map::new();
    values.insert("ansible_facts".to_owned(), Value::Object([("lustre".to_owned(), lustre)].into_iter().collect()));
    Ok(Outcome { values, ..Outcome::default() })
}
