//! Jobs.

use std::time::Duration;

use lustre_api::job::{Job, JobPath, WaitQuery};
use lustre_api::{Page, PageQuery, Problem, WriteQuery};
use lustre_mgs_core::decide;
use lustre_mgs_core::{Request, State};

use super::{Api, after, page};
use crate::engine::Caller;

/// Longest that a request waits for news of a job.
const MAX_WAIT_S: u32 = 60;

impl Api {
    /// `list_jobs`: newest last.
    pub fn list_jobs(&self, query: &PageQuery) -> Result<Page<Job>, Problem> {
        let state = self.engine.state();
        let begin = match after::<lustre_api::job::JobId>(query)? {
            None => None,
            Some(id) => Some((decide::job::get(&state, &id)?.created, id)),
        };
        let mut jobs: Vec<_> = state.jobs.iter().map(|(id, job)| ((job.created, id.clone()), job)).collect();
        jobs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let of_fs = |job: &Job| query.fsname.is_none() || job.object.fsname() == query.fsname.as_ref();
        let wanted = jobs
            .into_iter()
            .filter(|(place, job)| begin.as_ref().is_none_or(|begin| place > begin) && of_fs(&job.value.job));
        let shown = wanted.map(|((_, id), job)| (id.to_string(), self.board.show(&job.value, job.revision)));
        page(query, state.revision, shown)
    }

    /// `get_job`: at once, or when there is news.
    pub async fn get_job(&self, path: &JobPath, query: &WaitQuery) -> Result<Job, Problem> {
        let wait_s = query.wait_s.unwrap_or(0);
        if wait_s > MAX_WAIT_S {
            let message = format!("wait_s is {wait_s}; at most {MAX_WAIT_S} are possible");
            return Err(Problem::invalid(message).attribute("wait_s"));
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s.into());
        let (mut applied, mut news) = (self.engine.applied(), self.board.changed());
        loop {
            applied.mark_unchanged();
            news.mark_unchanged();
            let job = self.show_job(path)?;
            let is_news = query.seen.is_none_or(|seen| job.version > seen);
            if job.state.is_final() || is_news && query.seen.is_some() || wait_s == 0 {
                return Ok(job);
            }
            let changed = async {
                tokio::select! {
                    changed = applied.changed() => changed.is_ok(),
                    changed = news.changed() => changed.is_ok(),
                    () = self.engine.stopped() => false,
                }
            };
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return self.show_job(path),
            }
        }
    }

    /// `cancel_job`
    pub async fn cancel_job(&self, caller: &Caller, path: &JobPath) -> Result<Job, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::job::cancel(state, req, &path.id);
        self.engine.write(caller, &WriteQuery::default(), decide).await?;
        self.show_job(path)
    }

    fn show_job(&self, path: &JobPath) -> Result<Job, Problem> {
        let state = self.engine.state();
        let job = decide::job::get(&state, &path.id)?;
        Ok(self.board.show(&job.value, job.revision))
    }
}
