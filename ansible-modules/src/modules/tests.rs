//! The plans that Terraform shows, too.

use lustre_api::plan::Severity;
use lustre_plan::diff;
use serde_json::{Map, json};

use super::Task;
use super::plan::show;
use crate::contract::Internals;

#[path = "../../../crates/lustre-plan/tests/corpus/mod.rs"]
mod corpus;

#[test]
fn every_plan_of_the_corpus_is_shown_as_it_stands_there() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/lustre-plan/tests/scenarios");
    let (mut shown, mut refused) = (0, 0);
    for scenario in corpus::scenarios(&dir) {
        let text = std::fs::read_to_string(scenario.out()).unwrap();
        let plan = diff(&scenario.desired, &scenario.observed);
        let internals = Internals { check_mode: true, diff: true, ..Internals::default() };
        let task = Task { module: "lustre_target", params: &Map::new(), internals };
        match show(&task, &plan) {
            Ok(outcome) => {
                assert_eq!(outcome.changed, !plan.changes.is_empty(), "{}", scenario.path.display());
                assert_eq!(outcome.values["plan"], json!(plan.changes));
                assert_eq!(outcome.warnings.len(), plan.findings.len());
                if outcome.changed {
                    assert_eq!(outcome.diff, [json!({ "prepared": text })], "{}", scenario.path.display());
                    shown += 1;
                }
            }
            Err(failure) => {
                for finding in plan.findings.iter().filter(|finding| finding.severity == Severity::Error) {
                    assert!(failure.message.contains(&finding.message), "{}", scenario.path.display());
                    assert!(text.contains(&finding.message), "{}", scenario.path.display());
                }
                refused += 1;
            }
        }
    }
    assert!(shown > 5 && refused > 5, "{shown} shown, {refused} refused");
}
