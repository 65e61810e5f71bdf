//! Jobs: from queued to a final state, step by step, each transition one commit.
//!
//! [`start`] (or [`request`]) makes a job. The runner asks its [`Schedule`] what there is to do, says [`begin`] before it does it
//! (journal before acting), and [`end`] after. Everything is safe to repeat: an agent knows a step by its name, and a
//! transition that was made already changes nothing.
//!
//! A new operation: a [`JobKind`](lustre_api::job::JobKind), a function in `decide/` that gives a [`NewJob`] to [`request`],
//! and, where the MGS does a part of it, an [`OwnAct`](crate::OwnAct) with its function in `own.rs`.

mod explain;
mod lanes;
mod limits;
mod moves;
mod own;
mod retry;
mod schedule;
mod setting;
mod start;
mod transition;
mod work;

pub use explain::explain;
pub use limits::{Limits, held_back};
pub use retry::retry;
pub use schedule::{Order, Schedule, Task};
pub use start::{MAX_STEPS, NewJob, NewStep, Started, busy_with, idle, named, request, start};
pub use work::{Hand, Work, ready, work_of};

use lustre_api::Problem;
use lustre_api::agent_ops::OpResult;
use lustre_api::job::{FormatResult, Job, JobId, JobState, StepKind};
use lustre_api::proxy::ProxyState;
use lustre_api::target::TargetState;
use lustre_types::NodeName;

use crate::decide::{Decision, Request};
use crate::record::JobRecord;
use crate::state::{Object, State};
use crate::view;
use transition::Transition;

/// What steps of one job may keep of what their programs printed, all together: a job is one value of a store.
const OUTPUT_BYTES: usize = 160 * 1024;
/// Longest message of a step.
const MESSAGE_CHARS: usize = 2000;

/// How a step ended on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnd {
    /// `Done`, `Failed` or `Cancelled`.
    pub state: JobState,
    /// Why, or what was found.
    pub message: Option<String>,
    /// The command that was run.
    pub command: Vec<String>,
    /// The last lines of the program's output.
    pub output: Vec<String>,
    /// What the program exited with.
    pub exit_status: Option<i32>,
    /// What a format achieved.
    pub formatted: Option<FormatResult>,
    /// What the node has of the kernel proxy now.
    pub proxy: Option<ProxyState>,
    /// What another operation achieved.
    pub result: Option<OpResult>,
}

impl StepEnd {
    /// An end without a program that said anything.
    pub fn new(state: JobState, message: Option<String>) -> Self {
        Self {
            state,
            message,
            command: Vec::new(),
            output: Vec::new(),
            exit_status: None,
            formatted: None,
            proxy: None,
            result: None,
        }
    }
}

/// Begins steps whose turn it is; others of `steps` are left alone. A step of the MGS itself is done with that.
pub fn begin(state: &State, req: &Request<'_>, id: &JobId, steps: &[usize]) -> Result<Decision<()>, Problem> {
    let object = get(state, id)?;
    let ready = ready(state, &object.value);
    let steps: Vec<usize> = ready.into_iter().filter(|step| steps.contains(step)).collect();
    let mut transition = Transition::new(state, req, object);
    // What the MGS does itself may fill a commit: it goes alone.
    let own = steps.iter().find_map(|step| Some((*step, own::act(&object.value, *step)?)));
    if let Some((step, act)) = own {
        begin_step(&mut transition, step);
        own::run(&mut transition, step, &act);
        let kind = object.value.job.steps[step].kind.as_str();
        return Ok(transition.decide(&format!("{kind}, asked for by {},", object.value.job.who)));
    }
    // Each may write its target, and a commit takes some 100 objects.
    for step in steps.iter().take(50) {
        begin_step(&mut transition, *step);
    }
    let what = steps.first().map_or("begin", |step| object.value.job.steps[*step].kind.as_str());
    Ok(transition.decide(what))
}

fn begin_step(transition: &mut Transition<'_>, at: usize) {
    let job = &mut transition.record.job;
    job.state = JobState::Running;
    let step = &mut job.steps[at];
    step.state = JobState::Running;
    step.attempts += 1;
    step.started = Some(transition.req.now);
    transition.give_out_batch(at);
    let step = &transition.record.job.steps[at];
    if let (StepKind::Format, Some(node)) = (step.kind, step.node.clone())
        && let Some((_, target)) = transition.target(at)
    {
        target.state = TargetState::Formatting;
        target.state_reason = format!("{node} formats its device");
    }
}

