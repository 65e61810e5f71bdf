//! What a plan or the MGS says, as terraform's errors and warnings.

use lustre_api::Problem;
use lustre_api::attributes::Resource as Table;
use lustre_api::job::Move;
use lustre_api::plan::{Action, Change, Finding, Severity};
use tfplugin_proto::{Diagnostic, Diagnostics};

/// A finding of a plan, at the attribute that it is about.
pub(crate) fn finding(table: &Table, finding: &Finding) -> Diagnostic {
    let mut detail = sentence(&finding.message);
    if let Some(remedy) = &finding.remedy {
        detail = format!("{detail}\n\n{}", sentence(remedy));
    }
    if matches!(finding.code.as_str(), "unknown_filesystem" | "unknown_ost") {
        // Terraform plans in the order of references, so only they tell the plan what will be there.
        detail.push_str(
            "\n\nIf this configuration makes it, refer to that resource here (as in lustre_filesystem.scratch.name) and not to \
             its name.",
        );
    }
    let summary = summary(&finding.code);
    let diag = match finding.severity {
        Severity::Error => Diagnostic::error(summary, detail),
        Severity::Warning => Diagnostic::warning(summary, detail),
    };
    at(table, finding.attribute.as_deref(), diag)
}

/// Who notices a change, before a person says yes to it.
pub(crate) fn who_notices(change: &Change) -> Diagnostic {
    Diagnostic::warning("Who notices", sentence(&format!("{}: {}", change.object, change.blast_radius)))
}

/// What else changes its state with a job, before a person says yes to it.
pub(crate) fn moves(name: &str, moves: &[Move]) -> Option<Diagnostic> {
    let lines = moves.iter().map(|moved| {
        let passing = if moved.is_passing { " for a while" } else { "" };
        format!("\n  {}: {} -> {}{passing}: {}", moved.object, moved.now, moved.becomes, moved.why)
    });
    let lines = lines.collect::<String>();
    (!lines.is_empty()).then(|| Diagnostic::warning("What else moves", format!("With {name}:{lines}")))
}

/// A change that goes back by itself.
pub(crate) fn waits(table: &Table, name: &str, until: &str, command: &str) -> Diagnostic {
    let kind = table.name;
    let detail = format!(
        "{kind} {name} goes back to what it was before at {until}, unless somebody confirms it. Look whether everything still \
         works, then: {command}"
    );
    Diagnostic::warning("Waits for confirmation", detail)
}

/// Something that terraform is to create is there already: it is taken up as it is, and a person should know.
pub(crate) fn taken_up(change: &Change) -> Option<Diagnostic> {
    let object = &change.object;
    match change.action {
        Action::Adopt => {
            let detail =
                format!("{object}: {}. It is taken into the configuration; nothing is formatted.", change.reason);
            Some(Diagnostic::warning("Exists on its device", detail))
        }
        Action::Update => {
            let fields = change.fields.iter();
            let fields = fields.map(|field| format!("\n  {}: {} -> {}", field.path, field.before, field.after));
            let fields = fields.collect::<String>();
            let detail = format!(
                "{object} is there already, made by another tool or an earlier attempt. It is taken over and changed:{fields}"
            );
            Some(Diagnostic::warning("Exists already", detail))
        }
        Action::Create | Action::Delete => None,
    }
}

/// A refusal of the MGS: each finding in it, or what it says as a whole.
pub(crate) fn problem(table: &Table, what: &str, problem: &Problem, diags: &mut Diagnostics) {
    let errors = problem.findings.iter().filter(|finding| finding.severity == Severity::Error);
    diags.extend(errors.map(|found| finding(table, found)));
    if diags.has_errors() {
        return;
    }
    let mut detail = sentence(&problem.message);
    if let Some(remedy) = &problem.remedy {
        detail = format!("{detail}\n\n{}", sentence(remedy));
    }
    if let Some(id) = &problem.request_id {
        detail = format!("{detail}\n\nThe log of the MGS has more under request {id}.");
    }
    diags.push(at(table, problem.attribute.as_deref(), Diagnostic::error(what, detail)));
}

/// terraform shows the line of the first step only, so the path ends there; the text names the rest. A request for a target
/// holds its description as `target`, others as `spec`.
fn at(table: &Table, attribute: Option<&str>, diag: Diagnostic) -> Diagnostic {
    let first = attribute
        .and_then(|path| path.trim_start_matches("target.").trim_start_matches("spec.").split(['.', '[']).next());
    match first.filter(|name| table.attribute(name).is_some()) {
        Some(name) => diag.at(name),
        None => diag,
    }
}

/// `device_mounted` as a headline: "Device mounted".
fn summary(code: &str) -> String {
    let text = code.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Our messages begin small and end without a stop; terraform shows sentences.
pub(crate) fn sentence(message: &str) -> String {
    let stop = if message.ends_with(['.', '!', '?', ':', '\n']) { "" } else { "." };
    format!("{message}{stop}")
}

#[cfg(test)]
mod tests {
    use lustre_api::attributes::TARGET;
    use lustre_api::plan::ObjectKey;
    use lustre_types::SvName;
    use tfplugin_proto::Path;

    use super::*;

    #[test]
    fn a_finding_points_at_its_attribute_and_says_the_remedy() {
        let found = Finding {
            severity: Severity::Error,
            object: ObjectKey::Target { svname: SvName::mgs() },
            attribute: Some("device".into()),
            code: "device_mounted".into(),
            message: "oss1:/dev/sdb is mounted on /home".into(),
            remedy: Some("choose another device".into()),
            place: None,
        };
        let diag = finding(&TARGET, &found);
        assert_eq!(diag.summary, "Device mounted");
        assert_eq!(diag.detail, "oss1:/dev/sdb is mounted on /home.\n\nchoose another device.");
        assert_eq!(diag.path, Some(Path::attribute("device")));
        let diag = finding(&TARGET, &Finding { attribute: Some("target.device".into()), ..found.clone() });
        assert_eq!(diag.path, Some(Path::attribute("device")));
        let diag = finding(&TARGET, &Finding { attribute: Some("bogus.x".into()), ..found });
        assert_eq!(diag.path, None, "a path that the schema doesn't have would be an error of its own");
    }
}
