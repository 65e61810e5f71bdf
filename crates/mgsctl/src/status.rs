//! `mgsctl status`, and what all commands share.

use lustre_api::filesystem::FilesystemState;
use lustre_api::job::JobQuery;
use lustre_api::mgs::{GetSnapshot, Snapshot, SnapshotQuery};
use lustre_api::target::TargetState;
use lustre_api::{Endpoint, Nothing, Page, PageQuery, WriteQuery, Written};
use serde::Serialize;

use crate::cli::WriteArgs;
use crate::filesystem::table as filesystem_table;
use crate::output::{fields, or_dash};
use crate::{Context, Failure};

/// The MGS, its file systems, and what a person should look at.
pub(crate) async fn show(context: &Context) -> Result<(), Failure> {
    let query = SnapshotQuery::default();
    let snapshot = context.client.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await?;
    let jobs = crate::job::all(context, JobQuery::default()).await?;
    let at_work = jobs.iter().filter(|job| !job.state.is_final()).count();
    context.output.show(&snapshot, |snapshot| text(snapshot, at_work));
    Ok(())
}

fn text(snapshot: &Snapshot, jobs_at_work: usize) -> String {
    let mgs = &snapshot.mgs;
    let alive = snapshot.nodes.iter().filter(|live| live.node.is_alive).count();
    let mut text = fields(&[
        ("MGS", format!("{} (version {}, store {})", mgs.uuid, mgs.version, mgs.store)),
        ("NIDs", or_dash(mgs.nids.as_ref())),
        ("revision", snapshot.revision.to_string()),
        ("nodes", format!("{} of {} alive", alive, snapshot.nodes.len())),
        ("targets", snapshot.targets.len().to_string()),
        ("jobs at work", jobs_at_work.to_string()),
    ]);
    text.push('\n');
    text.push_str(&filesystem_table(&snapshot.filesystems));
    let findings = findings(snapshot);
    if !findings.is_empty() {
        text.push_str(&format!("\nto look at:\n  {}\n", findings.join("\n  ")));
    }
    text
}

fn findings(snapshot: &Snapshot) -> Vec<String> {
    let mut findings = Vec::new();
    if snapshot.mgs.nids.is_none() {
        findings.push("the MGS has no NID, so no target can be made: start it with --nid".to_owned());
    }
    let dead = snapshot.nodes.iter().filter(|live| !live.node.is_alive);
    findings.extend(dead.map(|live| format!("node {} was not heard of within the last 30 seconds", live.node.name)));
    let incomplete = snapshot.filesystems.iter().filter(|fs| fs.state == FilesystemState::Incomplete);
    findings.extend(incomplete.map(|fs| format!("file system {}: {}", fs.spec.name, fs.state_reason)));
    let failed = snapshot.targets.iter().filter(|target| target.state == TargetState::Failed);
    findings.extend(failed.map(|target| format!("target {}: {}", target.svname, target.state_reason)));
    findings
}

/// All pages of a list.
pub(crate) async fn all<E, T>(context: &Context, mut query: PageQuery) -> Result<Vec<T>, Failure>
where
    E: Endpoint<Path = Nothing, Query = PageQuery, Body = Nothing, Reply = Page<T>>,
{
    query.limit = Some(1000);
    let mut items = Vec::new();
    loop {
        let page = context.client.call::<E>(&Nothing {}, &query, &Nothing {}).await?;
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            next => query.after = next,
        }
    }
}

impl WriteArgs {
    /// The query of a write.
    pub(crate) fn query(&self) -> WriteQuery {
        WriteQuery { dry_run: self.dry_run, why: self.why.clone(), ..WriteQuery::default() }
    }
}

impl Context {
    /// Shows what a write came to.
    pub(crate) fn show_written<T: Serialize>(
        &self,
        written: &Written<T>,
        write: &WriteArgs,
        name: impl Fn(&T) -> String,
        done: &str,
    ) {
        self.output.show(written, |written| {
            let name = name(&written.object);
            if let (Some(plan), true) = (&written.plan, write.dry_run) {
                return crate::job::plan(plan, &written.warnings);
            }
            let mut text = match (&written.job, written.changed, write.dry_run) {
                (_, false, _) => format!("{name}: nothing to change\n"),
                (_, true, true) => format!("{name} would be changed; nothing was\n"),
                (Some(job), true, false) => format!("{name}: job {job} works on it; mgsctl job watch {job}\n"),
                (None, true, false) => format!("{name} {done} (revision {})\n", written.revision),
            };
            for warning in &written.warnings {
                text.push_str(&format!("warning: {warning}\n"));
            }
            text
        });
    }
}
