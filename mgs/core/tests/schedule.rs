//! A schedule that is kept over any history gives what is due and nothing else, fairly and within the limits.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::agent::{AgentOp, StartDriver, StopOp};
use lustre_api::agent_ops::StopForce;
use lustre_api::job::{JobId, JobKind, JobObject, JobState, StepKind};
use lustre_api::node::NodeSettings;
use lustre_mgs_core::decide::job::{self, Limits, NewJob, NewStep, Order, Schedule, StepEnd, Task, Work};
use lustre_mgs_core::{Decision, OwnAct, decide};
use proptest::prelude::*;
use sim::Sim;

const LIMITS: Limits = Limits { per_node: 2, per_enclosure: 3, per_filesystem: 3 };
const NODES: [&str; 4] = ["oss1", "oss2", "oss3", "oss4"];
const FILESYSTEMS: [&str; 3] = ["alpha", "beta", "gamma"];
/// Steps of each job.
const STEPS: usize = 4;

/// What happens next; numbers pick among what there is.
#[derive(Clone, Debug)]
enum Act {
    /// A job on this file system, its steps on nodes by these numbers; each comes after the one before it, or after nothing.
    Start {
        fs: usize,
        on: [usize; STEPS],
        chain: bool,
    },
    /// A job that runs two jobs at once.
    StartParent {
        on: [usize; STEPS],
    },
    /// The runner looks.
    Look,
    /// A task is done or fails.
    Finish {
        pick: usize,
        fails: bool,
    },
    /// A commit is refused, as when the store is away.
    Refuse {
        pick: usize,
    },
    Cancel {
        pick: usize,
    },
    Retry {
        pick: usize,
    },
    /// A person drains a node, takes that back, gives it a window, or moves it to another enclosure.
    Settle {
        node: usize,
        how: usize,
    },
    /// Hours go by; or back.
    Time {
        hour: u64,
    },
    /// Another runner takes over.
    Crash,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let pick = 0..64usize;
    let on = prop::array::uniform4(0..NODES.len());
    let act = prop_oneof![
        4 => (0..FILESYSTEMS.len(), on.clone(), any::<bool>()).prop_map(|(fs, on, chain)| Act::Start { fs, on, chain }),
        1 => on.prop_map(|on| Act::StartParent { on }),
        8 => Just(Act::Look),
        12 => (pick.clone(), prop::bool::weighted(0.1)).prop_map(|(pick, fails)| Act::Finish { pick, fails }),
        1 => pick.clone().prop_map(|pick| Act::Refuse { pick }),
        1 => pick.clone().prop_map(|pick| Act::Cancel { pick }),
        1 => pick.prop_map(|pick| Act::Retry { pick }),
        1 => (0..NODES.len(), 0..5usize).prop_map(|(node, how)| Act::Settle { node, how }),
        1 => (0..48u64).prop_map(|hour| Act::Time { hour }),
        1 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 0..120)
}

/// A runner that carries its orders out when the history says so.
struct World {
    sim: Sim,
    schedule: Schedule,
    under_way: BTreeMap<Task, Work>,
    /// Steps may have been admitted that wait for the end of a transition of their job.
    is_waiting: bool,
    jobs: usize,
}

impl World {
    fn new() -> Self {
        let mut sim = Sim::new();
        for (at, name) in NODES.iter().enumerate() {
            sim.node_at(name, StartDriver::None, &format!("10.0.1.{}@tcp", at + 1));
            settle(&mut sim, name, shelf(at / 2));
        }
        FILESYSTEMS.iter().for_each(|name| sim.filesystem(name));
        Self { sim, schedule: Schedule::new(LIMITS), under_way: BTreeMap::new(), is_waiting: false, jobs: 0 }
    }

    fn now(&self) -> Time {
        Time::from_unix_ms(self.sim.now_ms)
    }

    fn commit<R>(&mut self, decision: Result<Decision<R>, lustre_api::Problem>) {
        if let Ok(decision) = decision {
            let _ = self.sim.commit(decision);
        }
    }

    fn start(&mut self, new: NewJob) {
        let req = self.sim.env_request();
        let decision = job::request(&self.sim.state, &req, new);
        self.commit(decision);
    }

