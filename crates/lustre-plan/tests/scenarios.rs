//! Each `scenarios/<name>.json` (what is there, what is wanted) has a plan, `<name>.out`.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p lustre-plan` writes the plans anew: read the diff before you commit it. The inputs say
//! only what matters; [`complete`] fills in the rest.

use std::fs;
use std::path::Path;

use lustre_api::mgs::Snapshot;
use lustre_api::plan::Desired;
use lustre_plan::{diff, render};
use serde_json::{Map, Value, json};

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
        "nodes": list("nodes").iter().map(node).collect::<Vec<_>>(),
    });
    serde_json::from_value(snapshot).expect("a scenario's observed state")
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
        "node": node["name"], "agent_version": "0", "boot_id": "b", "kernel": "6.1", "start_driver": "none", "nids": [],
    });
    let mut live = json!({
        "name": node["name"], "api_url": "http://x", "info": info, "enrolled": "2026-01-01T00:00:00Z", "is_alive": true, "revision": 1,
    });
    if let Some(devices) = node["devices"].as_array() {
        let devices = devices.iter().map(|device| {
            merge(json!({ "kind": "disk", "size_bytes": 1u64 << 40, "content": "blank" }), device.clone())
        });
        let mut inventory = json!({ "devices": devices.collect::<Vec<_>>(), "at": "2026-01-01T00:00:00Z" });
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

#[test]
fn every_scenario_has_its_plan() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let is_update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    names.sort();
    assert!(names.len() >= 10, "the corpus is there");
    let mut wrong = Vec::new();
    for path in names {
        let scenario: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let observed = complete(&scenario["observed"]);
        let desired: Desired = serde_json::from_value(scenario["desired"].clone())
            .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let plan = diff(&desired, &observed);
        let text = render(&plan);
        let out = path.with_extension("out");
        if is_update {
            fs::write(&out, &text).unwrap();
        } else if fs::read_to_string(&out).ok().as_deref() != Some(&text) {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
        // Same question, same answer; and the plan survives its trip through JSON.
        assert_eq!(diff(&desired, &observed), plan);
        assert_eq!(serde_json::from_value::<lustre_plan::Plan>(json!(plan)).unwrap(), plan);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
