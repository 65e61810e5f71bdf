//! What there is to do for all jobs, kept from one look to the next: each look costs what has changed since, not what there is.
//!
//! A schedule belongs to whoever carries its orders out, and lives as long. What it holds follows from the state and from what
//! is under way, so a new one begins where another ended.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::job::{JobId, JobState};

use super::lanes::{Lanes, Waiting};
use super::limits::{Lane, Limits};
use super::work::{Hand, Work, work_of};
use crate::record::{JobRecord, OwnAct};
use crate::state::State;

/// Something under way for a job. There is at most one transition of a job at a time, and one task for each attempt at a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// A commit that moves the job on.
    Transition(JobId),
    /// The attempt of this number at the step at this place, at work on its node.
    Step(JobId, usize, u32),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Set about this, and say [`Schedule::over`] when it is over, whatever came of it.
    Do(Work),
    /// Let a task know whether its job is cancelled by now.
    Tell {
        /// The task: a step.
        task: Task,
        /// Whether the agent is to stop.
        cancel: bool,
    },
    /// Drop a task: somebody else moved the step on.
    Leave(Task),
    /// The job is over.
    Ended(JobId),
}

/// What there is to do, and what is under way.
pub struct Schedule {
    limits: Limits,
    /// The revision that was looked at last; none before the first look.
    seen: Option<u64>,
    /// Jobs that are to be looked at.
    touched: BTreeSet<JobId>,
    /// The open jobs.
    jobs: BTreeMap<JobId, Known>,
    /// Transitions under way, with the steps that they begin. They outlive their jobs: one may be tried again at once.
    transitions: BTreeMap<JobId, Vec<usize>>,
    lanes: Lanes,
}

/// An open job, as it was seen last.
#[derive(Default)]
struct Known {
    /// Steps that may begin, and have not begun yet.
    begun: BTreeSet<usize>,
    /// Steps that wait in lanes.
    waiting: BTreeMap<usize, (Lane, Waiting)>,
    /// Steps that count as at work.
    counted: BTreeMap<usize, Lane>,
    /// Steps that agents have, by attempt, and whether they are told to stop.
    handed: BTreeMap<usize, (u32, bool)>,
    /// Its steps that run jobs, as those jobs know them: whether it is being cancelled, and the step's state.
    parts: BTreeMap<JobId, (bool, JobState)>,
}

impl Schedule {
    /// A schedule that knows of nothing under way.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            seen: None,
            touched: BTreeSet::new(),
            jobs: BTreeMap::new(),
            transitions: BTreeMap::new(),
            lanes: Lanes::new(limits, &State::default()),
        }
    }

    /// What is to be done now that was not ordered before.
    pub fn look(&mut self, state: &State, now: Time) -> Vec<Order> {
        match self.seen {
            Some(seen) if !self.lanes.are_stale(state, seen) => {
                self.touched.extend(state.jobs_by_revision.since(seen).cloned());
            }
            _ => self.begin_anew(state),
        }
        self.seen = Some(state.revision);
        let mut orders = Vec::new();
        let mut begin = self.examine_touched(state, &mut orders);
        if self.jobs.len() != state.open_jobs.len() {
            // Jobs are gone without a trace, as after a gap in the history.
            self.begin_anew(state);
            begin.extend(self.examine_touched(state, &mut orders));
        }
        for (lane, step) in self.lanes.admit(now) {
            let Some(known) = self.jobs.get_mut(&step.id) else { continue };
            known.waiting.remove(&step.step);
            known.begun.insert(step.step);
            known.counted.insert(step.step, lane);
            begin.insert(step.id);
        }
        for id in begin {
            self.begin(&id, &mut orders);
        }
        orders
    }

    /// A task is over. What it was for is looked at again: it may have come to nothing.
    pub fn over(&mut self, task: &Task) {
        let id = match task {
            Task::Transition(id) => {
                let begun = self.transitions.remove(id).unwrap_or_default();
                if let Some(known) = self.jobs.get_mut(id) {
                    known.begun.retain(|step| !begun.contains(step));
                }
                id
            }
            Task::Step(id, step, attempt) => {
                if let Some(known) = self.jobs.get_mut(id)
                    && known.handed.get(step).is_some_and(|(handed, _)| handed == attempt)
                {
                    known.handed.remove(step);
                }
                id
            }
        };
        self.touched.insert(id.clone());
    }

    /// What is known stays, and is counted again.
    fn begin_anew(&mut self, state: &State) {
        self.lanes = Lanes::new(self.limits, state);
        for known in self.jobs.values_mut() {
            known.counted.clear();
            known.waiting.clear();
        }
        self.touched.extend(self.jobs.keys().chain(&state.open_jobs).cloned());
    }

    /// Gives the jobs that may have steps to begin.
    fn examine_touched(&mut self, state: &State, orders: &mut Vec<Order>) -> BTreeSet<JobId> {
        let mut begin = BTreeSet::new();
        while let Some(id) = self.touched.pop_first() {
            match state.jobs.get(&id).map(|job| &job.value).filter(|record| !record.job.state.is_final()) {
                Some(record) => {
                    self.examine(state, record, orders);
                    begin.insert(id);
                }
                None => self.forget(state, id, orders),
            }
        }
        begin
    }

    fn examine(&mut self, state: &State, record: &JobRecord, orders: &mut Vec<Order>) {
        let id = &record.job.id;
        let known = self.jobs.entry(id.clone()).or_default();
        let (mut ready, mut hands, mut transition) = (Vec::new(), Vec::new(), None);
        for work in work_of(state, record) {
            match work {
                Work::Begin { steps, .. } => ready = steps,
                Work::Hand(hand) => hands.push(hand),
                work => transition = transition.or(Some(work)),
            }
        }
        known.hand_out(id, hands, orders);
        // What a transition under way begins may begin still, whatever has become of the job meanwhile.
        let sent = self.transitions.get(id);
        known.begun.retain(|step| ready.contains(step) || sent.is_some_and(|sent| sent.contains(step)));
        // What the MGS does itself waits for nobody.
        known.begun.extend(ready.iter().filter(|step| record.job.steps[**step].node.is_none()));
        known.count(record, &mut self.lanes);
        known.wait(record, &ready, &mut self.lanes);
        self.touched.extend(known.tell_parts(record));
        if let Some(work) = transition.filter(|_| !self.transitions.contains_key(id)) {
            self.transitions.insert(id.clone(), Vec::new());
            orders.push(Order::Do(work));
        }
    }

    /// Orders that the steps which may begin do, unless the job has a transition under way: then after that.
    fn begin(&mut self, id: &JobId, orders: &mut Vec<Order>) {
        let Some(known) = self.jobs.get(id).filter(|known| !known.begun.is_empty()) else { return };
        if let std::collections::btree_map::Entry::Vacant(free) = self.transitions.entry(id.clone()) {
            let steps: Vec<usize> = known.begun.iter().copied().collect();
            free.insert(steps.clone());
            orders.push(Order::Do(Work::Begin { id: id.clone(), steps }));
        }
    }

    /// The job is over, or gone.
    fn forget(&mut self, state: &State, id: JobId, orders: &mut Vec<Order>) {
        let parent = state.jobs.get(&id).and_then(|job| job.value.job.parent.clone());
        self.touched.extend(parent.filter(|parent| self.jobs.contains_key(parent)));
        let Some(mut known) = self.jobs.remove(&id) else { return };
        known.counted.values().for_each(|lane| self.lanes.uncount(lane));
        known.waiting.values().for_each(|(lane, step)| self.lanes.leave(lane, step));
        known.hand_out(&id, Vec::new(), orders);
        self.touched.extend(known.parts.into_keys());
        orders.push(Order::Ended(id));
    }
}

