//! `mgsctl job`

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lustre_api::job::{CancelJob, GetJob, Job, JobId, JobPath, JobState, ListJobs, Progress, Step, WaitQuery};
use lustre_api::{Nothing, PageQuery};

use crate::cli::JobCommand;
use crate::output::{Output, Table, fields, json, or_dash, print};
use crate::status::all;
use crate::{Context, Failure};

/// How long one request waits for news.
const WAIT_S: u32 = 30;

pub(crate) async fn run(context: &Context, command: JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::List { fsname, all: with_ended } => {
            let mut list = all::<ListJobs, _>(context, PageQuery { fsname, ..PageQuery::default() }).await?;
            list.retain(|job| with_ended || !job.state.is_final());
            context.output.show(&list, |list| table(list));
        }
        JobCommand::Show { id } => {
            let job = read(context, &id, WaitQuery::default()).await?;
            context.output.show(&job, details);
        }
        JobCommand::Watch { id } => {
            let job = watch(context, &id).await?;
            if context.output == Output::Json {
                print(&json(&job));
            }
            if job.state != JobState::Done {
                return Err(Failure::Shown);
            }
        }
        JobCommand::Cancel { id } => {
            let job = context.client.call::<CancelJob>(&JobPath { id }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&job, |job| format!("job {} is {}\n", job.id, job.state.as_str()));
        }
    }
    Ok(())
}

async fn read(context: &Context, id: &JobId, query: WaitQuery) -> Result<Job, Failure> {
    Ok(context.client.call::<GetJob>(&JobPath { id: id.clone() }, &query, &Nothing {}).await?)
}

/// Follows a job to its end: a progress bar on a terminal, a line per change elsewhere, nothing with `-o json`.
pub(crate) async fn watch(context: &Context, id: &JobId) -> Result<Job, Failure> {
    let mut shown = Watcher::new(context.output);
    let mut job = read(context, id, WaitQuery::default()).await?;
    loop {
        shown.show(&job);
        if job.state.is_final() {
            return Ok(job);
        }
        job = read(context, id, WaitQuery { wait_s: Some(WAIT_S), seen: Some(job.version) }).await?;
    }
}

enum Watcher {
    Silent,
    Bar(ProgressBar),
    Lines { last: String },
}

impl Watcher {
    fn new(output: Output) -> Self {
        if output == Output::Json {
            return Self::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: String::new() };
        }
        let bar = ProgressBar::new(100);
        let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:30}] {msg}");
        bar.set_style(style.expect("the template is correct").progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    fn show(&mut self, job: &Job) {
        let line = line(job);
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_prefix(job.object.to_string());
                bar.set_position(percent(job).into());
                bar.set_message(line);
                if job.state.is_final() {
                    bar.abandon();
                }
            }
            Self::Lines { last } => {
                if *last != line {
                    print(&format!("{} {line}\n", job.object));
                    *last = line;
                }
            }
        }
    }
}

/// Steps that are done, and the part of the one at work.
fn percent(job: &Job) -> u8 {
    let steps = job.steps.len().max(1);
    let done = job.steps.iter().filter(|step| step.state == JobState::Done).count();
    let current = job.steps.iter().find(|step| step.state == JobState::Running);
    let part = current.and_then(|step| step.progress.as_ref()?.percent()).unwrap_or(0);
    u8::try_from((done * 100 + usize::from(part)) / steps).unwrap_or(100)
}

/// Where a job is, in a line.
fn line(job: &Job) -> String {
    if let Some(error) = &job.error {
        return format!("{}: {error}", job.state.as_str());
    }
    let current = job.steps.iter().find(|step| step.state == JobState::Running);
    let Some(step) = current else { return job.state.as_str().to_owned() };
    let place = step.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let progress = step.progress.as_ref().map(|progress| format!(", {}", how_far(progress))).unwrap_or_default();
    let message = step.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
    format!("{} {}{place}{progress}{message}", job.state.as_str(), step.kind.as_str())
}

fn how_far(progress: &Progress) -> String {
    let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
    let percent = progress.percent().map(|percent| format!(" {percent} %")).unwrap_or_default();
    format!("{} {}{total} {}{percent}", progress.phase, progress.done, progress.unit)
}

fn table(list: &[Job]) -> String {
    let mut table = Table::new(&["JOB", "OBJECT", "STATE", "CREATED", "WHO", "NOW"]);
    for job in list {
        table.row([
            job.id.to_string(),
            job.object.to_string(),
            job.state.as_str().into(),
            job.created.to_string(),
            job.who.clone(),
            line(job),
        ]);
    }
    table.text("no jobs at work; --all lists those that are over")
}

fn details(job: &Job) -> String {
    let mut text = fields(&[
        ("job", job.id.to_string()),
        ("object", job.object.to_string()),
        ("state", job.state.as_str().into()),
        ("who", job.who.clone()),
        ("why", or_dash(job.why.as_ref())),
        ("created", job.created.to_string()),
        ("ended", or_dash(job.ended.as_ref())),
        ("error", or_dash(job.error.as_ref())),
    ]);
    text.push('\n');
    let mut table = Table::new(&["STEP", "NODE", "STATE", "ATTEMPTS", "PROGRESS", "MESSAGE"]);
    for step in &job.steps {
        table.row([
            step.kind.as_str().into(),
            or_dash(step.node.as_ref()),
            step.state.as_str().into(),
            step.attempts.to_string(),
            step.progress.as_ref().map_or_else(|| "-".into(), how_far),
            or_dash(step.message.as_ref()),
        ]);
    }
    text.push_str(&table.text("no steps"));
    let outputs = job.steps.iter().filter(|step: &&Step| !step.output.is_empty());
    for step in outputs {
        text.push_str(&format!("\noutput of {}:\n  {}\n", step.kind.as_str(), step.output.join("\n  ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::Time;
    use lustre_api::job::StepKind;

    fn job(steps: Vec<(JobState, Option<(u64, u64)>)>) -> Job {
        let at = Time::from_unix_ms(0);
        let step = |(state, progress): (JobState, Option<(u64, u64)>)| Step {
            node: Some("oss1".parse().unwrap()),
            state,
            progress: progress.map(|(done, total)| Progress {
                phase: "writing inode tables".into(),
                done,
                total: Some(total),
                unit: "groups".into(),
                at,
                rate_per_s: None,
                eta_s: None,
            }),
            ..Step::new(StepKind::Format)
        };
        let job = serde_json::json!({"id": "j", "kind": "ensure_target", "svname": "scratch-OST0000", "state": "running",
            "steps": [], "who": "uid:0", "created": at, "version": 1});
        Job { steps: steps.into_iter().map(step).collect(), ..serde_json::from_value(job).unwrap() }
    }

    #[test]
    fn a_job_is_as_far_as_its_steps() {
        assert_eq!(percent(&job(vec![(JobState::Running, Some((50, 100))), (JobState::Queued, None)])), 25);
        assert_eq!(percent(&job(vec![(JobState::Done, None), (JobState::Running, None)])), 50);
        assert_eq!(percent(&job(vec![(JobState::Done, None), (JobState::Done, None)])), 100);
        assert_eq!(percent(&job(vec![])), 0);
    }

    #[test]
    fn the_line_says_what_where_and_how_far() {
        let line = line(&job(vec![(JobState::Running, Some((50, 100)))]));
        assert_eq!(line, "running format on oss1, writing inode tables 50/100 groups 50 %");
    }
}
