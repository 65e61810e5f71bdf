//! A job and the targets that it works on, on the way from one commit to the next.

use std::collections::BTreeMap;

use lustre_api::agent::StartDriver;
use lustre_api::device::FormattedAs;
use lustre_api::job::{FormatResult, Job, JobKind, JobState, Step, StepKind};
use lustre_api::proxy::ProxyState;
use lustre_api::target::TargetState;
use lustre_api::{Problem, Time};
use lustre_types::{NodeName, SvName};

use super::StepEnd;
use super::work::child;
use crate::decide::evacuate::Verdict;
use crate::decide::operate::evacuate;
use crate::decide::{Compare, Decision, Request, as_read, put, remove};
use crate::key::Key;
use crate::record::{Change, JobRecord, Record, TargetRecord};
use crate::state::{Object, State};

/// A job and the targets that it works on, on the way from one commit to the next.
pub(super) struct Transition<'a> {
    pub(super) state: &'a State,
    pub(super) req: &'a Request<'a>,
    pub(super) record: JobRecord,
    revision: u64,
    /// The targets that were looked at, as they become; `None` once one was taken out of the configuration.
    targets: BTreeMap<SvName, Option<TargetRecord>>,
    pub(super) more: Vec<Change>,
    pub(super) compare: Vec<Compare>,
}

impl<'a> Transition<'a> {
    pub(super) fn new(state: &'a State, req: &'a Request<'a>, job: &Object<JobRecord>) -> Self {
        Self {
            state,
            req,
            record: job.value.clone(),
            revision: job.revision,
            targets: BTreeMap::new(),
            more: Vec::new(),
            compare: Vec::new(),
        }
    }

    /// The target that a step works on, to be changed; none where it has none, or that is gone.
    pub(super) fn target(&mut self, step: usize) -> Option<(SvName, &mut TargetRecord)> {
        let svname = self.record.job.svname_of(step)?.clone();
        let target = self.named(&svname)?;
        Some((svname, target))
    }

    fn named(&mut self, svname: &SvName) -> Option<&mut TargetRecord> {
        let load = || self.state.targets.get(svname).map(|target| target.value.clone());
        self.targets.entry(svname.clone()).or_insert_with(load).as_mut()
    }

    /// The target is taken out of the configuration by this commit.
    pub(super) fn gone(&mut self, svname: SvName) {
        self.targets.insert(svname, None);
    }

    /// Ends a step; ends the job too where nothing is left to do.
    pub(super) fn end_step(&mut self, at: usize, outcome: JobState, message: Option<String>) {
        let step = &mut self.record.job.steps[at];
        step.state = outcome;
        step.message = message;
        step.ended = Some(self.req.now);
        let kind = step.kind;
        let why = format!("job {}: {} {}", self.record.job.id, kind.as_str(), outcome.as_str());
        let is_whole = self.record.job.svname().is_some();
        let node = self.record.job.steps[at].node.clone();
        let message = self.record.job.steps[at].message.clone().unwrap_or_default();
        match outcome {
            JobState::Done => self.step_done(at, kind),
            // The job's own target is told when the job ends; that of another job, by that one.
            _ if is_whole || kind == StepKind::Job => {}
            _ => {
                if let Some((_, target)) = self.target(at) {
                    let place = node.map(|node| format!(" on {node}")).unwrap_or_default();
                    target.state_reason = format!("{why}{place}: {message}");
                }
            }
        }
        self.settle();
    }

    fn step_done(&mut self, at: usize, kind: StepKind) {
        let state = self.state;
        let node = self.record.job.steps[at].node.clone();
        let who = self.record.job.who.clone();
        let Some((_, target)) = self.target(at) else { return };
        let node = node.unwrap_or_else(|| target.spec.node.clone());
        let (state, reason) = match kind {
            StepKind::Format => {
                (TargetState::Formatted, "its device is formatted; it waits to be registered".to_owned())
            }
            StepKind::Start => {
                target.runs_on = Some(node.clone()).filter(|node| *node != target.spec.node);
                (TargetState::Started, started(state, &node))
            }
            StepKind::Stop => (TargetState::Stopped, format!("stopped by {who}")),
            _ => return,
        };
        (target.state, target.state_reason) = (state, reason);
    }