    fn name(&mut self) -> JobId {
        self.jobs += 1;
        format!("job-{}", self.jobs).parse().unwrap()
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Start { fs, on, chain } => {
                // On a node, so that a file system may have many; its steps are of targets of the file system.
                let step = |at: &usize| {
                    let step = stop(NODES[*at], FILESYSTEMS[*fs]);
                    if *chain { step } else { step.after([]) }
                };
                let name = self.name();
                let object = JobObject::Node(format!("n{}", self.jobs).parse().unwrap());
                self.start(new_job(name, object, None, on.iter().map(step).collect()));
            }
            Act::StartParent { on } => {
                let (parent, first, second) = (self.name(), self.name(), self.name());
                let run = |id: &JobId| NewStep::own(StepKind::Job, OwnAct::Job(id.clone())).after([]);
                let object =
                    |world: &Self, at: usize| JobObject::Node(format!("p{}-{at}", world.jobs).parse().unwrap());
                self.start(new_job(parent.clone(), object(self, 0), None, vec![run(&first), run(&second)]));
                for (at, child) in [first, second].into_iter().enumerate() {
                    let steps = on.iter().map(|node| stop(NODES[*node], FILESYSTEMS[at])).collect();
                    self.start(new_job(child, object(self, at + 1), Some(parent.clone()), steps));
                }
            }
            Act::Look => self.look()?,
            Act::Finish { pick, fails } => self.finish(*pick, *fails),
            Act::Refuse { pick } => {
                let transitions = self.under_way.keys().filter(|task| matches!(task, Task::Transition(_)));
                if let Some(task) = nth(&transitions.cloned().collect::<Vec<_>>(), *pick) {
                    self.under_way.remove(&task);
                    self.schedule.over(&task);
                }
            }
            Act::Cancel { pick } => {
                if let Some(id) = nth(&self.sim.state.open_jobs.iter().cloned().collect::<Vec<_>>(), *pick) {
                    self.sim.cancel(&id);
                }
            }
            Act::Retry { pick } => {
                if let Some(id) = nth(&self.sim.state.jobs.keys().cloned().collect::<Vec<_>>(), *pick) {
                    let req = self.sim.env_request();
                    let decision = job::retry(&self.sim.state, &req, &id);
                    self.commit(decision);
                }
            }
            Act::Settle { node, how } => {
                let before = self.sim.state.nodes[&NODES[*node].parse().unwrap()].value.settings.clone();
                let settings = match how {
                    0 => NodeSettings { drained: Some(String::new()), ..before },
                    1 | 2 => shelf(*node / 2),
                    3 => NodeSettings { windows: vec!["22:00-06:00".parse().unwrap()], ..before },
                    _ => shelf(*node % 2),
                };
                settle(&mut self.sim, NODES[*node], settings);
            }
            Act::Time { hour } => self.sim.now_ms = hour * 3_600_000,
            Act::Crash => {
                self.under_way.clear();
                self.is_waiting = false;
                self.schedule = Schedule::new(LIMITS);
            }
        }
        Ok(())
    }

    /// Does what one task is for.
    fn finish(&mut self, pick: usize, fails: bool) {
        let Some(task) = nth(&self.under_way.keys().cloned().collect::<Vec<_>>(), pick) else { return };
        let work = self.under_way.remove(&task).unwrap();
        let req = self.sim.env_request();
        let state = &self.sim.state;
        let decision = match &work {
            Work::Begin { id, steps } => job::begin(state, &req, id, steps),
            Work::Settle(id) => job::settle(state, &req, id),
            Work::Cancel(id) => job::cancel(state, &req, id).map(|decision| decision.map(drop)),
            Work::Hand(hand) => {
                let outcome = match (hand.cancel, fails) {
                    (true, _) => JobState::Cancelled,
                    (false, true) => JobState::Failed,
                    (false, false) => JobState::Done,
                };
                job::end(state, &req, &hand.id, hand.step, StepEnd::new(outcome, None))
            }
        };
        self.commit(decision);
        self.schedule.over(&task);
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        let is_quiet = !self.under_way.keys().any(|task| matches!(task, Task::Transition(_)));
        let expected = self.fair();
        let mut begun = BTreeSet::new();
        for order in self.schedule.look(&self.sim.state, self.now()) {
            match order {
                Order::Do(work) => {
                    if let Work::Begin { id, steps } = &work {
                        let with_node = |at: &&usize| self.sim.state.jobs[id].value.job.steps[**at].node.is_some();
                        begun.extend(steps.iter().filter(with_node).map(|at| (id.clone(), *at)));
                    }
                    let task = work.task();
                    let before = self.under_way.insert(task.clone(), work);
                    prop_assert!(before.is_none(), "{:?} is ordered twice", task);
                }
                Order::Tell { task, cancel } => match self.under_way.get_mut(&task) {
                    Some(Work::Hand(hand)) => hand.cancel = cancel,
                    other => prop_assert!(false, "{task:?} is told, and is {other:?}"),
                },
                Order::Leave(task) => prop_assert!(self.under_way.remove(&task).is_some(), "{task:?} is left twice"),
                Order::Ended(id) => prop_assert!(self.sim.state.jobs[&id].value.job.state.is_final()),
            }
        }
        let was_waiting = std::mem::replace(&mut self.is_waiting, !is_quiet);
        if is_quiet && !was_waiting {
            prop_assert_eq!(begun, expected, "what begins, and in which order, is known");
        }
        self.check_all_is_under_way()?;
        self.check_limits()
    }

    /// What is due according to the state alone is under way, and nothing else is.
    fn check_all_is_under_way(&self) -> Result<(), TestCaseError> {
        let mut steps = BTreeMap::new();
        for record in self.sim.state.open_jobs().map(|job| &job.value) {
            let transition = self.under_way.get(&Task::Transition(record.job.id.clone()));
            for work in job::work_of(&self.sim.state, record) {
                match &work {
                    Work::Hand(hand) => drop(steps.insert(work.task(), hand.cancel)),
                    Work::Settle(_) | Work::Cancel(_) => prop_assert!(transition.is_some(), "{:?} is forgotten", work),
                    Work::Begin { steps, .. } if transition.is_none() => {
                        let held_back = job::held_back(&self.sim.state, &LIMITS, self.now(), record);
                        // What is about to begin is not in the state yet, and may be what it waits for.
                        let is_quiet = !self.under_way.keys().any(|task| matches!(task, Task::Transition(_)));
                        let waits = steps.iter().all(|at| held_back.contains_key(at));
                        prop_assert!(waits || !is_quiet, "{:?} may begin: {:?}", steps, record.job);
                    }
                    Work::Begin { .. } => {}
                }
            }
        }
        let under_way = self.under_way.iter().filter_map(|(task, work)| match work {
            Work::Hand(hand) => Some((task.clone(), hand.cancel)),
            _ => None,
        });
        prop_assert_eq!(under_way.collect::<BTreeMap<_, _>>(), steps);
        Ok(())
    }

    /// Steps at work or about to be, by node and by file system.
    fn load(&self) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        let (mut nodes, mut filesystems) = (BTreeMap::new(), BTreeMap::new());
        for record in self.sim.state.open_jobs().map(|job| &job.value) {
            let begun = match self.under_way.get(&Task::Transition(record.job.id.clone())) {
                Some(Work::Begin { steps, .. }) => steps.clone(),
                _ => Vec::new(),
            };
            for (at, step) in record.job.steps.iter().enumerate() {
                let is_counted = step.state == JobState::Running || !step.state.is_final() && begun.contains(&at);
                if let Some(node) = step.node.as_ref().filter(|_| is_counted) {
                    *nodes.entry(node.to_string()).or_default() += 1;
                    let fsname = record.job.svname_of(at).and_then(|svname| svname.fsname()).unwrap();
                    *filesystems.entry(fsname.to_string()).or_default() += 1;
                }
            }
        }
        (nodes, filesystems)
    }

    fn check_limits(&self) -> Result<(), TestCaseError> {
        let (nodes, filesystems) = self.load();
        prop_assert!(nodes.values().all(|busy| *busy <= LIMITS.per_node), "{:?}", nodes);
        prop_assert!(filesystems.values().all(|busy| *busy <= LIMITS.per_filesystem), "{:?}", filesystems);
        Ok(())
    }

    /// What may begin, found the long way: one step after the other, on the file system with the least at work, of the oldest job.
    fn fair(&self) -> BTreeSet<(JobId, usize)> {
        let (mut nodes, mut filesystems) = self.load();
        let settings = |node: &str| self.sim.state.nodes[&node.parse().unwrap()].value.settings.clone();
        let mut shelves: BTreeMap<String, usize> = BTreeMap::new();
        for (node, busy) in &nodes {
            *shelves.entry(settings(node).enclosure.unwrap()).or_default() += busy;
        }
        let mut waiting = Vec::new();
        for record in self.sim.state.open_jobs().map(|job| &job.value) {
            let is_settling = job::work_of(&self.sim.state, record)
                .iter()
                .any(|work| matches!(work, Work::Settle(_) | Work::Cancel(_)));
            for at in job::ready(&self.sim.state, record).into_iter().filter(|_| !is_settling) {
                let Some(node) = record.job.steps[at].node.as_ref() else { continue };
                let fsname = record.job.svname_of(at).and_then(|svname| svname.fsname()).unwrap().to_string();
                waiting.push((fsname, record.job.created, record.job.id.clone(), at, node.to_string()));
            }
        }
        let mut begin = BTreeSet::new();
        loop {
            let busy = |counts: &BTreeMap<String, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
            let may = |(fsname, _, _, _, node): &&(String, Time, JobId, usize, String)| {
                let settings = settings(node);
                settings.drained.is_none()
                    && settings.is_open(self.now())
                    && busy(&nodes, node) < LIMITS.per_node
                    && busy(&shelves, settings.enclosure.as_ref().unwrap()) < LIMITS.per_enclosure
                    && busy(&filesystems, fsname) < LIMITS.per_filesystem
            };
            let next = waiting.iter().filter(may).min_by_key(|step| (busy(&filesystems, &step.0), *step)).cloned();
            let Some(next) = next else { return begin };
            waiting.retain(|step| *step != next);
            let (fsname, _, id, at, node) = next;
            *shelves.entry(settings(&node).enclosure.unwrap()).or_default() += 1;
            *nodes.entry(node).or_default() += 1;
            *filesystems.entry(fsname).or_default() += 1;
            begin.insert((id, at));
        }
    }
}

