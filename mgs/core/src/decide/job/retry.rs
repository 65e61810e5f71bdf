//! Trying again what failed or was cancelled.

use lustre_api::Problem;
use lustre_api::job::{Attempt, Job, JobId, JobKind, JobState, StepKind};

use super::start::{busy_with, free, hold};
use super::{Decision, get};
use crate::decide::{Request, as_read, put};
use crate::key::Key;
use crate::record::{JobRecord, Record};
use crate::state::State;
use crate::view;

/// Has a job that failed or was cancelled begin its unfinished steps again, each as a new attempt. A job at work is answered as
/// it is.
///
/// Errors: it is done; another job is at work on its object or came after it; a step that is not safe to do again, saying
/// what is to be done instead.
pub fn retry(state: &State, req: &Request<'_>, id: &JobId) -> Result<Decision<Job>, Problem> {
    let object = get(state, id)?;
    let mut record = object.value.clone();
    match record.job.state {
        JobState::Failed | JobState::Cancelled => {}
        JobState::Done => return Err(Problem::refused(format!("job {id} is done, there is nothing to try again"))),
        JobState::Queued | JobState::Running | JobState::Cancelling => {
            let reply = view::job(&record, object.revision, 0);
            return Ok(Decision::nothing().map(|()| reply));
        }
    }
    check(state, &record.job, false)?;
    let (mut compare, holds) = free(state, &record.job.object, record.job.parent.as_ref())?;
    compare.push(as_read(Key::Job(id.clone()), object.revision));
    begin_anew(&mut record);
    let mut changes: Vec<_> = holds.iter().map(|held| hold(held, id)).collect();
    record.holds = holds;
    let reply = view::job(&record, object.revision, 0);
    changes.push(put(Key::Job(id.clone()), Record::Job(Box::new(record))));
    Ok(Decision { compare, changes, what: req.describe(format!("try job {id} again")), reply })
}

/// Whether a job that is a part of another one, and did not come to its goal, is begun anew when that one is tried again.
pub(super) fn is_tried_with_the_whole(part: &Job) -> bool {
    part.kind == JobKind::SetParam && matches!(part.state, JobState::Failed | JobState::Cancelled)
}

/// Queues what is not done, and keeps what became of the attempts before.
pub(super) fn begin_anew(record: &mut JobRecord) {
    for step in record.job.steps.iter_mut().filter(|step| step.state != JobState::Done) {
        if step.attempts > 0 {
            step.earlier.push(Attempt {
                attempt: step.attempts,
                state: step.state,
                message: step.message.take(),
                output: std::mem::take(&mut step.output),
                exit_status: step.exit_status.take(),
                started: step.started.take(),
                ended: step.ended,
            });
        }
        (step.state, step.message, step.ended) = (JobState::Queued, None, None);
    }
    (record.job.state, record.job.error, record.job.ended) = (JobState::Queued, None, None);
}

/// Errors: why it would not be safe, or could not help. `with_whole`: the job that it is a part of is tried again.
pub(super) fn check(state: &State, job: &Job, with_whole: bool) -> Result<(), Problem> {
    let id = &job.id;
    let again = match job.kind {
        JobKind::EnsureTarget => format!("ensure {} again: that looks at the device before it acts", job.object),
        _ => format!("ask for the {} of {} again: that looks at what is there now", job.kind.verb(), job.object),
    };
    let refuse =
        |why: String| Err(Problem::refused(format!("job {id} can't be tried again: {why}")).remedy(again.clone()));
    let has_begun = job.steps.iter().any(|step| step.state == JobState::Done);
    if job.kind == JobKind::Evacuate && has_begun {
        return refuse("steps of it that are done were taken back when it ended".into());
    }
    if job.kind == JobKind::Grow {
        return refuse("its devices may be other things by now than what it was planned with".into());
    }
    if matches!(job.kind, JobKind::Failover | JobKind::Failback) {
        return refuse("its targets may be somewhere else by now than when it was planned".into());
    }
    for (at, step) in job.steps.iter().enumerate().filter(|(_, step)| step.state != JobState::Done) {
        if step.kind == StepKind::Format && step.attempts > 0 {
            return refuse("its format had begun, so the device is not what the plan saw any more".into());
        }
        let part = step.job.as_ref().and_then(|part| state.jobs.get(part)).map(|part| &part.value.job);
        if let Some(part) = part.filter(|part| is_tried_with_the_whole(part)) {
            check(state, part, true)?;
        } else if step.kind == StepKind::Job && step.attempts > 0 {
            return refuse(format!("its step {} ran a job of its own, which is over", at + 1));
        }
        if let Some(svname) = job.svname_of(at).filter(|svname| !state.targets.contains_key(*svname)) {
            return refuse(format!("there is no target {svname} any more"));
        }
        if let Some(node) = step.node.as_ref().filter(|node| !state.nodes.contains_key(*node)) {
            return refuse(format!("node {node} is not enrolled any more"));
        }
    }
    // What was done since may have been done for another reason.
    let newer =
        job.svname().and_then(|svname| state.targets.get(svname)?.value.job.as_ref()).filter(|newer| *newer != id);
    match newer.and_then(|newer| state.jobs.get(newer)) {
        Some(newer) if !newer.value.job.state.is_final() => Err(busy_with(&job.object, &newer.value.job)),
        Some(newer) => refuse(format!("job {} came after it", newer.value.job.id)),
        None if with_whole => Ok(()),
        None => match &job.parent {
            Some(whole) if is_tried_with_the_whole(job) => {
                let problem = Problem::refused(format!("job {id} can't be tried again: it is a part of job {whole}"));
                Err(problem.remedy(format!("try that one again: mgsctl job retry {whole}")))
            }
            Some(_) => refuse("it is a part of another job, which is over".into()),
            None => Ok(()),
        },
    }
}
