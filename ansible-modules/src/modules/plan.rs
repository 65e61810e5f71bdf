//! From what is wanted to a result: ask the plan, show it, carry it out.

use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, Finding, Plan, Severity};
use lustre_plan::{diff, render};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::apply::apply;
use super::session::{CallError, Session, json_of};
use super::{Task, jobs};
use crate::contract::{Failure, Outcome};

/// What a task wants, and what its result shows.
pub(super) struct Wanted<'a> {
    pub(super) desired: Desired,
    /// Adds to a plan's findings what the module's own rules say.
    pub(super) judge: &'a dyn Fn(&Desired, &mut Plan),
    /// The described objects as they are in a snapshot: `resource` and `previous`.
    pub(super) view: &'a dyn Fn(&Snapshot) -> Value,
}

/// For [`Wanted::judge`] where the module has no rules of its own.
pub(super) fn no_more(_: &Desired, _: &mut Plan) {}

/// Plans against `snapshot`; outside check mode carries the plan out and reads back what is there then.
pub(super) async fn ensure(
    task: &Task<'_>,
    session: &Session,
    snapshot: &Snapshot,
    mut wanted: Wanted<'_>,
) -> Result<Outcome, Failure> {
    let mut assumed = Vec::new();
    if task.internals.check_mode {
        assumed = assume_prerequisites(&mut wanted.desired, snapshot);
    }
    let mut plan = diff(&wanted.desired, snapshot);
    plan.changes.retain(|change| !assumed.iter().any(|(object, _)| *object == change.object));
    (wanted.judge)(&wanted.desired, &mut plan);
    let mut missing: Vec<String> = assumed.into_iter().map(|(_, why)| why).collect();
    if task.internals.check_mode {
        missing.extend(forgive_what_may_come(&mut plan));
    }

    let mut outcome = show(task, &plan)?;
    outcome.values.insert("previous".to_owned(), (wanted.view)(snapshot));
    if !missing.is_empty() {
        outcome.changed = true;
        outcome.values.insert("plan_incomplete".to_owned(), true.into());
        outcome.warnings.extend(missing);
    }
    if task.internals.check_mode {
        return Ok(outcome);
    }
    if plan.changes.is_empty() {
        outcome.values.insert("resource".to_owned(), (wanted.view)(snapshot));
        return Ok(outcome);
    }
    let applied = apply(task, session, snapshot, &wanted.desired, &plan).await?;
    outcome.warnings.extend(applied.warnings);
    if !applied.jobs.is_empty() {
        outcome.values.insert("jobs".to_owned(), json!(applied.jobs));
        if task.is("wait") {
            jobs::wait(task, session, &applied.jobs).await?;
        }
    }
    let now = session.snapshot().await?;
    outcome.values.insert("resource".to_owned(), (wanted.view)(&now));
    Ok(outcome)
}

/// The plan as result, or as failure if something stands against it.
pub(super) fn show(task: &Task<'_>, plan: &Plan) -> Result<Outcome, Failure> {
    let fingerprint = fingerprint(plan);
    let mut values = Map::new();
    values.insert("plan".to_owned(), json_of(&plan.changes));
    values.insert("fingerprint".to_owned(), fingerprint.as_str().into());
    if plan.has_errors() {
        values.insert("findings".to_owned(), json_of(&plan.findings));
        let errors = plan.findings.iter().filter(|finding| finding.severity == Severity::Error);
        return Err(Failure { message: errors.map(sentence).collect::<Vec<_>>().join("\n"), values });
    }
    if let Some(wanted) = task.text("fingerprint").filter(|wanted| *wanted != fingerprint) {
        let message = format!(
            "the plan is another one than that with the fingerprint {wanted:?}: nothing was changed. \
             Look at it again in check mode; now it is {fingerprint:?}"
        );
        return Err(Failure { message, values });
    }
    let changed = !plan.changes.is_empty();
    let diff = if task.internals.diff && changed { vec![json!({ "prepared": render(plan) })] } else { Vec::new() };
    let warnings = plan.findings.iter().map(|finding| format!("{}: {}", finding.object, sentence(finding))).collect();
    Ok(Outcome { changed, values, warnings, diff })
}

/// The result of check mode where nobody can be asked: an earlier task may have been going to start agent or MGS.
pub(super) fn unreachable_in_check_mode(task: &Task<'_>, error: CallError) -> Result<Outcome, Failure> {
    if !(task.internals.check_mode && error.is_unreachable) {
        return Err(error.into());
    }
    let plan = Plan { revision: 0, changes: Vec::new(), findings: Vec::new() };
    let mut outcome = show(&Task { params: &Map::new(), ..*task }, &plan)?;
    outcome.changed = true;
    outcome.values.insert("previous".to_owned(), Value::Null);
    outcome.values.insert("plan_incomplete".to_owned(), true.into());
    outcome.warnings.push(format!("no plan could be made: {}", error.failure.message));
    Ok(outcome)
}

fn sentence(finding: &Finding) -> String {
    match &finding.remedy {
        Some(remedy) => format!("{}; {remedy}", finding.message),
        None => finding.message.clone(),
    }
}

/// First 16 hex digits of the SHA-256 of the changes.
fn fingerprint(plan: &Plan) -> String {
    let digest = Sha256::digest(json_of(&plan.changes).to_string());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

type Assumed = (lustre_api::plan::ObjectKey, String);

/// In check mode a file system that an earlier task would have made is planned with, so that the rest of the plan shows.
fn assume_prerequisites(desired: &mut Desired, snapshot: &Snapshot) -> Vec<Assumed> {
    let needed = desired.targets.iter().filter_map(|wanted| wanted.target.filesystem.clone());
    let needed = needed.chain(desired.pools.iter().map(|pool| pool.filesystem.clone()));
    let needed: Vec<_> = needed.chain(desired.params.iter().filter_map(|param| param.filesystem.clone())).collect();
    let mut assumed = Vec::new();
    for name in needed {
        let is_there = snapshot.filesystems.iter().any(|known| known.spec.name == name);
        if is_there || desired.filesystems.iter().any(|wanted| wanted.name == name) {
            continue;
        }
        let why = format!("the MGS has no file system {name} yet; the plan assumes that an earlier task makes it");
        desired.filesystems.push(lustre_api::filesystem::FilesystemSpec { name: name.clone(), description: None });
        assumed.push((lustre_api::plan::ObjectKey::Filesystem { name }, why));
    }
    assumed
}

/// In check mode, takes out errors about what earlier tasks may have been going to make; returns what they said.
fn forgive_what_may_come(plan: &mut Plan) -> Vec<String> {
    const MAY_COME: [&str; 3] = ["unknown_ost", "unknown_node", "unknown_filesystem"];
    let (forgiven, kept) = plan
        .findings
        .drain(..)
        .partition(|f: &Finding| f.severity == Severity::Error && MAY_COME.contains(&f.code.as_str()));
    plan.findings = kept;
    Vec::into_iter(forgiven).map(|finding: Finding| format!("{}: {}", finding.object, sentence(&finding))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_changes_have_the_same_fingerprint_at_another_revision() {
        let plan = |revision| Plan { revision, changes: Vec::new(), findings: Vec::new() };
        assert_eq!(fingerprint(&plan(1)), fingerprint(&plan(2)));
        assert_eq!(fingerprint(&plan(1)).len(), 16);
    }
}
