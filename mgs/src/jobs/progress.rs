//! What is known of steps at work and not worth a commit: how far they are, what they print, what they wait for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lustre_api::job::{Job, JobId, JobState, Progress};
use lustre_mgs_core::{JobRecord, view};
use tokio::sync::watch;

/// The progress of every job at work. Lost with the process, as it is reported again.
pub struct Board {
    jobs: Mutex<HashMap<JobId, Note>>,
    changed: watch::Sender<u64>,
}

/// The news of one job since its last commit.
#[derive(Clone, Debug, Default)]
struct Note {
    step: usize,
    news: News,
    /// Counts the news within one revision, so that a job's `version` grows with them.
    count: u32,
    revision: u64,
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
        Self { jobs: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Board {
    /// Notes what happened to a job's step; `revision` is that of the job's last commit.
    pub fn note(&self, id: &JobId, revision: u64, step: usize, news: News) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let note = jobs.entry(id.clone()).or_default();
        if note.revision == revision && note.step == step && note.news == news {
            return;
        }
        let count = if note.revision == revision { note.count + 1 } else { 1 };
        *note = Note { step, news, count, revision };
        drop(jobs);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Forgets a job that is over.
    pub fn forget(&self, id: &JobId) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Tells that some job has news.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A job with its news.
    pub fn show(&self, record: &JobRecord, revision: u64) -> Job {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let note = jobs.get(&record.job.id).filter(|note| note.revision == revision);
        let mut job = view::job(record, revision, note.map_or(0, |note| note.count));
        if let Some(note) = note
            && let Some(step) = job.steps.get_mut(note.step).filter(|step| step.state == JobState::Running)
        {
            step.progress.clone_from(&note.news.progress);
            step.message.clone_from(&note.news.message);
            step.output.clone_from(&note.news.output);
        }
        job
    }
}