impl Known {
    /// Has agents have these steps, and no others.
    fn hand_out(&mut self, id: &JobId, hands: Vec<Hand>, orders: &mut Vec<Order>) {
        let mut before = std::mem::take(&mut self.handed);
        for hand in hands {
            let (attempt, cancel) = (hand.attempt, hand.cancel);
            self.handed.insert(hand.step, (attempt, cancel));
            match before.remove(&hand.step) {
                Some(known) if known == (attempt, cancel) => {}
                Some((known, _)) if known == attempt => {
                    orders.push(Order::Tell { task: Task::Step(id.clone(), hand.step, attempt), cancel });
                }
                known => {
                    orders.extend(known.map(|(old, _)| Order::Leave(Task::Step(id.clone(), hand.step, old))));
                    orders.push(Order::Do(Work::Hand(hand)));
                }
            }
        }
        let left = before.into_iter().map(|(step, (attempt, _))| Task::Step(id.clone(), step, attempt));
        orders.extend(left.map(Order::Leave));
    }

    /// Counts the steps that are at work or about to be, and no others.
    fn count(&mut self, record: &JobRecord, lanes: &mut Lanes) {
        let is_counted = |step: &usize| record.job.steps[*step].state == JobState::Running || self.begun.contains(step);
        let counted: BTreeMap<usize, Lane> = (0..record.job.steps.len())
            .filter(is_counted)
            .filter_map(|step| Some((step, Lane::of(record, step)?)))
            .collect();
        for (step, lane) in &counted {
            if !self.counted.contains_key(step) {
                lanes.count(lane);
            }
        }
        for (step, lane) in std::mem::replace(&mut self.counted, counted) {
            if !self.counted.contains_key(&step) {
                lanes.uncount(&lane);
            }
        }
    }

    /// Has the ready steps wait that may not begin yet, and no others.
    fn wait(&mut self, record: &JobRecord, ready: &[usize], lanes: &mut Lanes) {
        let waits = |step: &usize| !self.begun.contains(step) && ready.binary_search(step).is_ok();
        self.waiting.retain(|step, (lane, waiting)| {
            let stays = waits(step);
            if !stays {
                lanes.leave(lane, waiting);
            }
            stays
        });
        for step in ready.iter().copied().filter(|step| !self.begun.contains(step)) {
            if let std::collections::btree_map::Entry::Vacant(free) = self.waiting.entry(step)
                && let Some(lane) = Lane::of(record, step)
            {
                let waiting = Waiting { created: record.job.created, id: record.job.id.clone(), step };
                lanes.wait(&lane, waiting.clone());
                free.insert((lane, waiting));
            }
        }
    }

    /// The jobs that it runs and that see it otherwise than before.
    fn tell_parts(&mut self, record: &JobRecord) -> Vec<JobId> {
        let is_cancelling = record.job.state == JobState::Cancelling;
        let parts = record.own.iter().filter_map(|(step, act)| match act {
            OwnAct::Job(id) => Some((id, (is_cancelling, record.job.steps.get(*step)?.state))),
            _ => None,
        });
        let is_news = |(id, seen): (&JobId, (bool, JobState))| {
            (self.parts.insert(id.clone(), seen) != Some(seen)).then(|| id.clone())
        };
        parts.filter_map(is_news).collect()
    }
}
