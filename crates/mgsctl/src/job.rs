//! `mgsctl job`

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lustre_api::job::{
    CancelJob, ExplainJob, Explanation, GetJob, Job, JobId, JobPath, JobPlan, JobQuery, JobState, ListJobs, Progress,
    RetryJob, WaitQuery, WatchJobs, WatchQuery,
};
use lustre_api::{Nothing, Time};

use crate::away::{PAUSE, Patience, ended_or};
use crate::cli::{JobArgs, JobCommand, JobVerb, TargetCommand, WriteArgs};
use crate::output::{Output, Table, fields, or_dash, print};
use crate::{Context, Failure, operation, target};

/// How long one request waits for news.
const WAIT_S: u32 = 30;
/// How long a job is followed through an MGS that is away.
const AWAY: Duration = Duration::from_secs(600);

pub(crate) async fn run(context: &Context, command: JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::List { fsname, all: with_ended, object, parent, state } => {
            let mut list = all(context, JobQuery { fsname, object, parent, state, ..JobQuery::default() }).await?;
            list.retain(|job| with_ended || state.is_some() || !job.state.is_final());
            context.output.show(&list, |list| table(list));
        }
        JobCommand::Plan { what, svname } => {
            let start = JobArgs { write: WriteArgs { dry_run: true, why: None }, ..JobArgs::default() };
            let command = match what {
                JobVerb::Start => TargetCommand::Start { svname, start },
                JobVerb::Stop => TargetCommand::Stop { svname, timeout: None, force: false, lazy: false, start },
                JobVerb::Delete => TargetCommand::Delete { svname, node_is_down: false, start },
            };
            target::run(context, command).await?;
        }
        JobCommand::Show { id } => {
            let job = read(context, &id, WaitQuery::default()).await?;
            context.output.show(&job, details);
        }
        JobCommand::Watch { id: None } => watch_all(context).await?,
        JobCommand::Watch { id: Some(id) } => watch_to_its_end(context, &id).await?,
        JobCommand::Pause { id, write } => operation::pause(context, JobPath { id }, true, &write).await?,
        JobCommand::Resume { id, write } => operation::pause(context, JobPath { id }, false, &write).await?,
        JobCommand::Cancel { id } => {
            let job = context.client.call::<CancelJob>(&JobPath { id }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&job, |job| format!("job {} is {}\n", job.id, job.state.as_str()));
        }
        JobCommand::Retry { id } => {
            let job = context.client.call::<RetryJob>(&JobPath { id }, &Nothing {}, &Nothing {}).await?;
            context
                .output
                .show(&job, |job| format!("job {0} is {1}; mgsctl job watch {0}\n", job.id, job.state.as_str()));
        }
        JobCommand::Explain { id } => {
            let why = context.client.call::<ExplainJob>(&JobPath { id }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&why, explanation);
        }
        JobCommand::Log { id } => {
            let job = read(context, &id, WaitQuery::default()).await?;
            context.output.show(&job, log);
        }
    }
    Ok(())
}

/// All pages of the list of jobs.
pub(crate) async fn all(context: &Context, mut query: JobQuery) -> Result<Vec<Job>, Failure> {
    query.limit = Some(1000);
    let mut items = Vec::new();
    loop {
        let page = context.client.call::<ListJobs>(&Nothing {}, &query, &Nothing {}).await?;
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            next => query.after = next,
        }
    }
}

