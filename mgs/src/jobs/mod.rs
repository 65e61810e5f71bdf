//! The job runner: begins steps, hands them to agents, and takes in how they ended.
//!
//! One loop asks the core what there is to do for all jobs and keeps one task per thing under way, so any number of ready
//! steps run at once. Every transition is a commit before the act, and agents know a step by its name: after kill -9 the same
//! steps are handed out again and nothing runs twice. Of several instances on one store, one runs the jobs.

pub mod progress;
mod step;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lustre_api::Problem;
use lustre_api::job::JobId;
use lustre_mgs_core::decide::job::{self, Work};
use lustre_mgs_core::{Decision, Request, State};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info, warn};

use crate::agents::Agents;
use crate::engine::{Caller, Engine};
use crate::ownership::Ownership;
use progress::Board;

/// Everything that running jobs takes.
pub struct Runner {
    /// The MGS.
    pub engine: Arc<Engine>,
    /// The nodes.
    pub agents: Arc<dyn Agents>,
    /// Where progress is shown.
    pub board: Arc<Board>,
}

/// How often to look for steps whose time has come, where nothing else happens.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How many times as long as a look took nobody looks again.
const REST: u32 = 3;

/// Something under way. At most one transition of a job, and one task for each attempt at a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Task {
    Transition(JobId),
    Step(JobId, usize, u32),
}

/// A task and how to tell it that its job was cancelled.
struct Running {
    abort: AbortHandle,
    cancel: watch::Sender<bool>,
    /// The steps that it is about to begin.
    begins: Vec<usize>,
}

impl Runner {
    /// Runs every job that is not over whenever this instance owns that, until the task is dropped. Jobs stay as they are then,
    /// and go on next time, or by another instance.
    pub async fn run(self: Arc<Self>, ownership: Arc<Ownership>) {
        ownership.run("jobs", |guard| self.clone().run_as(Caller::owner(guard))).await;
    }

    async fn run_as(self: Arc<Self>, owner: Caller) {
        let mut applied = self.engine.applied();
        let mut running: HashMap<Task, Running> = HashMap::new();
        let mut tasks: JoinSet<Task> = JoinSet::new();
        let mut open = BTreeSet::new();
        loop {
            let began = Instant::now();
            let work = {
                let state = self.engine.state();
                self.tell_of_ended(&state, &mut open);
                let begun = running.iter().filter_map(|(task, known)| match task {
                    Task::Transition(id) if !known.begins.is_empty() => Some((id.clone(), known.begins.clone())),
                    _ => None,
                });
                job::work(&state, &self.engine.env().limits, crate::clock::now(), &begun.collect())
            };
            self.reconcile(&owner, work, &mut running, &mut tasks);
            // Changes come in crowds. Looking at thousands of jobs after each of them would keep the changes waiting.
            let rest = began.elapsed() * REST;
            if rest >= Duration::from_millis(1) {
                tokio::time::sleep(rest).await;
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                // A maintenance window may have begun.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                Some(ended) = tasks.join_next_with_id() => match ended {
                    Ok((_, task)) => drop(running.remove(&task)),
                    // Aborted: somebody else moved the step on.
                    Err(err) if err.is_cancelled() => running.retain(|_, task| task.abort.id() != err.id()),
                    Err(err) => {
                        error!(error = %err, "a job's task ended unexpectedly");
                        running.retain(|_, task| task.abort.id() != err.id());
                    }
                },
            }
        }
    }

    /// Has a task for everything that is to be done, and for nothing else.
    fn reconcile(
        self: &Arc<Self>,
        owner: &Caller,
        work: Vec<Work>,
        running: &mut HashMap<Task, Running>,
        tasks: &mut JoinSet<Task>,
    ) {
        let mut wanted = BTreeSet::new();
        for work in work {
            let (task, cancelled) = match &work {
                Work::Begin { id, .. } | Work::Settle(id) | Work::Cancel(id) => (Task::Transition(id.clone()), false),
                Work::Hand(hand) => (Task::Step(hand.id.clone(), hand.step, hand.attempt), hand.cancel),
            };
            if let Task::Step(id, step, attempt) = &task {
                wanted.insert((id.clone(), *step, *attempt));
            }
            if let Some(known) = running.get(&task) {
                known.cancel.send_if_modified(|flag| std::mem::replace(flag, cancelled) != cancelled);
                continue;
            }
            let (cancel, is_cancelled) = watch::channel(cancelled);
            let begins = match &work {
                Work::Begin { steps, .. } => steps.clone(),
                _ => Vec::new(),
            };
            let abort = tasks.spawn(self.clone().carry_out(owner.clone(), task.clone(), work, is_cancelled));
            running.insert(task, Running { abort, cancel, begins });
        }
        running.retain(|task, known| match task {
            Task::Step(id, step, attempt) if !wanted.contains(&(id.clone(), *step, *attempt)) => {
                known.abort.abort();
                false
            }
            _ => true,
        });
    }

    async fn carry_out(
        self: Arc<Self>,
        owner: Caller,
        task: Task,
        work: Work,
        cancelled: watch::Receiver<bool>,
    ) -> Task {
        let owner = &owner;
        match work {
            Work::Begin { id, steps } => {
                self.commit(owner, &id, |state, req| job::begin(state, req, &id, &steps)).await
            }
            Work::Settle(id) => self.commit(owner, &id, |state, req| job::settle(state, req, &id)).await,
            Work::Cancel(id) => {
                self.commit(owner, &id, |state, req| Ok(job::cancel(state, req, &id)?.map(drop))).await;
            }
            Work::Hand(hand) => {
                let end = step::drive(&self, &hand, cancelled).await;
                self.commit(owner, &hand.id, |state, req| job::end(state, req, &hand.id, hand.step, end.clone())).await;
            }
        }
        task
    }

    /// Commits a transition; where that can't be now, the loop asks for it again after a moment.
    async fn commit(
        &self,
        owner: &Caller,
        id: &JobId,
        decide: impl Fn(&State, &Request<'_>) -> Result<Decision<()>, Problem>,
    ) {
        if let Err(problem) = self.engine.write_as(owner, decide).await {
            warn!(job_id = %id, error = %problem, "job can't go on now, will try again");
            tokio::time::sleep(step::RETRY).await;
        }
    }

    /// Logs the end of jobs that were open before.
    fn tell_of_ended(&self, state: &State, open: &mut BTreeSet<JobId>) {
        for id in open.difference(&state.open_jobs) {
            self.board.forget(id);
            let Some(job) = state.jobs.get(id).map(|job| &job.value.job) else { continue };
            let (outcome, error) = (job.state.as_str(), job.error.as_deref().unwrap_or(""));
            info!(job_id = %id, object = %job.object, state = outcome, error, "job ended");
        }
        if *open != state.open_jobs {
            open.clone_from(&state.open_jobs);
        }
    }
}
