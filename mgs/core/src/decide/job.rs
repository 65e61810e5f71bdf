//! Jobs: from queued to a final state, one step after the other, each transition one commit.
//!
//! The runner asks [`next`] what to do, says [`begin`] before it does it (journal before acting), and [`end`] after.
//! Everything is safe to repeat: an agent knows a step by its name, and a transition that was made already changes nothing.

use lustre_api::agent::{AgentOp, StartDriver};
use lustre_api::job::{FormatResult, Job, JobId, JobKind, JobState, Step, StepKind};
use lustre_api::target::TargetState;
use lustre_api::{Problem, Time};
use lustre_types::{NodeName, SvName};

use crate::decide::{Decision, Request, as_read, lifecycle, put, register};
use crate::key::Key;
use crate::record::{Change, JobRecord, Record, TargetRecord};
use crate::state::{Object, State};
use crate::view;

/// A step of a job to be made.
pub(super) struct NewStep {
    pub(super) kind: StepKind,
    /// The node that does it and what it is asked; none for a step of the MGS.
    pub(super) on: Option<(NodeName, AgentOp)>,
}

/// What a job needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Say [`begin`].
    Begin,
    /// Have a node's agent do this under this name, and say [`end`] when it is over.
    Hand {
        /// The step's place in the job.
        step: usize,
        /// Whose agent.
        node: NodeName,
        /// The agent's name for it: the same after a restart.
        id: JobId,
        /// What to do.
        op: Box<AgentOp>,
        /// The job was cancelled: have the agent stop.
        cancel: bool,
    },
    /// Nothing any more.
    Nothing,
}

/// How a step ended on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnd {
    /// `Done`, `Failed` or `Cancelled`.
    pub state: JobState,
    /// Why, or what was found.
    pub message: Option<String>,
    /// The last lines of the program's output.
    pub output: Vec<String>,
    /// What a format achieved.
    pub formatted: Option<FormatResult>,
}

/// Makes a job's record. Its name is unique: the next commit on its target has a higher revision.
pub(super) fn new_job(
    state: &State,
    req: &Request<'_>,
    kind: JobKind,
    svname: &SvName,
    steps: Vec<NewStep>,
) -> JobRecord {
    let verb = match kind {
        JobKind::EnsureTarget => "ensure",
        JobKind::StartTarget => "start",
        JobKind::StopTarget => "stop",
        JobKind::DeregisterTarget => "deregister",
    };
    let name: String = svname.to_string().to_ascii_lowercase().replace('_', "-");
    let id = format!("{verb}-{name}-{}", state.revision + 1);
    let (steps, ops) = steps.into_iter().map(|step| new_step(step.kind, step.on)).unzip();
    let job = Job {
        id: id.parse().expect("a verb, a target name without capitals and underscores, and a number"),
        kind,
        svname: svname.clone(),
        state: JobState::Queued,
        steps,
        error: None,
        who: req.who.to_owned(),
        why: req.why.map(str::to_owned),
        created: req.now,
        ended: None,
        version: 0,
    };
    JobRecord { job, ops }
}

fn new_step(kind: StepKind, on: Option<(NodeName, AgentOp)>) -> (Step, Option<AgentOp>) {
    let (node, op) = on.unzip();
    let step = Step {
        kind,
        node,
        state: JobState::Queued,
        attempts: 0,
        progress: None,
        message: None,
        output: Vec::new(),
        started: None,
        ended: None,
    };
    (step, op)
}

/// What a job needs next.
pub fn next(record: &JobRecord) -> Next {
    let job = &record.job;
    if job.state.is_final() {
        return Next::Nothing;
    }
    let running = job.steps.iter().position(|step| step.state == JobState::Running);
    let at_work = running.and_then(|at| Some((at, job.steps[at].node.clone()?, record.ops.get(at)?.clone()?)));
    match at_work {
        None => Next::Begin,
        Some((step, node, op)) => {
            let id = format!("{}-{}", job.id, step + 1);
            let id = id.parse().expect("a job's id has at most 60 characters: made by new_job");
            Next::Hand { step, node, id, op: Box::new(op), cancel: job.state == JobState::Cancelling }
        }
    }
}