/// Shows every job whenever it has news, until interrupted: a bar for each on a terminal, lines elsewhere.
async fn watch_all(context: &Context) -> Result<(), Failure> {
    let bars = MultiProgress::new();
    let mut shown: HashMap<JobId, Watcher> = HashMap::new();
    // As each job was told last: a stream that begins again tells those at work again, and those that ended with them.
    let mut told: HashMap<JobId, Job> = HashMap::new();
    let mut after = None;
    let mut patience = Patience::without_end();
    loop {
        let query = WatchQuery { after, ..WatchQuery::default() };
        let begun = context.client.stream::<WatchJobs>(&Nothing {}, &query).await;
        let Some(mut news) = patience.answer(begun).await? else { continue };
        while let Some((id, job)) = ended_or(news.next().await)? {
            let seen = id.parse().ok().or(after);
            if seen != after {
                // Who begins again behind this is not told of them any more.
                told.retain(|_, job| !job.state.is_final());
                after = seen;
            }
            if told.get(&job.id).is_some_and(|before| is_same(before, &job)) {
                continue;
            }
            told.insert(job.id.clone(), job.clone());
            if let Some(text) = context.output.one_of_many(&job) {
                print(&text);
                continue;
            }
            shown.entry(job.id.clone()).or_insert_with(|| Watcher::new(context.output, Some(&bars))).show(&job);
            if job.state.is_final() {
                shown.remove(&job.id);
            }
        }
        // The MGS restarts, or this instance of it is gone: begin again where it ended.
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(context: &Context, id: &JobId, query: WaitQuery) -> Result<Job, Failure> {
    Ok(context.client.call::<GetJob>(&JobPath { id: id.clone() }, &query, &Nothing {}).await?)
}

/// Follows a job to its end, and gives programs what it came to. Errors: it did not reach its goal.
pub(crate) async fn watch_to_its_end(context: &Context, id: &JobId) -> Result<(), Failure> {
    let job = watch(context, id).await?;
    if let Some(text) = context.output.whole(&job) {
        print(&text);
    }
    if job.state == JobState::Done { Ok(()) } else { Err(Failure::Shown) }
}

/// Follows a job to its end: a progress bar on a terminal, a line per change elsewhere, nothing where programs read.
pub(crate) async fn watch(context: &Context, id: &JobId) -> Result<Job, Failure> {
    let mut shown = Watcher::new(context.output, None);
    let mut patience = Patience::of(AWAY);
    let path = JobPath { id: id.clone() };
    let mut query = WaitQuery::default();
    loop {
        let answer = context.client.call::<GetJob>(&path, &query, &Nothing {}).await;
        let Some(job) = patience.answer(answer).await? else { continue };
        shown.show(&job);
        if job.state.is_final() {
            return Ok(job);
        }
        query = WaitQuery { wait_s: Some(WAIT_S), seen: Some(job.version) };
    }
}

/// Whether two looks at a job show the same. Versions tell nothing here: each instance counts news that nobody stores.
fn is_same(before: &Job, now: &Job) -> bool {
    *before == Job { version: before.version, ..now.clone() }
}

enum Watcher {
    Silent,
    Bar(ProgressBar),
    Lines { last: String },
}

impl Watcher {
    fn new(output: Output, among: Option<&MultiProgress>) -> Self {
        if output != Output::Table {
            return Self::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: String::new() };
        }
        let bar = ProgressBar::new(100);
        let bar = match among {
            Some(bars) => bars.add(bar),
            None => bar,
        };
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
                bar.set_position(job.percent().into());
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

/// Where a job is, in a line.
fn line(job: &Job) -> String {
    if let Some(error) = &job.error {
        return format!("{}: {error}", job.state.as_str());
    }
    let mut at_work = job.steps.iter().filter(|step| step.state == JobState::Running);
    let Some(step) = at_work.next() else { return job.state.as_str().to_owned() };
    let place = step.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let progress = step.progress.as_ref().map(|progress| format!(", {}", how_far(progress))).unwrap_or_default();
    let message = step.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
    let others = match at_work.count() {
        0 => String::new(),
        others => format!("; {others} more at work"),
    };
    format!("{} {}{place}{progress}{message}{others}", job.state.as_str(), step.kind.as_str())
}

fn how_far(progress: &Progress) -> String {
    let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
    let percent = progress.percent().map(|percent| format!(" {percent} %")).unwrap_or_default();
    let left = progress.eta_s.map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
    format!("{} {}{total} {}{percent}{left}", progress.phase, progress.done, progress.unit)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds / 60),
        6000..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A job as it would be started, and what else moves.
pub(crate) fn plan(plan: &JobPlan, warnings: &[String]) -> String {
    let job = &plan.job;
    let mut text = format!("{} of {} would be this job; nothing was started\n\n", job.kind.verb(), job.object);
    let mut table = Table::new(&["STEP", "DOES", "TARGET", "NODE", "AFTER"]);
    for (at, step) in job.steps.iter().enumerate() {
        let after: Vec<String> = job.predecessors(at).into_iter().map(|before| (before + 1).to_string()).collect();
        table.row([
            (at + 1).to_string(),
            step.kind.as_str().into(),
            or_dash(job.svname_of(at)),
            or_dash(step.node.as_ref()),
            if after.is_empty() { "-".into() } else { after.join(",") },
        ]);
    }
    text.push_str(&table.text("no steps"));
    if !plan.moves.is_empty() {
        text.push_str("\nwhat moves with it:\n");
    }
    for moved in &plan.moves {
        let passing = if moved.is_passing { " for a while" } else { "" };
        text.push_str(&format!("  {}: {} -> {}{passing}: {}\n", moved.object, moved.now, moved.becomes, moved.why));
        if let Some(fix) = &moved.fix {
            let others = others(&moved.acceptable, &moved.preferred);
            text.push_str(&format!("    should be {}{others}; to bring it there: {fix}\n", moved.preferred));
        }
    }
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push_str(&format!(
        "\ndigest {}\nthe same with --plan and this digest starts this job and no other\n",
        job.digest
    ));
    text
}

/// The states that will do besides the one that is wanted.
fn others(acceptable: &[String], preferred: &str) -> String {
    let others: Vec<&str> = acceptable.iter().map(String::as_str).filter(|state| *state != preferred).collect();
    if others.is_empty() { String::new() } else { format!(" ({} will do)", others.join(" or ")) }
}

fn explanation(why: &Explanation) -> String {
    let mut text = format!("job {} is {}\n", why.id, why.state.as_str());
    let lists = [("waits for", &why.waits_for), ("next", &why.next), ("done", &why.done), ("not done", &why.not_done)];
    for (title, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("{title}:\n  {}\n", lines.join("\n  ")));
    }
    if let Some(person) = &why.person {
        text.push_str(&format!("to do: {person}\n"));
    }
    text
}

/// Every attempt of every step that began.
fn log(job: &Job) -> String {
    let mut text = String::new();
    for (at, step) in job.steps.iter().enumerate().filter(|(_, step)| step.attempts > 0) {
        for earlier in &step.earlier {
            let title = format!("step {} {}, attempt {}", at + 1, step.kind.as_str(), earlier.attempt);
            let ended = (earlier.state, earlier.message.as_ref(), earlier.exit_status);
            text.push_str(&attempt(&title, ended, (earlier.started, earlier.ended), &[], &earlier.output));
        }
        let title = format!("step {} {}, attempt {}", at + 1, step.kind.as_str(), step.attempts);
        let ended = (step.state, step.message.as_ref(), step.exit_status);
        text.push_str(&attempt(&title, ended, (step.started, step.ended), &step.command, &step.output));
    }
    if text.is_empty() { "no step has begun\n".into() } else { text }
}

fn attempt(
    title: &str,
    (state, message, exit_status): (JobState, Option<&String>, Option<i32>),
    (started, ended): (Option<Time>, Option<Time>),
    command: &[String],
    output: &[String],
) -> String {
    let exit = exit_status.map(|status| format!(", exit status {status}")).unwrap_or_default();
    let mut text =
        format!("{title}: {}{exit} ({} to {})\n", state.as_str(), or_dash(started.as_ref()), or_dash(ended.as_ref()));
    if let Some(message) = message {
        text.push_str(&format!("  {message}\n"));
    }
    if !command.is_empty() {
        text.push_str(&format!("  $ {}\n", command.join(" ")));
    }
    for line in output {
        text.push_str(&format!("  | {line}\n"));
    }
    text
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

pub(crate) fn details(job: &Job) -> String {
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
    let mut table = Table::new(&["STEP", "DOES", "TARGET", "NODE", "STATE", "ATTEMPTS", "PROGRESS", "MESSAGE"]);
    for (at, step) in job.steps.iter().enumerate() {
        table.row([
            (at + 1).to_string(),
            step.kind.as_str().into(),
            or_dash(job.svname_of(at)),
            or_dash(step.node.as_ref()),
            step.state.as_str().into(),
            step.attempts.to_string(),
            step.progress.as_ref().map_or_else(|| "-".into(), how_far),
            or_dash(step.message.as_ref()),
        ]);
    }
    text.push_str(&table.text("no steps"));
    for (at, step) in job.steps.iter().enumerate().filter(|(_, step)| !step.output.is_empty()) {
        let (at, does) = (at + 1, step.kind.as_str());
        text.push_str(&format!("\noutput of step {at}, {does}:\n  {}\n", step.output.join("\n  ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::job::{Step, StepKind};

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
        assert_eq!(job(vec![(JobState::Running, Some((50, 100))), (JobState::Queued, None)]).percent(), 25);
        assert_eq!(job(vec![(JobState::Done, None), (JobState::Running, None)]).percent(), 50);
        assert_eq!(job(vec![(JobState::Done, None), (JobState::Done, None)]).percent(), 100);
        assert_eq!(job(vec![]).percent(), 0);
    }

    #[test]
    fn the_line_says_what_where_and_how_far() {
        let line = line(&job(vec![(JobState::Running, Some((50, 100)))]));
        assert_eq!(line, "running format on oss1, writing inode tables 50/100 groups 50 %");
    }
}
