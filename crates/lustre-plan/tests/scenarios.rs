//! Each `scenarios/<name>.json` (what is there, what is wanted) has a plan, `<name>.out`.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p lustre-plan` writes the plans anew: read the diff before you commit it. The inputs say
//! only what matters; [`complete`] fills in the rest.

mod corpus;

use std::fs;
use std::path::Path;

use lustre_api::plan::{Action, ObjectKey, Request};
use lustre_plan::{diff, render, request};
use serde_json::json;

#[test]
fn every_scenario_has_its_plan() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let is_update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut wrong = Vec::new();
    for scenario in corpus::scenarios(&dir) {
        let (observed, desired, path) = (&scenario.observed, &scenario.desired, &scenario.path);
        let plan = diff(desired, observed);
        let text = render(&plan);
        let out = scenario.out();
        if is_update {
            fs::write(&out, &text).unwrap();
        } else if fs::read_to_string(&out).ok().as_deref() != Some(&text) {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
        // Same question, same answer; and the plan survives its trip through JSON.
        assert_eq!(diff(desired, observed), plan);
        assert_eq!(serde_json::from_value::<lustre_plan::Plan>(json!(plan)).unwrap(), plan);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_change_of_a_plan_has_the_call_for_the_object_that_it_changes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    for scenario in corpus::scenarios(&dir) {
        let plan = diff(&scenario.desired, &scenario.observed);
        for change in &plan.changes {
            let name = format!("{}: {}", scenario.path.display(), change.object);
            let request = request(&scenario.desired, change, None).unwrap_or_else(|err| panic!("{name}: {err}"));
            match (&change.object, request) {
                (ObjectKey::Target { svname }, Request::EnsureTarget(ensure)) => {
                    assert!(ensure.target.describes(svname), "{name}: {ensure:?}");
                    assert_ne!(change.action, Action::Delete, "{name}");
                    let formats = change.fields.iter().find(|field| field.path == "formatted_over");
                    let seen =
                        formats.and_then(|field| field.after.as_str()).filter(|seen| *seen != lustre_plan::LATER);
                    assert_eq!(ensure.expect_content.as_deref(), seen, "{name}");
                }
                (ObjectKey::Target { svname }, Request::DeregisterTarget(path)) => assert_eq!(path.svname, *svname),
                (ObjectKey::NewTarget { node, device }, Request::EnsureTarget(ensure)) => {
                    assert_eq!((&ensure.target.node, &ensure.target.device), (node, device));
                }
                (ObjectKey::Target { .. } | ObjectKey::NewTarget { .. }, other) => panic!("{name}: {other:?}"),
                (_, other) => {
                    let is_delete = matches!(
                        other,
                        Request::DeleteFilesystem(_)
                            | Request::DeleteParam(_)
                            | Request::DeletePool(_)
                            | Request::DeleteNodemap(_)
                            | Request::RemoveProxy(_)
                    );
                    let is_switch = matches!(other, Request::PutNodemapsActive(_));
                    assert_eq!(is_delete, change.action == Action::Delete && !is_switch, "{name}: {other:?}");
                }
            }
        }
    }
}

#[test]
fn targets_without_index_are_told_apart_by_their_places() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenarios = corpus::scenarios(&dir);
    let scenario = scenarios.iter().find(|it| it.path.ends_with("without-index-by-their-places.json")).unwrap();
    let plan = diff(&scenario.desired, &scenario.observed);
    let of = |svname: &str| {
        let object = ObjectKey::Target { svname: svname.parse().unwrap() };
        let change = plan.changes.iter().find(|it| it.object == object).unwrap();
        match request(&scenario.desired, change, None) {
            Ok(Request::EnsureTarget(ensure)) => ensure.target.device,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("scratch-OST0005"), "/dev/sdb", "adopted from its device");
    assert_eq!(of("scratch-OST0006"), "/dev/disk/by-id/six", "known by another name of its device");
}
