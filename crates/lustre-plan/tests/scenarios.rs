//! Each `scenarios/<name>.json` (what is there, what is wanted) has a plan, `<name>.out`.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p lustre-plan` writes the plans anew: read the diff before you commit it. The inputs say
//! only what matters; [`complete`] fills in the rest.

mod corpus;

use std::fs;
use std::path::Path;

use lustre_plan::{diff, render};
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
