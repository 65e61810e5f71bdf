//! Waiting for jobs.

use std::time::{Duration, Instant};

use lustre_api::Nothing;
use lustre_api::job::{GetJob, Job, JobId, JobPath, JobState, WaitQuery};
use serde_json::{Map, json};

use super::Task;
use super::progress::Progress;
use super::session::{Session, json_of};
use crate::contract::Failure;

/// How long one call waits for news of a job.
const LONG_POLL: Duration = Duration::from_secs(30);
/// How long nobody may answer before waiting is given up: an MGS that fails over is back by then.
const SILENCE: Duration = Duration::from_secs(120);

/// Returns when all jobs are done. Errors: the first job that failed or was cancelled, or the time is up.
pub(super) async fn wait(task: &Task<'_>, session: &Session, jobs: &[JobId]) -> Result<(), Failure> {
    let patience = task.seconds("wait_timeout")?;
    let deadline = Instant::now() + patience;
    let mut unfinished = Vec::new();
    let mut progress = Progress::new();
    // All are waited for, also behind a failed one: the failure then names every job that went wrong.
    for (n, id) in jobs.iter().enumerate() {
        let job = follow(session, id, deadline, |job| progress.tell(job, n, jobs.len())).await?;
        match job.state {
            JobState::Done => {}
            JobState::Failed | JobState::Cancelled => unfinished.push(job),
            JobState::Queued | JobState::Running | JobState::Cancelling => {
                let message = format!(
                    "job {id} is still {} after {} s; it goes on: see lustre_info, or give a longer wait_timeout",
                    job.state.as_str(),
                    patience.as_secs()
                );
                return Err(failure(message, &[job]));
            }
        }
    }
    if unfinished.is_empty() {
        return Ok(());
    }
    let messages = unfinished.iter().map(|job| {
        let reason = job.error.clone().unwrap_or_else(|| "nobody said why".to_owned());
        format!("job {} for {} is {}: {reason}", job.id, job.object, job.state.as_str())
    });
    Err(failure(messages.collect::<Vec<_>>().join("\n"), &unfinished))
}

fn failure(message: String, jobs: &[Job]) -> Failure {
    let mut values = Map::new();
    values.insert("jobs".to_owned(), json!(jobs.iter().map(|job| &job.id).collect::<Vec<_>>()));
    values.insert("job_details".to_owned(), json_of(&jobs));
    Failure { message, values }
}

/// The job when it is final, or when the deadline has come.
async fn follow(session: &Session, id: &JobId, deadline: Instant, mut news: impl FnMut(&Job)) -> Result<Job, Failure> {
    let path = JobPath { id: id.clone() };
    let mut seen = None;
    let mut heard = Instant::now();
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(LONG_POLL);
        let wait_s = u32::try_from(left.as_secs()).unwrap_or(0);
        let query = WaitQuery { wait_s: Some(wait_s), seen };
        match session.mgs.call::<GetJob>(&path, &query, &Nothing {}).await {
            Ok(job) if job.state.is_final() || left.is_zero() => {
                news(&job);
                return Ok(job);
            }
            Ok(job) => {
                news(&job);
                seen = Some(job.version);
                heard = Instant::now();
            }
            Err(error) => {
                let error = session.explain(error);
                if !error.is_unreachable || heard.elapsed() > SILENCE || left.is_zero() {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        if deadline.saturating_duration_since(Instant::now()) < Duration::from_secs(1) {
            tokio::time::sleep(deadline.saturating_duration_since(Instant::now())).await;
        }
    }
}