/// Begins the next step, or ends the job where there is none. A step of the MGS itself is done with that.
pub fn begin(state: &State, req: &Request<'_>, id: &JobId) -> Result<Decision<()>, Problem> {
    let object = get(state, id)?;
    let mut transition = Transition::new(state, req, object)?;
    let job = &mut transition.job.job;
    if job.state.is_final() || job.steps.iter().any(|step| step.state == JobState::Running && step.node.is_some()) {
        return Ok(Decision::nothing());
    }
    let Some(step) = job.steps.iter_mut().find(|step| !step.state.is_final()) else {
        job.state = JobState::Done;
        job.ended = Some(req.now);
        return Ok(transition.decide("finish"));
    };
    if job.state == JobState::Cancelling {
        transition.stop(JobState::Cancelled, "cancelled before it began", req.now);
        return Ok(transition.decide("cancel"));
    }
    job.state = JobState::Running;
    step.state = JobState::Running;
    step.attempts += 1;
    step.started = step.started.or(Some(req.now));
    let (kind, node) = (step.kind, step.node.clone());
    if let (Some(target), StepKind::Format, Some(node)) = (&mut transition.target, kind, node) {
        target.state = TargetState::Formatting;
        target.state_reason = format!("{node} formats its device");
    }
    match kind {
        StepKind::Register => {
            if let Err(problem) = transition.register(req) {
                transition.fail_own_step(&problem, req.now);
            }
        }
        StepKind::Deregister => {
            if let Err(problem) = transition.deregister(req) {
                transition.fail_own_step(&problem, req.now);
            }
        }
        _ => {}
    }
    Ok(transition.decide(step_name(kind)))
}

/// Takes in how a step ended on its node. Nothing changes when that is known already.
pub fn end(state: &State, req: &Request<'_>, id: &JobId, step: usize, end: StepEnd) -> Result<Decision<()>, Problem> {
    let object = get(state, id)?;
    let mut transition = Transition::new(state, req, object)?;
    let Some(ended) = transition.job.job.steps.get_mut(step).filter(|step| step.state == JobState::Running) else {
        return Ok(Decision::nothing());
    };
    let StepEnd { state: outcome, message, output, formatted } = end;
    let outcome = match (&formatted, ended.kind) {
        // Done means observed: a format that left something else is none.
        (Some(result), StepKind::Format) if outcome == JobState::Done => {
            transition.formatted(step, result).map_or((JobState::Failed, None), |message| (JobState::Done, message))
        }
        (None, StepKind::Format) if outcome == JobState::Done => (JobState::Failed, None),
        _ => (outcome, None),
    };
    let (outcome, note) = outcome;
    let ended = &mut transition.job.job.steps[step];
    ended.state = outcome;
    ended.message = message.or(note);
    if outcome == JobState::Failed && ended.message.is_none() {
        let node = ended.node.as_ref().map_or("the MGS", NodeName::as_str);
        ended.message =
            Some(format!("{node} does not show {} on the device after the format", transition.job.job.svname));
    }
    let ended = &mut transition.job.job.steps[step];
    ended.output = output;
    ended.ended = Some(req.now);
    let kind = ended.kind;
    match outcome {
        JobState::Done => transition.step_done(kind),
        other => {
            let message = ended.message.clone().unwrap_or_default();
            transition.stop(other, &message, req.now);
        }
    }
    Ok(transition.decide(&format!("end {}", step_name(kind))))
}

/// Asks a job to stop. A job that has not begun or is over is answered as it is then.
pub fn cancel(state: &State, req: &Request<'_>, id: &JobId) -> Result<Decision<Job>, Problem> {
    let object = get(state, id)?;
    let mut transition = Transition::new(state, req, object)?;
    let unchanged = |record: &JobRecord| {
        let reply = view::job(record, object.revision, 0);
        Decision { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply }
    };
    let job = &mut transition.job.job;
    if job.state.is_final() || job.state == JobState::Cancelling {
        return Ok(unchanged(&object.value));
    }
    let is_at_work = job.steps.iter().any(|step| step.state == JobState::Running);
    if is_at_work {
        job.state = JobState::Cancelling;
    } else {
        transition.stop(JobState::Cancelled, "cancelled before it began", req.now);
    }
    let reply = view::job(&transition.job, object.revision, 0);
    let decision = transition.decide("cancel");
    Ok(Decision { compare: decision.compare, changes: decision.changes, what: decision.what, reply })
}

