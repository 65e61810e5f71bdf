//! Why a job is where it is, in words.

use lustre_api::job::{Explanation, Job, JobState, Step};

use super::limits::held_back;
use super::retry;
use super::work::ready;
use crate::decide::Request;
use crate::record::JobRecord;
use crate::state::State;

/// Explains a job. `shown` is the job with what its agents said last.
pub fn explain(state: &State, req: &Request<'_>, record: &JobRecord, shown: &Job) -> Explanation {
    let job = &record.job;
    let ready = ready(state, record);
    let held_back = held_back(state, &req.env.limits, req.now, record);
    let (mut waits_for, mut next, mut done, mut not_done) = (vec![], vec![], vec![], vec![]);
    for (at, step) in shown.steps.iter().enumerate() {
        let name = name(shown, at);
        match step.state {
            JobState::Done => done.push(name),
            JobState::Running | JobState::Cancelling => waits_for.push(at_work(step, &name)),
            JobState::Queued if held_back.contains_key(&at) => {
                waits_for.push(format!("{name} waits for {}", held_back[&at]))
            }
            JobState::Queued if ready.contains(&at) => next.push(name),
            JobState::Queued => {
                let before =
                    job.predecessors(at).into_iter().filter(|before| job.steps[*before].state != JobState::Done);
                let before: Vec<String> = before.map(|before| (before + 1).to_string()).collect();
                let why = match (before.is_empty(), &job.parent) {
                    (true, Some(parent)) => format!("its turn in job {parent}"),
                    _ => format!("step {}", before.join(", ")),
                };
                waits_for.push(format!("{name} waits for {why}"));
            }
            JobState::Failed => {
                not_done.push(format!("{name} failed: {}", step.message.as_deref().unwrap_or("nobody said why")))
            }
            JobState::Cancelled if step.attempts == 0 => not_done.push(format!("{name} was not begun")),
            JobState::Cancelled => {
                not_done.push(format!(
                    "{name} was stopped: {}",
                    step.message.as_deref().unwrap_or("what it did is not undone")
                ));
            }
        }
    }
    let person = match job.state {
        JobState::Failed | JobState::Cancelled => Some(match retry::retry(state, req, &job.id) {
            Ok(_) => format!("mend the cause, then: mgsctl job retry {}", job.id),
            Err(problem) => problem.to_string(),
        }),
        _ => None,
    };
    Explanation { id: job.id.clone(), state: job.state, waits_for, next, done, not_done, person }
}

/// As in `step 2 (start of scratch-OST0001 on oss1)`.
fn name(job: &Job, at: usize) -> String {
    let step = &job.steps[at];
    let of = job.svname_of(at).map(|svname| format!(" of {svname}")).unwrap_or_default();
    let on = step.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let runs = step.job.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    format!("step {} ({}{runs}{of}{on})", at + 1, step.kind.as_str())
}

fn at_work(step: &Step, name: &str) -> String {
    let mut text = format!("{name} is at work");
    if let Some(progress) = &step.progress {
        text += &format!(", {}", progress.phase);
        match (progress.percent(), progress.eta_s) {
            (Some(percent), Some(eta)) => text += &format!(", {percent} %, about {eta} s left"),
            (Some(percent), None) => text += &format!(", {percent} %"),
            (None, _) => text += ", nobody can know how much is left",
        }
    }
    if let Some(message) = &step.message {
        text += &format!(": {message}");
    }
    text
}
