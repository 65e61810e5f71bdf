//! The job runner: hands steps to agents, one after the other, and takes in how they ended.
//!
//! Every transition is a commit before the act, and agents know a step by its name: after kill -9 the same steps are handed
//! out again and nothing runs twice.

pub mod progress;
mod step;

use std::collections::HashMap;
use std::sync::Arc;

use lustre_api::job::JobId;
use lustre_mgs_core::decide::job::{self, Next};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::agents::Agents;
use crate::engine::Engine;
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

impl Runner {
    /// Runs every job that is not over, until the task is dropped. Jobs stay as they are then, and go on next time.
    pub async fn run(self: Arc<Self>) {
        let mut applied = self.engine.applied();
        let mut running: HashMap<JobId, tokio::task::AbortHandle> = HashMap::new();
        let mut tasks: JoinSet<JobId> = JoinSet::new();
        loop {
            let open: Vec<JobId> = {
                let state = self.engine.state();
                let jobs = state.jobs.values().map(|job| &job.value.job);
                jobs.filter(|job| !job.state.is_final()).map(|job| job.id.clone()).collect()
            };
            for id in open {
                running.entry(id.clone()).or_insert_with(|| tasks.spawn(self.clone().run_job(id)));
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => drop(running.remove(&id)),
                    Err(err) => {
                        error!(error = %err, "a job's task ended unexpectedly");
                        running.retain(|_, task| !task.is_finished());
                    }
                },
            }
        }
    }

    /// Runs one job to its end.
    async fn run_job(self: Arc<Self>, id: JobId) -> JobId {
        while let Some((next, revision)) = self.next(&id) {
            let outcome = match next {
                Next::Nothing => break,
                Next::Begin => self.engine.write_own(|state, req| job::begin(state, req, &id)).await,
                Next::Hand { step, node, id: agent_id, op, cancel } => {
                    let end = step::drive(&self, &id, revision, step, &node, &agent_id, &op, cancel).await;
                    match end {
                        None => continue,
                        Some(end) => {
                            self.engine.write_own(|state, req| job::end(state, req, &id, step, end.clone())).await
                        }
                    }
                }
            };
            if let Err(problem) = outcome {
                warn!(job_id = %id, error = %problem, "job can't go on now, will try again");
                tokio::time::sleep(step::RETRY).await;
            }
        }
        self.board.forget(&id);
        if let Some(job) = self.engine.state().jobs.get(&id) {
            let job = &job.value.job;
            let (state, error) = (job.state.as_str(), job.error.as_deref().unwrap_or(""));
            info!(job_id = %id, svname = %job.svname, state, error, "job ended");
        }
        id
    }

    fn next(&self, id: &JobId) -> Option<(Next, u64)> {
        let state = self.engine.state();
        let object = state.jobs.get(id)?;
        Some((job::next(&object.value), object.revision))
    }
}