/// The job. Errors: there is none of that name.
pub fn get<'a>(state: &'a State, id: &JobId) -> Result<&'a Object<JobRecord>, Problem> {
    let problem = || Problem::not_found(format!("there is no job {id}")).remedy("mgsctl job list shows them");
    state.jobs.get(id).ok_or_else(problem)
}

fn step_name(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Format => "format",
        StepKind::Start => "start",
        StepKind::Stop => "stop",
        StepKind::Register => "register",
        StepKind::Deregister => "deregister",
    }
}

/// What started means on a node.
fn started(state: &State, node: &NodeName) -> String {
    match state.nodes.get(node).map(|node| node.value.info.start_driver) {
        Some(StartDriver::Userspace) => format!("started on {node} by the userspace driver: it serves no file I/O"),
        _ => format!("mounted on {node}"),
    }
}

/// A job and its target on the way from one commit to the next.
struct Transition<'a> {
    state: &'a State,
    req: &'a Request<'a>,
    job: JobRecord,
    job_revision: u64,
    /// Missing once it was taken out of the configuration.
    target: Option<TargetRecord>,
    target_revision: u64,
    more: Vec<Change>,
    compare: Vec<crate::decide::Compare>,
}

impl<'a> Transition<'a> {
    fn new(state: &'a State, req: &'a Request<'a>, job: &Object<JobRecord>) -> Result<Self, Problem> {
        let target = state.targets.get(&job.value.job.svname);
        Ok(Self {
            state,
            req,
            job: job.value.clone(),
            job_revision: job.revision,
            target: target.map(|target| target.value.clone()),
            target_revision: target.map_or(0, |target| target.revision),
            more: Vec::new(),
            compare: Vec::new(),
        })
    }

    fn decide(self, what: &str) -> Decision<()> {
        let (id, svname) = (self.job.job.id.clone(), self.job.job.svname.clone());
        let mut compare = self.compare;
        compare.push(as_read(Key::Job(id.clone()), self.job_revision));
        let mut changes = self.more;
        let before = self.state.targets.get(&svname).map(|target| &target.value);
        if let Some(target) = self.target
            && Some(&target) != before
        {
            compare.push(as_read(Key::Target(svname.clone()), self.target_revision));
            changes.push(put(Key::Target(svname), Record::Target(Box::new(target))));
        }
        changes.push(put(Key::Job(id.clone()), Record::Job(Box::new(self.job))));
        Decision { compare, changes, what: self.req.describe(format!("{what} of job {id}")), reply: () }
    }

    /// What a format left on the device, or `None` when that is not the target.
    fn formatted(&mut self, _step: usize, result: &FormatResult) -> Option<Option<String>> {
        let on_disk = &result.formatted_as;
        if on_disk.svname != self.job.job.svname || on_disk.incomplete {
            return None;
        }
        let target = self.target.as_mut()?;
        target.label = Some(on_disk.label.clone());
        target.uuid = Some(on_disk.uuid.clone());
        target.size_bytes = Some(on_disk.size_bytes);
        // Who formats again what is there already did not format over anything.
        if result.changed || target.formatted_over.is_none() {
            target.formatted_over = Some(result.formatted_over.clone());
        }
        let note = if result.changed { None } else { Some("already formatted".to_owned()) };
        let missing = (!result.missing_features.is_empty())
            .then(|| format!("made without {}: this e2fsprogs lacks them", result.missing_features.join(", ")));
        Some(missing.or(note))
    }

    fn step_done(&mut self, kind: StepKind) {
        let Some(target) = &mut self.target else { return };
        let node = &target.spec.node;
        let (state, reason) = match kind {
            StepKind::Format => {
                (TargetState::Formatted, "its device is formatted; it waits to be registered".to_owned())
            }
            StepKind::Start => (TargetState::Started, started(self.state, node)),
            StepKind::Stop => (TargetState::Stopped, format!("stopped by {}", self.job.job.who)),
            StepKind::Register | StepKind::Deregister => return,
        };
        (target.state, target.state_reason) = (state, reason);
    }