    /// Gives up what will not begin any more, and ends the job where nothing is at work.
    pub(super) fn settle(&mut self) {
        let now = self.req.now;
        let job = &mut self.record.job;
        let is_broken = job.steps.iter().any(|step| matches!(step.state, JobState::Failed | JobState::Cancelled));
        if is_broken || job.state == JobState::Cancelling {
            for step in job.steps.iter_mut().filter(|step| step.state == JobState::Queued) {
                step.state = JobState::Cancelled;
                step.ended = Some(now);
            }
        }
        if job.state.is_final() || job.steps.iter().any(|step| !step.state.is_final()) {
            return;
        }
        let has = |state| job.steps.iter().any(|step| step.state == state);
        let outcome = match () {
            () if has(JobState::Failed) => JobState::Failed,
            () if has(JobState::Cancelled) => JobState::Cancelled,
            () => JobState::Done,
        };
        job.state = outcome;
        job.ended = Some(now);
        self.count_from_now();
        if outcome != JobState::Done {
            let undone = self.undo(outcome);
            self.say_why(outcome, &undone);
        }
    }

    /// What the job did and somebody has to confirm, goes back so long after its end: only now it can be tried out.
    fn count_from_now(&mut self) {
        let Some(within_s) = self.record.confirm_within_s else { return };
        let until = Time::from_unix_ms(self.req.now.unix_ms() + u64::from(within_s) * 1000);
        for at in 0..self.record.job.steps.len() {
            let kind = self.record.job.steps[at].kind;
            let Some((_, target)) = self.target(at) else { continue };
            match kind {
                StepKind::ReplaceNids => target.confirm_nids.iter_mut().for_each(|waits| waits.until = until),
                StepKind::FailoverNodes => target.confirm.iter_mut().for_each(|waits| waits.until = until),
                _ => {}
            }
        }
    }

