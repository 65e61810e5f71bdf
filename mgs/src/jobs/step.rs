//! One step on one node: hand it out, follow it, and say how it ended.

use std::time::Duration;

use lustre_api::ProblemCode;
use lustre_api::agent::{AgentJob, AgentOp};
use lustre_api::job::{JobId, JobState};
use lustre_mgs_core::decide::job::StepEnd;
use lustre_types::NodeName;
use tracing::{debug, info};

use super::Runner;
use super::progress::News;
use crate::agents::AgentError;

/// How long to wait before an agent that can't be reached is asked again: at first, and at most.
pub(super) const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long an agent is asked to wait for news.
const WAIT_S: u32 = 20;

/// Follows a step until it is over, or until the job changed (`None`): then there may be something else to do.
#[allow(clippy::too_many_arguments)]
pub(super) async fn drive(
    runner: &Runner,
    id: &JobId,
    revision: u64,
    step: usize,
    node: &NodeName,
    agent_id: &JobId,
    op: &AgentOp,
    cancel: bool,
) -> Option<StepEnd> {
    let mut retry = RETRY;
    let mut seen = None;
    // Whether the agent has the job, as far as we know: a restarted runner does not, and says it again.
    let mut is_handed = false;
    loop {
        let url = runner.engine.state().nodes.get(node).map(|node| node.value.api_url.clone());
        let Some(url) = url else {
            return Some(ended(JobState::Failed, format!("node {node} is not enrolled any more")));
        };
        let answer = if !is_handed && !cancel {
            // Not given up half way: whether the agent got it must be known before it is asked to stop.
            runner.agents.put_job(&url, agent_id, op).await
        } else {
            let asked = async {
                match seen {
                    None if cancel => runner.agents.cancel_job(&url, agent_id).await,
                    _ => runner.agents.get_job(&url, agent_id, seen, WAIT_S).await,
                }
            };
            tokio::select! {
                answer = asked => answer,
                () = job_changed(runner, id, revision) => return None,
            }
        };
        match answer {
            Ok(job) => {
                if !is_handed {
                    info!(job_id = %id, step, %node, "step handed to its node");
                }
                is_handed = true;
                retry = RETRY;
                seen = Some(job.version);
                if job.state.is_final() {
                    return Some(end_of(job));
                }
                let news = News { progress: job.progress, message: job.message, output: job.output };
                runner.board.note(id, revision, step, news);
                continue;
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::NotFound && cancel => {
                return Some(ended(JobState::Cancelled, format!("cancelled before {node} began")));
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::NotFound && is_handed => {
                // The agent lost its journal. It looks at the device before it acts, so asking again is safe.
                debug!(job_id = %id, %node, "the agent does not know the step any more, handing it out again");
                is_handed = false;
                seen = None;
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::Unavailable => {
                wait_for(runner, id, revision, step, node, &problem.to_string());
            }
            Err(AgentError::Refused(problem)) => {
                return Some(ended(JobState::Failed, format!("{node} refused: {problem}")));
            }
            Err(AgentError::Unreachable(reason)) => wait_for(runner, id, revision, step, node, &reason),
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = job_changed(runner, id, revision) => return None,
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

fn wait_for(runner: &Runner, id: &JobId, revision: u64, step: usize, node: &NodeName, reason: &str) {
    let message = Some(format!("waiting for node {node}: {reason}"));
    runner.board.note(id, revision, step, News { message, ..News::default() });
}

/// Waits until the job has another revision: it was cancelled, or somebody else moved it on.
async fn job_changed(runner: &Runner, id: &JobId, revision: u64) {
    let mut applied = runner.engine.applied();
    loop {
        if runner.engine.state().jobs.get(id).is_none_or(|job| job.revision != revision) {
            return;
        }
        if applied.changed().await.is_err() {
            // The daemon is ending; so will this task.
            std::future::pending::<()>().await;
        }
    }
}

fn end_of(job: AgentJob) -> StepEnd {
    StepEnd { state: job.state, message: job.message, output: job.output, formatted: job.formatted }
}

fn ended(state: JobState, message: String) -> StepEnd {
    StepEnd { state, message: Some(message), output: Vec::new(), formatted: None }
}
