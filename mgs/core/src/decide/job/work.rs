//! What there is to do for the jobs that are not over.

use lustre_api::agent::AgentOp;
use lustre_api::job::{Job, JobId, JobState, StepKind};
use lustre_types::NodeName;

use super::schedule::Task;
use crate::record::{JobRecord, OwnAct};
use crate::state::State;

/// Something that has to be done for a job. All of it is safe to do again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Say [`super::begin`] for these steps.
    Begin {
        /// The job.
        id: JobId,
        /// The steps whose turn it is.
        steps: Vec<usize>,
    },
    /// Have a node's agent do this under this name, and say [`super::end`] when it is over.
    Hand(Hand),
    /// Say [`super::settle`]: a job that it waited for is over.
    Settle(JobId),
    /// Say [`super::cancel`]: the job that this one is a part of is cancelled, or over.
    Cancel(JobId),
}

impl Work {
    /// The task that does it.
    pub fn task(&self) -> Task {
        match self {
            Self::Begin { id, .. } | Self::Settle(id) | Self::Cancel(id) => Task::Transition(id.clone()),
            Self::Hand(hand) => Task::Step(hand.id.clone(), hand.step, hand.attempt),
        }
    }
}

/// A step that a node's agent is at work on, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hand {
    /// The job.
    pub id: JobId,
    /// The step's place in it.
    pub step: usize,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Whose agent.
    pub node: NodeName,
    /// The agent's name for it: the same after a restart, another one for another attempt.
    pub agent_id: JobId,
    /// What to do.
    pub op: Box<AgentOp>,
    /// The job was cancelled: have the agent stop.
    pub cancel: bool,
}

/// What one job needs now, whatever the limits. Nothing: it waits, or it is over.
pub fn work_of(state: &State, record: &JobRecord) -> Vec<Work> {
    let job = &record.job;
    if job.state.is_final() {
        return Vec::new();
    }
    let mut work = Vec::new();
    let is_wanted = job.state == JobState::Cancelling || is_wanted(state, job);
    if !is_wanted {
        work.push(Work::Cancel(job.id.clone()));
    }
    let mut must_settle = job.steps.iter().all(|step| step.state.is_final());
    for (at, step) in job.steps.iter().enumerate().filter(|(_, step)| step.state == JobState::Running) {
        match (&step.node, record.ops.get(at)) {
            (Some(node), Some(Some(op))) => work.push(Work::Hand(Hand {
                id: job.id.clone(),
                step: at,
                attempt: step.attempts,
                node: node.clone(),
                agent_id: agent_id(job, at),
                op: Box::new(op.clone()),
                cancel: job.state == JobState::Cancelling || step.kind == StepKind::Migrate && is_paused(record),
            })),
            _ => must_settle |= child(record, at).is_none_or(|child| is_over(state, child)),
        }
    }
    if !is_wanted {
        return work;
    }
    if must_settle {
        work.push(Work::Settle(job.id.clone()));
    }
    let steps = ready(state, record);
    if !steps.is_empty() {
        work.push(Work::Begin { id: job.id.clone(), steps });
    }
    work
}

/// The steps that may begin: everything before them is done.
pub fn ready(state: &State, record: &JobRecord) -> Vec<usize> {
    let job = &record.job;
    if !matches!(job.state, JobState::Queued | JobState::Running) || !is_its_turn(state, job) {
        return Vec::new();
    }
    let is_done = |at: usize| job.steps.get(at).is_some_and(|step| step.state == JobState::Done);
    let rests = |at: usize| job.steps[at].kind == StepKind::Migrate && is_paused(record);
    let is_ready = |at: &usize| {
        job.steps[*at].state == JobState::Queued && !rests(*at) && job.predecessors(*at).into_iter().all(is_done)
    };
    let at_work = || job.steps.iter().filter(|step| step.state == JobState::Running).count();
    let room = record.at_once.map_or(usize::MAX, |most| most.saturating_sub(at_work()));
    (0..job.steps.len()).filter(is_ready).take(room).collect()
}

/// Whether a person lets its evacuation rest.
fn is_paused(record: &JobRecord) -> bool {
    record.evacuation.as_ref().is_some_and(|evacuation| evacuation.is_paused)
}

/// The agent's name for an attempt at a step.
fn agent_id(job: &Job, step: usize) -> JobId {
    let attempt = match job.steps[step].attempts {
        0 | 1 => String::new(),
        attempt => format!("-{attempt}"),
    };
    let id = format!("{}-{}{attempt}", job.id, step + 1);
    id.parse().expect("a job's name has at most 52 characters: made by start")
}

/// The job that a step runs.
pub(super) fn child(record: &JobRecord, step: usize) -> Option<&JobId> {
    match record.own.get(&step) {
        Some(OwnAct::Job(id)) => Some(id),
        _ => None,
    }
}

fn is_over(state: &State, id: &JobId) -> bool {
    state.jobs.get(id).is_none_or(|job| job.value.job.state.is_final())
}

/// The state of the step that runs this job, where a job does.
fn run_by<'a>(state: &'a State, job: &Job) -> Option<(&'a Job, JobState)> {
    let parent = &state.jobs.get(job.parent.as_ref()?)?.value;
    let at = parent.own.iter().find(|(_, act)| **act == OwnAct::Job(job.id.clone()))?.0;
    Some((&parent.job, parent.job.steps.get(*at)?.state))
}

/// Whether nobody runs this job, or whoever does has come to it.
fn is_its_turn(state: &State, job: &Job) -> bool {
    run_by(state, job).is_none_or(|(_, step)| step == JobState::Running)
}

/// Whether nobody runs this job, or whoever does still wants it.
fn is_wanted(state: &State, job: &Job) -> bool {
    run_by(state, job).is_none_or(|(parent, step)| parent.state != JobState::Cancelling && !step.is_final())
}
