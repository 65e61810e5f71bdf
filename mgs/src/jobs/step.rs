//! One step on one node: hand it out, follow it, and say how it ended.

use std::time::Duration;

use lustre_api::ProblemCode;
use lustre_api::agent::AgentJob;
use lustre_api::job::JobState;
use lustre_mgs_core::decide::job::{Hand, StepEnd};
use lustre_types::NodeName;
use tokio::sync::watch;
use tracing::{debug, info};

use super::Runner;
use super::progress::News;
use crate::agents::AgentError;
use crate::clock;

/// How long to wait before an agent that can't be reached is asked again: at first, and at most.
pub(super) const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long an agent is asked to wait for news.
const WAIT_S: u32 = 20;

/// Follows a step until it is over. `cancelled` turns true when its job is cancelled.
pub(super) async fn drive(runner: &Runner, hand: &Hand, mut cancelled: watch::Receiver<bool>) -> StepEnd {
    let Hand { id, step, node, agent_id, op, .. } = hand;
    let mut retry = RETRY;
    let mut seen = None;
    // Whether the agent has the job, as far as we know: a restarted runner does not, and says it again.
    let mut is_handed = false;
    let mut is_told_to_stop = false;
    let mut silent_since = None;
    loop {
        let cancel = *cancelled.borrow_and_update();
        if cancel && !is_told_to_stop {
            seen = None;
        }
        let url = runner.engine.state().nodes.get(node).map(|node| node.value.api_url.clone());
        let Some(url) = url else {
            return ended(JobState::Failed, format!("node {node} is not enrolled any more"));
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
                () = turned(&mut cancelled, cancel) => continue,
            }
        };
        match answer {
            Ok(job) => {
                if !is_handed {
                    info!(job_id = %id, step, %node, "step handed to its node");
                }
                is_handed = true;
                is_told_to_stop |= cancel;
                retry = RETRY;
                silent_since = None;
                seen = Some(job.version);
                if job.state.is_final() {
                    return end_of(job);
                }
                let news = News { progress: job.progress, message: job.message, output: job.output };
                runner.board.note(id, *step, hand.attempt, news);
                continue;
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::NotFound && cancel => {
                return ended(JobState::Cancelled, format!("cancelled before {node} began"));
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::NotFound && is_handed => {
                // The agent lost its journal. It looks at the device before it acts, so asking again is safe.
                debug!(job_id = %id, %node, "the agent does not know the step any more, handing it out again");
                is_handed = false;
                seen = None;
            }
            Err(AgentError::Refused(problem)) if problem.code == ProblemCode::Unavailable => {
                wait_for(runner, hand, &problem.to_string());
            }
            Err(AgentError::Refused(problem)) => {
                let age = older_agent(runner, node).filter(|_| problem.code == ProblemCode::Invalid);
                return ended(JobState::Failed, format!("{node} refused: {problem}{}", age.unwrap_or_default()));
            }
            Err(AgentError::Unreachable(reason)) => {
                let since = *silent_since.get_or_insert_with(clock::now);
                let what_to_do = format!("see systemctl status lustre-agent on {node}, or cancel the job");
                wait_for(runner, hand, &format!("no answer since {since} ({reason}); {what_to_do}"));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => {}
            () = turned(&mut cancelled, cancel) => {}
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// What to do about an agent that does not understand what it is asked, where it is of another version than the MGS.
fn older_agent(runner: &Runner, node: &NodeName) -> Option<String> {
    let own = env!("CARGO_PKG_VERSION");
    let state = runner.engine.state();
    let version = &state.nodes.get(node)?.value.info.agent_version;
    let remedy = || format!("; its agent is of version {version} and the MGS of {own}: upgrade lustre-agent on {node}");
    (version != own).then(remedy)
}

fn wait_for(runner: &Runner, hand: &Hand, reason: &str) {
    let message = Some(format!("waiting for node {}: {reason}", hand.node));
    runner.board.note(&hand.id, hand.step, hand.attempt, News { message, ..News::default() });
}

/// Waits until the flag is another than it was.
async fn turned(cancelled: &mut watch::Receiver<bool>, was: bool) {
    if cancelled.wait_for(|flag| *flag != was).await.is_err() {
        // The runner is ending; so will this task.
        std::future::pending::<()>().await;
    }
}

fn end_of(job: AgentJob) -> StepEnd {
    StepEnd {
        state: job.state,
        message: job.message,
        command: job.command,
        output: job.output,
        exit_status: job.exit_status,
        formatted: job.formatted,
        proxy: job.proxy,
        result: job.result,
    }
}

fn ended(state: JobState, message: String) -> StepEnd {
    StepEnd::new(state, Some(message))
}
