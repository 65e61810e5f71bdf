//! The corpus of plans: what is there and what is wanted, `scenarios/<name>.json`, with the plan as text, `<name>.out`.
//!
//! Terraform's and Ansible's adapters read it too, so that all of them show the same plan.

#![allow(clippy::unwrap_used, reason = "for tests")]

use std::fs;
use std::path::{Path, PathBuf};

use lustre_api::mgs::Snapshot;
use lustre_api::plan::Desired;
use serde_json::{Map, Value, json};

/// One scenario.
pub(crate) struct Scenario {
    /// Its `.json` file.
    pub(crate) path: PathBuf,
    /// What is there.
    pub(crate) observed: Snapshot,
    /// What is wanted.
    pub(crate) desired: Desired,
}

impl Scenario {
    /// Where its plan is.
    pub(crate) fn out(&self) -> PathBuf {
        self.path.with_extension("out")
    }
}

/// All scenarios of a folder, by name.
pub(crate) fn scenarios(dir: &Path) -> Vec<Scenario> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(paths.len() >= 10, "the corpus is there");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let scenario: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let observed = complete(&scenario["observed"]);
        let desired = serde_json::from_value(scenario["desired"].clone());
        let desired = desired.unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        Scenario { path, observed, desired }
    };
    paths.into_iter().map(read).collect()
}

/// What is there, with what a scenario leaves out.
fn complete(observed: &Value) -> Snapshot {
    let list = |name: &str| observed[name].as_array().cloned().unwrap_or_default();
    let filled = |name: &str, defaults: fn(&Value) -> Value| -> Vec<Value> {
        list(name).into_iter().map(|object| merge(defaults(&object), object)).collect()
    };
    let nids = observed.get("mgs_nids").cloned().unwrap_or_else(|| "10.0.0.1@tcp".into());
    let snapshot = json!({
        "revision": 7,
        "mgs": { "uuid": "u", "version": "0", "nids": nids, "capabilities": [], "store": "memory", "revision": 7 },
        "filesystems": filled("filesystems", |_| json!({
            "id": "", "state": "empty", "state_reason": "", "mdt_count": 0, "ost_count": 0, "capacity_bytes": 0, "revision": 1,
        })),
        "targets": filled("targets", target),
        "params": filled("params", |_| json!({ "id": "", "canonical_name": "", "revision": 1 })),
        "pools": filled("pools", |_| json!({ "id": "", "revision": 1 })),
        "nodemaps": list("nodemaps").into_iter().map(|spec| json!({ "spec": spec, "id": 1, "revision": 1 })).collect::<Vec<_>>(),
        "nodemaps_active": observed["nodemaps_active"].as_bool().unwrap_or_default(),
        "nodes": list("nodes").iter().map(node).collect::<Vec<_>>(),
        "param_proofs": proofs(&list("param_proofs")),
    });
    serde_json::from_value(snapshot).expect("a scenario's observed state")
}

/// What nodes have of tunables, by their ids.
fn proofs(list: &[Value]) -> Value {
    let keyed = list.iter().map(|proof| (proof["id"].as_str().expect("an id").to_owned(), proof.clone()));
    Value::Object(keyed.collect())
}

fn target(target: &Value) -> Value {
    let svname: lustre_types::SvName = target["svname"].as_str().expect("a name").parse().expect("a name");
    json!({
        "kind": svname.kind(), "filesystem": svname.fsname(), "index": svname.index(), "id": "", "state": "registered",
        "state_reason": "", "label": svname, "uuid": "5f0c", "revision": 1,
    })
}

fn node(node: &Value) -> Value {
    let info = json!({
        "node": node["name"], "agent_version": "0", "boot_id": "b", "kernel": "6.1", "start_driver": "none",
        "nids": node.get("nids").cloned().unwrap_or_else(|| json!([])),
        "kernel_proxy": node["kernel_proxy"], "lustre": node["lustre"],
        "abilities": node.get("abilities").cloned().unwrap_or_else(|| json!(lustre_api::ability::ABILITIES)),
    });
    let mut live = json!({
        "name": node["name"], "api_url": "http://x", "info": info, "enrolled": "2026-01-01T00:00:00Z", "is_alive": true, "revision": 1,
    });
    if let Some(devices) = node["devices"].as_array() {
        let devices = devices.iter().map(|device| {
            merge(json!({ "kind": "disk", "size_bytes": 1u64 << 40, "content": "blank" }), device.clone())
        });
        let mut inventory = json!({
            "devices": devices.collect::<Vec<_>>(), "at": "2026-01-01T00:00:00Z", "zfs": node["zfs"],
        });
        for (key, value) in info.as_object().expect("made above") {
            inventory[key] = value.clone();
        }
        live["inventory"] = inventory;
    }
    merge(live, json!({ "unreachable": node["unreachable"] }))
}

/// `over` on top of `base`.
fn merge(mut base: Value, over: Value) -> Value {
    let Value::Object(over) = over else { panic!("objects only") };
    let base_fields: &mut Map<String, Value> = base.as_object_mut().expect("an object");
    base_fields.extend(over);
    base
}
