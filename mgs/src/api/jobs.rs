//! Jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use lustre_api::job::{Explanation, Job, JobId, JobPath, JobQuery, JobState, Progress, WaitQuery, WatchQuery};
use lustre_api::{Page, PageQuery, Problem, WriteQuery};
use lustre_mgs_core::{JobRecord, Object, Request, State, decide};

use super::{Api, after, page};
use crate::clock;
use crate::engine::Caller;
use crate::feed;

/// Jobs with news, each with the revision up to which that is so.
pub type JobStream = BoxStream<'static, Result<(u64, Job), Problem>>;

/// Longest that a request waits for news of a job.
const MAX_WAIT_S: u32 = 60;

impl Api {
    /// `list_jobs`: newest last.
    pub fn list_jobs(&self, query: &JobQuery) -> Result<Page<Job>, Problem> {
        let state = self.engine.state();
        let paged = PageQuery { limit: query.limit, after: query.after.clone(), fsname: None };
        let begin = match after::<JobId>(&paged)? {
            None => None,
            Some(id) => Some((decide::job::get(&state, &id)?.created, id)),
        };
        let mut jobs: Vec<_> = state.jobs.iter().map(|(id, job)| ((job.created, id.clone()), job)).collect();
        jobs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let is_it = |job: &Job| {
            (query.fsname.is_none() || job.object.fsname() == query.fsname.as_ref())
                && query.state.is_none_or(|state| job.state == state)
                && query.object.as_ref().is_none_or(|object| job.object.to_string() == *object)
                && (query.parent.is_none() || job.parent == query.parent)
        };
        let wanted = jobs
            .into_iter()
            .filter(|(place, job)| begin.as_ref().is_none_or(|begin| place > begin) && is_it(&job.value.job));
        let shown = wanted.map(|((_, id), job)| (id.to_string(), self.show(&state, job)));
        page(&paged, state.revision, shown)
    }

    /// `get_job`: at once, or when there is news.
    pub async fn get_job(&self, path: &JobPath, query: &WaitQuery) -> Result<Job, Problem> {
        let wait_s = query.wait_s.unwrap_or(0);
        if wait_s > MAX_WAIT_S {
            let message = format!("wait_s is {wait_s}; at most {MAX_WAIT_S} are possible");
            return Err(Problem::invalid(message).attribute("wait_s"));
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s.into());
        let (mut applied, mut news) = (self.engine.applied_to(&path.id), self.board.changed_of(&path.id));
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

    /// `retry_job`
    pub async fn retry_job(&self, caller: &Caller, path: &JobPath) -> Result<Job, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::job::retry(state, req, &path.id);
        self.engine.write(caller, &WriteQuery::default(), decide).await?;
        self.show_job(path)
    }

    /// `explain_job`
    pub fn explain_job(&self, caller: &Caller, path: &JobPath) -> Result<Explanation, Problem> {
        let shown = self.show_job(path)?;
        let state = self.engine.state();
        let record = &decide::job::get(&state, &path.id)?.value;
        Ok(decide::job::explain(&state, &self.engine.request(caller), record, &shown))
    }

    /// `watch_jobs`: those at work, and then each whenever it has news.
    pub fn watch_jobs(self: Arc<Self>, query: WatchQuery) -> Result<JobStream, Problem> {
        // Nobody reads faster, and everything that happens in between is told at once.
        const PACE: Duration = Duration::from_millis(100);
        feed::check_exists(&self.engine, query.after.unwrap_or(0))?;
        let begin = (Vec::new(), query.after.unwrap_or(u64::MAX), HashMap::<JobId, u64>::new());
        let (applied, news) = (self.engine.applied(), self.board.changed());
        let batches = futures::stream::unfold((self, query, applied, news, begin), async |mut place| {
            let (api, query, applied, news, (told, after, seen)) = &mut place;
            loop {
                applied.mark_unchanged();
                news.mark_unchanged();
                {
                    let state = api.engine.state();
                    // Without a place to begin, jobs that are over by now are of no interest.
                    let from = (*after).min(state.revision);
                    let mut fresh = Vec::new();
                    for job in state.jobs.values() {
                        let is_wanted =
                            query.fsname.is_none() || job.value.job.object.fsname() == query.fsname.as_ref();
                        if !is_wanted || (job.value.job.state.is_final() && job.revision <= from) {
                            continue;
                        }
                        let shown = api.show(&state, job);
                        if seen.insert(shown.id.clone(), shown.version) != Some(shown.version) {
                            fresh.push(shown);
                        }
                    }
                    // Only who has heard them all may begin again behind this revision.
                    let last = fresh.len().saturating_sub(1);
                    let up_to = |at| if at == last { state.revision } else { from };
                    told.extend(fresh.into_iter().enumerate().map(|(at, job)| Ok((up_to(at), job))));
                    seen.retain(|id, _| state.open_jobs.contains(id));
                    *after = state.revision;
                }
                if !told.is_empty() {
                    let batch = futures::stream::iter(std::mem::take(told));
                    tokio::time::sleep(PACE).await;
                    return Some((batch, place));
                }
                let is_over = tokio::select! {
                    changed = applied.changed() => changed.is_err(),
                    changed = news.changed() => changed.is_err(),
                    () = api.engine.stopped() => true,
                };
                if is_over {
                    return None;
                }
            }
        });
        Ok(batches.flatten().boxed())
    }

    /// A job with the news of it, and with how far the jobs are that are a part of it.
    fn show(&self, state: &State, job: &Object<JobRecord>) -> Job {
        let mut shown = self.board.show(&job.value, job.revision);
        for step in &mut shown.steps {
            let Some(part) = step.job.as_ref().and_then(|id| state.jobs.get(id)) else { continue };
            let part = self.board.show(&part.value, part.revision);
            // Grows with the part's, so that who waits for news of the whole hears of it.
            shown.version = shown.version.saturating_add(part.version);
            let Some(current) = part.steps.iter().find(|step| step.state == JobState::Running) else { continue };
            if step.state == JobState::Running {
                let of = current.progress.as_ref();
                let phase = of.map_or(current.kind.as_str(), |progress| progress.phase.as_str()).to_owned();
                let at = of.map_or(current.started.unwrap_or(part.created), |progress| progress.at);
                let (done, total, unit) = (part.percent().into(), Some(100), "percent".to_owned());
                step.progress = Some(Progress { phase, done, total, unit, at, rate_per_s: None, eta_s: None });
                step.message.clone_from(&current.message);
            }
        }
        shown
    }

    fn show_job(&self, path: &JobPath) -> Result<Job, Problem> {
        let state = self.engine.state();
        let job = decide::job::get(&state, &path.id)?;
        let mut shown = self.show(&state, job);
        let held_back = decide::job::held_back(&state, &self.engine.env().limits, clock::now(), &job.value);
        for (step, why) in held_back {
            shown.steps[step].message = Some(format!("waits for {why}"));
        }
        Ok(shown)
    }
}
