//! Who waits for news of which job: news of one wake nobody who waits for another.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lustre_api::job::JobId;
use tokio::sync::watch;

/// Those who wait, by job.
#[derive(Default)]
pub(crate) struct Waiters {
    jobs: Mutex<HashMap<JobId, watch::Sender<()>>>,
}

impl Waiters {
    /// Tells of news of a job from now on.
    pub(crate) fn on(&self, id: &JobId) -> watch::Receiver<()> {
        let mut jobs = self.jobs();
        if let Some(sender) = jobs.get(id) {
            return sender.subscribe();
        }
        // Those who went away without a word.
        jobs.retain(|_, sender| sender.receiver_count() > 0);
        let (sender, receiver) = watch::channel(());
        jobs.insert(id.clone(), sender);
        receiver
    }

    /// A job has news.
    pub(crate) fn tell(&self, id: &JobId) {
        if let Some(sender) = self.jobs().get(id) {
            sender.send_replace(());
        }
    }

    /// Any job may have news.
    pub(crate) fn tell_all(&self) {
        for sender in self.jobs().values() {
            sender.send_replace(());
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_one_job_wake_only_those_who_wait_for_it_and_nobody_is_kept_who_went_away() {
        let waiters = Waiters::default();
        let (one, other): (JobId, JobId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let (waits, also, elsewhere) = (waiters.on(&one), waiters.on(&one), waiters.on(&other));
        waiters.tell(&one);
        let news = |receiver: &watch::Receiver<()>| receiver.has_changed().unwrap();
        assert_eq!((news(&waits), news(&also), news(&elsewhere)), (true, true, false));
        waiters.tell_all();
        assert!(news(&elsewhere));
        drop((waits, also));
        let _third = waiters.on(&"third".parse().unwrap());
        assert_eq!(waiters.jobs().len(), 2, "nobody waits for the first one any more");
    }
}
