//! The job runner: begins steps, hands them to agents, and takes in how they ended.
//!
//! One loop asks the core's [`Schedule`] what there is to do and keeps one task per thing under way, so any number of ready
//! steps run at once. Every transition is a commit before the act, and agents know a step by its name: after kill -9 the same
//! steps are handed out again and nothing runs twice. Of several instances on one store, one runs the jobs.

pub mod progress;
mod step;
pub(crate) mod waiters;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lustre_api::Problem;
use lustre_api::job::JobId;
use lustre_mgs_core::decide::job::{self, Order, Schedule, Task, Work};
use lustre_mgs_core::{Decision, Request, State};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
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

/// How often to look for steps whose time has come, where nothing else happens: a maintenance window may have begun.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A task under way, and how to tell it that its job was cancelled.
struct Running {
    abort: AbortHandle,
    cancel: watch::Sender<bool>,
}

/// How a task ended, or how it did not.
type Joined = Result<(Id, Task), JoinError>;

impl Runner {
    /// Runs every job that is not over whenever this instance owns that, until the task is dropped. Jobs stay as they are then,
    /// and go on next time, or by another instance.
    pub async fn run(self: Arc<Self>, ownership: Arc<Ownership>) {
        ownership.run("jobs", |guard| self.clone().run_as(Caller::owner(guard))).await;
    }

    async fn run_as(self: Arc<Self>, owner: Caller) {
        let mut applied = self.engine.applied();
        let mut schedule = Schedule::new(self.engine.env().limits);
        let mut running: HashMap<Task, Running> = HashMap::new();
        let mut tasks: JoinSet<Task> = JoinSet::new();
        loop {
            let orders = schedule.look(&self.engine.state(), crate::clock::now());
            for order in orders {
                self.obey(&owner, order, &mut running, &mut tasks);
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                Some(ended) = tasks.join_next_with_id() => take_in(ended, &mut schedule, &mut running),
            }
            // What happened at once is looked at once.
            while let Some(ended) = tasks.try_join_next_with_id() {
                take_in(ended, &mut schedule, &mut running);
            }
        }
    }

    fn obey(
        self: &Arc<Self>,
        owner: &Caller,
        order: Order,
        running: &mut HashMap<Task, Running>,
        tasks: &mut JoinSet<Task>,
    ) {
        match order {
            Order::Do(work) => {
                let task = work.task();
                let (cancel, is_cancelled) = watch::channel(matches!(&work, Work::Hand(hand) if hand.cancel));
                let abort = tasks.spawn(self.clone().carry_out(owner.clone(), task.clone(), work, is_cancelled));
                running.insert(task, Running { abort, cancel });
            }
            Order::Tell { task, cancel } => {
                if let Some(known) = running.get(&task) {
                    known.cancel.send_replace(cancel);
                }
            }
            Order::Leave(task) => {
                if let Some(known) = running.remove(&task) {
                    known.abort.abort();
                }
            }
            Order::Ended(id) => self.tell_of_end(&id),
        }
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

    /// Logs the end of a job.
    fn tell_of_end(&self, id: &JobId) {
        self.board.forget(id);
        let state = self.engine.state();
        let Some(job) = state.jobs.get(id).map(|job| &job.value.job) else { return };
        let (outcome, error) = (job.state.as_str(), job.error.as_deref().unwrap_or(""));
        info!(job_id = %id, object = %job.object, state = outcome, error, "job ended");
    }
}

/// Takes in the end of a task.
fn take_in(ended: Joined, schedule: &mut Schedule, running: &mut HashMap<Task, Running>) {
    let (id, task) = match ended {
        Ok((id, task)) => (id, Some(task)),
        Err(err) => {
            if !err.is_cancelled() {
                error!(error = %err, "a job's task ended unexpectedly");
            }
            (err.id(), None)
        }
    };
    // One that was left may have been done before it heard of that.
    let is_it = |task: &Task, running: &HashMap<Task, Running>| running.get(task).is_some_and(|it| it.abort.id() == id);
    let task = task.or_else(|| running.keys().find(|task| is_it(task, running)).cloned());
    if let Some(task) = task.filter(|task| is_it(task, running)) {
        running.remove(&task);
        schedule.over(&task);
    }
}