    /// Why the job ended without its goal, for it and its target.
    fn say_why(&mut self, outcome: JobState, undone: &str) {
        let job = &mut self.record.job;
        let of = |state| job.steps.iter().find(|step| step.state == state && step.attempts > 0);
        let verb = if outcome == JobState::Cancelled { "was cancelled" } else { "failed" };
        let (place, why) = match of(JobState::Failed).or_else(|| of(JobState::Cancelled)) {
            Some(step) => {
                let node = step.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
                let svname = step.svname.as_ref().map(|svname| format!(" of {svname}")).unwrap_or_default();
                let place = format!("in its step {}{svname}{node}", step.kind.as_str());
                (place, format!("{}{}", step.message.clone().unwrap_or_default(), also_failed(self.state, job, step)))
            }
            None if job.steps.iter().any(|step| step.state == JobState::Done) => {
                ("between its steps".to_owned(), "what was done is not undone".to_owned())
            }
            None => ("before its first step".to_owned(), "cancelled before it began".to_owned()),
        };
        let colon = if why.is_empty() { "" } else { ": " };
        let error = format!("job {} on {} {verb} {place}{colon}{why}{undone}", job.id, job.object);
        // The whole says how to go on, for its parts too.
        let way_on = job.kind.way_on(&job.object).filter(|_| job.parent.is_none());
        let error = match way_on {
            Some(way_on) => format!("{error}; {way_on}"),
            None => error,
        };
        job.error = Some(error.clone());
        let (kind, id, svname) = (job.kind, job.id.clone(), job.svname().cloned());
        if let Some(target) = svname.and_then(|svname| self.named(&svname)) {
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

    /// What the node has of the kernel proxy now: with the end of the step, so that nobody plans with what was before.
    pub(super) fn proxied(&mut self, node: &NodeName, proxy: ProxyState) {
        let Some(known) = self.state.nodes.get(node) else { return };
        let mut record = known.value.clone();
        record.info.kernel_proxy = Some(proxy);
        if record != known.value {
            self.compare.push(as_read(Key::Node(node.clone()), known.revision));
            self.more.push(put(Key::Node(node.clone()), Record::Node(Box::new(record))));
        }
    }

    /// What a format left on the device, with a note; `None` when that is not the target.
    pub(super) fn formatted(&mut self, at: usize, result: &FormatResult) -> Option<Option<String>> {
        let on_disk = &result.formatted_as;
        let (svname, target) = self.target(at)?;
        if on_disk.svname != svname || on_disk.incomplete {
            return None;
        }
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

    /// What the device says after its label was written; false where that is not the target.
    pub(super) fn relabelled(&mut self, at: usize, on_disk: &FormattedAs) -> bool {
        let Some((svname, target)) = self.target(at) else { return false };
        if on_disk.svname != svname || on_disk.incomplete {
            return false;
        }
        target.label = Some(on_disk.label.clone());
        target.uuid.get_or_insert_with(|| on_disk.uuid.clone());
        true
    }

    /// Says what the next batch of an evacuation is, where the step is one.
    pub(super) fn give_out_batch(&mut self, at: usize) {
        let is_batch = self.record.job.steps[at].kind == StepKind::Migrate;
        let Some(svname) = self.record.job.svname_of(at).cloned().filter(|_| is_batch) else { return };
        let Some(evacuation) = &mut self.record.evacuation else { return };
        self.record.ops[at] = Some(evacuation.next(&svname, self.req.now));
    }

    /// Takes in how a batch of an evacuation ended; gives how the step ends, where it does.
    pub(super) fn take_in_batch(&mut self, at: usize, end: StepEnd) -> Option<StepEnd> {
        let now = self.req.now;
        let Some(evacuation) = &mut self.record.evacuation else { return Some(end) };
        let is_wanted = self.record.job.state != JobState::Cancelling;
        let why = || end.message.clone().unwrap_or_default();
        let verdict = match (end.state, &end.result) {
            (JobState::Done, Some(result)) => evacuation.done(now, result),
            (JobState::Cancelled, result) => {
                evacuation.stopped(now, result.as_ref());
                Verdict::GoOn
            }
            _ => evacuation.failed(now, &why()),
        };
        let summary = Some(evacuation.summary());
        match verdict {
            Verdict::Empty => Some(StepEnd { state: JobState::Done, message: summary, ..end }),
            Verdict::GiveUp(why) => Some(StepEnd { state: JobState::Failed, message: Some(why), ..end }),
            Verdict::GoOn if !is_wanted => Some(StepEnd { state: JobState::Cancelled, message: summary, ..end }),
            Verdict::GoOn => {
                let step = &mut self.record.job.steps[at];
                step.state = JobState::Queued;
                step.message = summary;
                None
            }
        }
    }

    /// Takes back what an evacuation set that ends without its goal; gives the words for it.
    fn undo(&mut self, outcome: JobState) -> String {
        let mut words = String::new();
        let Some(svname) = self.record.job.svname().cloned() else { return words };
        // Each is decided on what the one before leaves behind: both write the same logs.
        let mut scratch: Option<State> = None;
        for (tunable, done) in evacuate::to_undo(&self.record, outcome) {
            let state = scratch.as_ref().unwrap_or(self.state);
            let (mut compare, mut changes) = (Vec::new(), Vec::new());
            match evacuate::tunable(state, self.req, &svname, tunable, false, &mut compare, &mut changes) {
                Ok(()) => {
                    let mut after = state.clone();
                    changes.iter().for_each(|change| after.apply(self.state.revision + 1, change.clone()));
                    scratch = Some(after);
                    self.compare.extend(compare);
                    self.more.extend(changes);
                    words.push_str(&format!("; {done}"));
                }
                Err(problem) => words.push_str(&format!("; not taken back: {problem}")),
            }
        }
        words
    }

    /// Takes in the ends of the jobs that it waits for.
    pub(super) fn take_in_children(&mut self) {
        for at in 0..self.record.job.steps.len() {
            if self.record.job.steps[at].state != JobState::Running {
                continue;
            }
            let Some(id) = child(&self.record, at).cloned() else { continue };
            match self.state.jobs.get(&id).map(|child| &child.value.job) {
                Some(child) if !child.state.is_final() => {}
                Some(child) => self.end_step(at, child.state, child.error.clone()),
                None => self.end_step(at, JobState::Failed, Some(format!("there is no job {id} any more"))),
            }
        }
        self.settle();
    }

    /// Whether a step of this kind is done for the same target.
    pub(super) fn is_done(&self, kind: StepKind, svname: &SvName) -> bool {
        let job = &self.record.job;
        let is_it = |at: &usize| job.steps[*at].kind == kind && job.svname_of(*at) == Some(svname);
        (0..job.steps.len()).filter(is_it).any(|at| job.steps[at].state == JobState::Done)
    }

    /// What is committed: nothing where nothing changed.
    pub(super) fn decide(mut self, what: &str) -> Decision<()> {
        let id = self.record.job.id.clone();
        let before = self.state.jobs.get(&id).map(|job| &job.value);
        if before == Some(&self.record) && self.more.is_empty() {
            return Decision::nothing();
        }
        for (svname, target) in std::mem::take(&mut self.targets) {
            let (Some(before), Some(after)) = (self.state.targets.get(&svname), target) else { continue };
            if before.value != after {
                self.compare.push(as_read(Key::Target(svname.clone()), before.revision));
                self.more.push(put(Key::Target(svname), Record::Target(Box::new(after))));
            }
        }
        if self.record.job.state.is_final() {
            for object in std::mem::take(&mut self.record.holds) {
                self.more.push(remove(Key::Hold(object)));
            }
        }
        self.compare.push(as_read(Key::Job(id.clone()), self.revision));
        self.more.push(put(Key::Job(id.clone()), Record::Job(Box::new(self.record))));
        let what = self.req.describe(format!("{what} of job {id}"));
        Decision { compare: self.compare, changes: self.more, what, reply: () }
    }
}

/// The nodes of other steps that failed, and of those that the jobs of other steps have.
fn also_failed(state: &State, job: &Job, first: &Step) -> String {
    let others = job.steps.iter().filter(|step| step.state == JobState::Failed && !std::ptr::eq(*step, first));
    let parts = |step: &Step| state.jobs.get(step.job.as_ref()?).map(|part| &part.value.job.steps);
    let of_parts = others.clone().filter_map(parts).flatten().filter(|step| step.state == JobState::Failed);
    let nodes: Vec<&str> = others.chain(of_parts).filter_map(|step| Some(step.node.as_ref()?.as_str())).collect();
    let more = if nodes.len() > 20 { format!(" and {} more", nodes.len() - 20) } else { String::new() };
    match nodes.is_empty() {
        true => String::new(),
        false => format!("; it failed on {}{more}, too", nodes[..nodes.len().min(20)].join(", ")),
    }
}

/// What started means on a node.
pub(super) fn started(state: &State, node: &NodeName) -> String {
    match state.nodes.get(node).map(|node| node.value.info.start_driver) {
        Some(StartDriver::Userspace) => format!("started on {node} by the userspace driver: it serves no file I/O"),
        _ => format!("mounted on {node}"),
    }
}

/// A step of the MGS itself that can't be done.
pub(super) fn refused(problem: &Problem) -> (JobState, Option<String>) {
    (JobState::Failed, Some(problem.to_string()))
}
