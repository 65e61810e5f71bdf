//! A plan as people read it; the same for every tool.

use std::fmt::Write;

use lustre_api::plan::{Action, Change, Effect, Finding, Plan, Severity};
use serde_json::Value;

/// The plan as text: a block per change, then what was found. Ends in a line break; the empty plan is one line.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        push_change(&mut text, change);
    }
    for finding in &plan.findings {
        push_finding(&mut text, finding);
    }
    if plan.changes.is_empty() && plan.findings.is_empty() {
        text.push_str("no changes\n");
    }
    text
}

fn push_change(text: &mut String, change: &Change) {
    let (sign, word) = match change.action {
        Action::Create => ("+", "create"),
        Action::Adopt => ("+", "adopt"),
        Action::Update => ("~", "update"),
        Action::Delete => ("-", "delete"),
    };
    let loss = if change.destroys_data { " (DESTROYS DATA)" } else { "" };
    let _ = writeln!(text, "{sign} {word} {}{loss}: {}", change.object, change.reason);
    for field in &change.fields {
        let effect = match field.effect {
            Effect::InPlace => "",
            Effect::Restart => "  # restart",
            Effect::Reformat => "  # format",
            Effect::Immutable => "  # can't be changed",
        };
        let _ = match &field.before {
            Value::Null => writeln!(text, "    {} = {}{effect}", field.path, field.after),
            before => writeln!(text, "    {} = {before} -> {}{effect}", field.path, field.after),
        };
    }
    let _ = writeln!(text, "    who notices: {}", change.blast_radius);
}

fn push_finding(text: &mut String, finding: &Finding) {
    let sign = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let attribute = finding.attribute.as_ref().map(|attribute| format!(".{attribute}")).unwrap_or_default();
    let _ = writeln!(text, "{sign} [{}] {}{attribute}: {}", finding.code, finding.object, finding.message);
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "    {remedy}");
    }
}