/// Takes in how a step ended on its node. Nothing changes when that is known already.
pub fn end(state: &State, req: &Request<'_>, id: &JobId, step: usize, end: StepEnd) -> Result<Decision<()>, Problem> {
    let object = get(state, id)?;
    let mut transition = Transition::new(state, req, object);
    let Some(ended) = transition.record.job.steps.get(step).filter(|step| step.state == JobState::Running) else {
        return Ok(Decision::nothing());
    };
    let (kind, node) = (ended.kind, ended.node.clone());
    let end = match kind {
        StepKind::Migrate => match transition.take_in_batch(step, end) {
            Some(end) => end,
            // There is another batch.
            None => return Ok(transition.decide("a batch")),
        },
        StepKind::Verify => verified(end),
        StepKind::SetParam => transition.take_in_setting(step, end),
        _ => end,
    };
    let (outcome, note) = match (&end.formatted, kind) {
        // Done means observed: a format that left something else is none.
        (Some(result), StepKind::Format) if end.state == JobState::Done => {
            transition.formatted(step, result).map_or((JobState::Failed, None), |note| (JobState::Done, note))
        }
        (None, StepKind::Format) if end.state == JobState::Done => (JobState::Failed, None),
        (_, StepKind::LoadProxy | StepKind::UnloadProxy) if end.state == JobState::Done => {
            match (&node, end.proxy.filter(|proxy| is_done(kind, proxy))) {
                (Some(node), Some(proxy)) => transition.proxied(node, proxy),
                _ => return Ok(not_shown(transition, step, kind)),
            }
            (JobState::Done, None)
        }
        (_, StepKind::Relabel) if end.state == JobState::Done => match &end.result {
            Some(OpResult::Tuned(result)) if transition.relabelled(step, &result.formatted_as) => {
                (JobState::Done, None)
            }
            _ => (JobState::Failed, None),
        },
        _ => (end.state, None),
    };
    let mut message = end.message.or(note);
    if outcome == JobState::Failed && message.is_none() {
        let node = node.as_ref().map_or("the MGS", NodeName::as_str);
        let name = object.value.job.svname_of(step).map(ToString::to_string).unwrap_or_default();
        message = Some(format!("{node} does not show {name} on the device after the {}", kind.as_str()));
    }
    let message = message.map(|message| message.chars().take(MESSAGE_CHARS).collect());
    let budget = OUTPUT_BYTES / object.value.job.steps.len().max(1);
    let ended = &mut transition.record.job.steps[step];
    ended.output = last_of(end.output, budget);
    ended.command = end.command;
    ended.exit_status = end.exit_status;
    transition.end_step(step, outcome, message);
    Ok(transition.decide(&format!("end {}", kind.as_str())))
}

/// Whether a node has of the kernel proxy what the step was for.
fn is_done(kind: StepKind, proxy: &ProxyState) -> bool {
    if kind == StepKind::LoadProxy { proxy.is_current() } else { proxy.is_absent() }
}

/// The end of a step that a node says is done, and that it doesn't show.
fn not_shown(mut transition: Transition<'_>, step: usize, kind: StepKind) -> Decision<()> {
    let node = transition.record.job.steps[step].node.as_ref().map_or("the node", NodeName::as_str);
    let message = format!("{node} does not show the kernel proxy as it should be after the {}", kind.as_str());
    transition.end_step(step, JobState::Failed, Some(message));
    transition.decide(&format!("end {}", kind.as_str()))
}

/// A search that found files did not find what was wanted.
fn verified(end: StepEnd) -> StepEnd {
    match &end.result {
        Some(OpResult::Found(found)) if found.files == 0 => end,
        Some(OpResult::Found(found)) if end.state == JobState::Done => {
            let first = found.paths.first().map(|path| format!(", {path} among them")).unwrap_or_default();
            let message = format!("{} files have appeared on it since{first}", found.files);
            StepEnd { state: JobState::Failed, message: Some(message), ..end }
        }
        _ if end.state == JobState::Done => {
            let message = "the client did not say whether files are left".to_owned();
            StepEnd { state: JobState::Failed, message: Some(message), ..end }
        }
        _ => end,
    }
}

/// The last lines that fit.
fn last_of(mut lines: Vec<String>, budget: usize) -> Vec<String> {
    let mut size = 0;
    let fits = |line: &&String| {
        size += line.len() + 4;
        size <= budget
    };
    let kept = lines.iter().rev().take_while(fits).count();
    lines.split_off(lines.len() - kept)
}

/// Takes in the ends of jobs that are a part of this one, and ends it where nothing is left to do.
pub fn settle(state: &State, req: &Request<'_>, id: &JobId) -> Result<Decision<()>, Problem> {
    let mut transition = Transition::new(state, req, get(state, id)?);
    transition.take_in_children();
    Ok(transition.decide("settle"))
}

/// Asks a job to stop. A job that has not begun or is over is answered as it is then.
pub fn cancel(state: &State, req: &Request<'_>, id: &JobId) -> Result<Decision<Job>, Problem> {
    let object = get(state, id)?;
    let mut transition = Transition::new(state, req, object);
    let job = &mut transition.record.job;
    if !job.state.is_final() {
        job.state = JobState::Cancelling;
        transition.settle();
    }
    let reply = view::job(&transition.record, object.revision, 0);
    Ok(transition.decide("cancel").map(|()| reply))
}

/// The job. Errors: there is none of that name.
pub fn get<'a>(state: &'a State, id: &JobId) -> Result<&'a Object<JobRecord>, Problem> {
    let problem = || Problem::not_found(format!("there is no job {id}")).remedy("mgsctl job list shows them");
    state.jobs.get(id).ok_or_else(problem)
}

impl Decision<()> {
    /// Everything is as asked.
    pub fn nothing() -> Self {
        Self { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply: () }
    }
}