    /// Writes the target into the configuration; done with this commit. Errors: a config log that is full.
    fn register(&mut self, req: &Request<'_>) -> Result<(), Problem> {
        let was_started = self.is_done(StepKind::Start);
        if let Some(target) = &mut self.target {
            let node = self.state.nodes.get(&target.spec.node);
            // A target that registered by itself, when it was started, said its NIDs.
            if target.nids.is_empty() {
                target.nids = node.map(|node| node.value.info.nids.clone()).unwrap_or_default();
            }
            let info = register::info(&self.job.job.svname, target, &target.nids);
            register::configure(self.state, req, &info, &mut self.compare, &mut self.more)?;
            target.was_registered = true;
            (target.state, target.state_reason) = if was_started {
                (TargetState::Started, format!("in the configuration and {}", started(self.state, &target.spec.node)))
            } else {
                (
                    TargetState::Registered,
                    format!("in the configuration; {} has no Lustre to start it", target.spec.node),
                )
            };
        }
        self.finish_own_step(req.now);
        Ok(())
    }

    /// Takes the target out of the configuration; done with this commit. Errors: a config log that is full.
    fn deregister(&mut self, req: &Request<'_>) -> Result<(), Problem> {
        if let Some(target) = &self.target {
            let svname = self.job.job.svname.clone();
            let (compare, changes) = lifecycle::removal(self.state, req, &svname, target, self.target_revision)?;
            self.compare.extend(compare);
            self.more.extend(changes);
            self.target = None;
        }
        self.finish_own_step(req.now);
        Ok(())
    }

    fn is_done(&self, kind: StepKind) -> bool {
        self.job.job.steps.iter().any(|step| step.kind == kind && step.state == JobState::Done)
    }

    /// A step of the MGS itself that can't be done.
    fn fail_own_step(&mut self, problem: &Problem, now: Time) {
        if let Some(step) = self.job.job.steps.iter_mut().find(|step| step.state == JobState::Running) {
            step.state = JobState::Failed;
            step.message = Some(problem.to_string());
            step.ended = Some(now);
        }
        self.stop(JobState::Failed, &problem.to_string(), now);
    }

    fn finish_own_step(&mut self, now: Time) {
        let job = &mut self.job.job;
        if let Some(step) = job.steps.iter_mut().find(|step| step.state == JobState::Running) {
            step.state = JobState::Done;
            step.ended = Some(now);
        }
        if job.steps.iter().all(|step| step.state == JobState::Done) {
            job.state = JobState::Done;
            job.ended = Some(now);
        }
    }

    /// Ends the job without its goal: `Failed` or `Cancelled`.
    fn stop(&mut self, outcome: JobState, why: &str, now: Time) {
        let job = &mut self.job.job;
        let mut where_ = "before its first step".to_owned();
        for step in &mut job.steps {
            match step.state {
                JobState::Done => {}
                JobState::Queued | JobState::Running | JobState::Cancelling => {
                    step.state = JobState::Cancelled;
                    step.ended = Some(now);
                }
                JobState::Cancelled | JobState::Failed => {
                    let node = step.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
                    where_ = format!("in its step {}{node}", step_name(step.kind));
                }
            }
        }
        job.state = outcome;
        job.ended = Some(now);
        let verb = if outcome == JobState::Cancelled { "was cancelled" } else { "failed" };
        let colon = if why.is_empty() { "" } else { ": " };
        let error = format!("job {} on {} {verb} {where_}{colon}{why}", job.id, job.svname);
        job.error = Some(error.clone());
        let (kind, id) = (job.kind, job.id.clone());
        if let Some(target) = &mut self.target {
            match kind {
                JobKind::EnsureTarget => {
                    target.state = TargetState::Failed;
                    target.state_reason = format!("{error}; ensure it again to go on, or delete it");
                }
                // The target stays what it is: still in the configuration.
                _ => target.state_reason = format!("{error}; mgsctl job show {id}"),
            }
        }
    }
}

impl Decision<()> {
    /// Everything is as asked.
    pub fn nothing() -> Self {
        Self { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply: () }
    }
}
