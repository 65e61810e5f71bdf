//! Waiting for a job, with its progress in the log.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use lustre_api::Nothing;
use lustre_api::job::{GetJob, Job, JobId, JobPath, JobState, Step, WaitQuery};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::{Failure, Mgs};

/// How long one request waits for news at most: below what proxies cut off.
const LONG_POLL_S: u32 = 25;

impl Mgs {
    /// Waits until a job is done. Failing, being cancelled, taking longer than `limit` and Ctrl-C are failures; the job
    /// itself goes on.
    pub(crate) async fn wait_for(&self, id: &JobId, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        let mut stopped = self.stopped.clone();
        let mut job = self.job(id, WaitQuery::default()).await?;
        let mut said = String::new();
        loop {
            let line = progress(&job);
            if line != said {
                info!(job_id = %job.id, object = %job.object, state = job.state.as_str(), progress = line, "job");
                said = line;
            }
            match job.state {
                JobState::Done => return Ok(()),
                state if state.is_final() => return Err(Failure::Job(Arc::new(job))),
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now()).as_secs();
            let wait_s = LONG_POLL_S.min(u32::try_from(left).unwrap_or(LONG_POLL_S)).max(1);
            let news = self.job(id, WaitQuery { wait_s: Some(wait_s), seen: Some(job.version) });
            tokio::select! {
                news = timeout_at(deadline, news) => match news {
                    Ok(news) => job = news?,
                    Err(_) => return Err(Failure::TimedOut(Arc::new(job), limit)),
                },
                _ = stopped.wait_for(|stopped| *stopped) => return Err(Failure::Interrupted(Arc::new(job))),
            }
            if Instant::now() >= deadline && !job.state.is_final() {
                return Err(Failure::TimedOut(Arc::new(job), limit));
            }
        }
    }

    /// A job, now or when there is news of it.
    pub(crate) async fn job(&self, id: &JobId, wait: WaitQuery) -> Result<Job, Failure> {
        Ok(self.client.call::<GetJob>(&JobPath { id: id.clone() }, &wait, &Nothing {}).await?)
    }
}

/// The step that a job is at, or that it failed in.
fn current(job: &Job) -> Option<&Step> {
    let steps = &job.steps;
    steps.iter().find(|step| step.state != JobState::Done).or(steps.last())
}

/// A step in a line: `format on oss1: writing inode tables, 42 %`.
fn progress(job: &Job) -> String {
    let Some(step) = current(job) else { return job.state.as_str().to_owned() };
    let kind = format!("{:?}", step.kind).to_lowercase();
    let mut line = match &step.node {
        Some(node) => format!("{kind} on {node}: {}", step.state.as_str()),
        None => format!("{kind}: {}", step.state.as_str()),
    };
    if let Some(progress) = &step.progress {
        let _ = write!(line, ", {}", progress.phase);
        if let Some(percent) = progress.percent() {
            let _ = write!(line, ", {percent} %");
        }
    }
    line
}

/// All that helps a person: job, target, step, node, cause, and the last lines of the program.
pub(super) fn describe(job: &Job) -> String {
    let mut text = format!("Job {} on {}: {}.", job.id, job.object, progress(job));
    let step = current(job);
    let cause = job.error.as_deref().or(step.and_then(|step| step.message.as_deref()));
    if let Some(cause) = cause {
        let _ = write!(text, "\n\n{}", crate::findings::sentence(cause));
    }
    if let Some(step) = step.filter(|step| !step.output.is_empty()) {
        let lines = step.output.iter().rev().take(10).rev().map(|line| format!("\n  {line}")).collect::<String>();
        let _ = write!(text, "\n\nThe last lines that it printed:{lines}");
    }
    text
}
