//! What is known of steps at work and not worth a commit: how far they are, what they print, what they wait for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use lustre_api::job::{Job, JobId, JobState, Progress};
use lustre_mgs_core::{JobRecord, view};
use tokio::sync::watch;

use super::waiters::Waiters;

/// The progress of every job at work. Lost with the process, as it is reported again.
pub struct Board {
    jobs: Mutex<HashMap<JobId, Notes>>,
    changed: watch::Sender<u64>,
    waiters: Waiters,
}

/// The news of one job.
#[derive(Debug, Default)]
struct Notes {
    /// Counts the news, so that a job's `version` grows with them within one revision.
    count: u32,
    steps: BTreeMap<usize, Note>,
}

/// The news of one step.
#[derive(Debug)]
struct Note {
    attempt: u32,
    news: News,
    /// When its phase was first heard of, and how far it was then.
    since: Instant,
    from: u64,
}

/// What the node's agent says of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// How much is done.
    pub progress: Option<Progress>,
    /// What it waits for, or what is wrong at the moment.
    pub message: Option<String>,
    /// The last lines of output.
    pub output: Vec<String>,
}

impl Default for Board {
    fn default() -> Self {
        Self { jobs: Mutex::default(), changed: watch::Sender::new(0), waiters: Waiters::default() }
    }
}

impl Board {
    /// Notes what happened to an attempt at a job's step. Adds the rate and what follows from it.
    pub fn note(&self, id: &JobId, step: usize, attempt: u32, mut news: News) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = jobs.entry(id.clone()).or_default();
        let before = notes.steps.get(&step).filter(|note| note.attempt == attempt);
        let phase_of =
            |news: &News| news.progress.as_ref().map(|progress| (progress.phase.clone(), progress.unit.clone()));
        let is_same_phase = before.is_some_and(|before| phase_of(&before.news) == phase_of(&news));
        let (since, from) = match before.filter(|_| is_same_phase) {
            Some(before) => (before.since, before.from),
            None => (Instant::now(), news.progress.as_ref().map_or(0, |progress| progress.done)),
        };
        if let Some(progress) = &mut news.progress {
            estimate(progress, from, since.elapsed().as_millis());
        }
        if before.is_some_and(|before| before.news == news) {
            return;
        }
        notes.count += 1;
        notes.steps.insert(step, Note { attempt, news, since, from });
        drop(jobs);
        self.tell(id);
    }

    /// Takes over what another instance shows of a job that it runs.
    pub fn mirror(&self, job: &Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if job.state.is_final() {
            jobs.remove(&job.id);
        } else {
            let running = job.steps.iter().enumerate().filter(|(_, step)| step.state == JobState::Running);
            let steps = running.map(|(at, step)| {
                let (progress, message) = (step.progress.clone(), step.message.clone());
                let from = progress.as_ref().map_or(0, |progress| progress.done);
                let news = News { progress, message, output: step.output.clone() };
                (at, Note { attempt: step.attempts, news, since: Instant::now(), from })
            });
            let notes = Notes { count: view::news_count(job.version), steps: steps.collect() };
            jobs.insert(job.id.clone(), notes);
        }
        drop(jobs);
        self.tell(&job.id);
    }

    fn tell(&self, id: &JobId) {
        self.changed.send_modify(|count| *count += 1);
        self.waiters.tell(id);
    }

    /// Forgets all jobs but these.
    pub fn keep(&self, ids: &BTreeSet<JobId>) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
    }

    /// Forgets a job that is over.
    pub fn forget(&self, id: &JobId) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Tells that some job has news.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells that this job has news.
    pub fn changed_of(&self, id: &JobId) -> watch::Receiver<()> {
        self.waiters.on(id)
    }

    /// A job with its news.
    pub fn show(&self, record: &JobRecord, revision: u64) -> Job {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = jobs.get(&record.job.id);
        let mut job = view::job(record, revision, notes.map_or(0, |notes| notes.count));
        for (at, note) in notes.iter().flat_map(|notes| &notes.steps) {
            let is_it =
                |step: &&mut lustre_api::job::Step| step.state == JobState::Running && step.attempts == note.attempt;
            if let Some(step) = job.steps.get_mut(*at).filter(is_it) {
                step.progress.clone_from(&note.news.progress);
                step.message.clone_from(&note.news.message);
                step.output.clone_from(&note.news.output);
            }
        }
        job
    }
}

/// The rate since the phase began, and how long the rest takes at that rate: nothing in its first two seconds, and nothing
/// where nothing moves or nobody knows the total.
fn estimate(progress: &mut Progress, from: u64, elapsed_ms: u128) {
    let moved = progress.done.saturating_sub(from);
    if elapsed_ms < 2000 || moved == 0 {
        return;
    }
    let rate = u64::try_from(u128::from(moved) * 1000 / elapsed_ms).unwrap_or(u64::MAX);
    progress.rate_per_s = Some(rate);
    let left = progress.total.map(|total| total.saturating_sub(progress.done));
    let eta = left.map(|left| u128::from(left) * elapsed_ms / u128::from(moved) / 1000);
    progress.eta_s = eta.and_then(|eta| u64::try_from(eta).ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::Time;

    fn progress(done: u64, total: Option<u64>) -> Progress {
        let (phase, unit, at) = ("zeroing".into(), "groups".into(), Time::from_unix_ms(0));
        Progress { phase, done, total, unit, at, rate_per_s: None, eta_s: None }
    }

    #[test]
    fn what_is_left_follows_from_the_rate_and_is_not_made_up() {
        let of = |done, total, from, elapsed_ms| {
            let mut progress = progress(done, total);
            estimate(&mut progress, from, elapsed_ms);
            (progress.rate_per_s, progress.eta_s)
        };
        assert_eq!(of(30, Some(100), 10, 4000), (Some(5), Some(14)));
        assert_eq!(of(30, None, 10, 4000), (Some(5), None), "nobody knows the total");
        assert_eq!(of(10, Some(100), 10, 4000), (None, None), "nothing moves");
        assert_eq!(of(30, Some(100), 10, 1000), (None, None), "too early to tell");
        assert_eq!(of(1, Some(100), 0, 100_000), (Some(0), Some(9900)), "slow, but it moves");
        assert_eq!(of(5, Some(3), 0, 4000), (Some(1), Some(0)));
    }

    #[test]
    fn news_of_an_attempt_that_is_over_are_not_shown() {
        let board = Board::default();
        let record: JobRecord = serde_json::from_value(serde_json::json!({
            "job": {"id": "j", "kind": "stop_target", "svname": "scratch-OST0000", "state": "running", "who": "x",
                "created": "2026-01-01T00:00:00Z", "version": 0,
                "steps": [{"kind": "stop", "node": "oss1", "state": "running", "attempts": 2}]},
            "ops": [null],
        }))
        .unwrap();
        let id = record.job.id.clone();
        let before = board.show(&record, 5).version;
        board.note(&id, 0, 1, News { progress: Some(progress(1, None)), ..News::default() });
        let shown = board.show(&record, 5);
        assert!(shown.steps[0].progress.is_none() && shown.version > before);
        board.note(&id, 0, 2, News { progress: Some(progress(1, None)), ..News::default() });
        assert!(board.show(&record, 5).steps[0].progress.is_some());
    }
}