fn nth<T: Clone>(all: &[T], pick: usize) -> Option<T> {
    all.get(pick.checked_rem(all.len())?).cloned()
}

fn shelf(number: usize) -> NodeSettings {
    NodeSettings { enclosure: Some(format!("shelf{number}")), ..NodeSettings::default() }
}

fn settle(sim: &mut Sim, node: &str, settings: NodeSettings) {
    let req = sim.env_request();
    let decision = decide::node::settings(&sim.state, &req, &node.parse().unwrap(), settings).unwrap();
    sim.commit(decision).unwrap();
}

fn stop(node: &str, fsname: &str) -> NewStep {
    let svname: lustre_types::SvName = format!("{fsname}-OST0000").parse().unwrap();
    let op = StopOp {
        svname: svname.clone(),
        device: "/dev/sdb".into(),
        timeout_s: None,
        force: StopForce::Never,
        export_pool: false,
    };
    NewStep::on(node.parse().unwrap(), StepKind::Stop, AgentOp::Stop(op)).of(svname)
}

fn new_job(name: JobId, object: JobObject, parent: Option<JobId>, steps: Vec<NewStep>) -> NewJob {
    NewJob { name: Some(name), parent, ..NewJob::new(JobKind::StopTarget, object, steps) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn a_kept_schedule_orders_what_is_due_fairly_and_ends_every_job(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            world.act(act)?;
        }
        // Everybody lets them go on now: all come to an end.
        for node in 0..NODES.len() {
            world.act(&Act::Settle { node, how: 1 })?;
        }
        for _ in 0..20 * STEPS * (world.jobs + 1) {
            world.look()?;
            world.finish(0, false);
            if world.sim.state.open_jobs.is_empty() {
                break;
            }
        }
        prop_assert!(world.sim.state.open_jobs.is_empty(), "{:?}", world.under_way);
        world.look()?;
        prop_assert!(world.under_way.is_empty(), "{:?}", world.under_way);
    }
}
