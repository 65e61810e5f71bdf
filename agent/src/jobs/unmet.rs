//! Cancels of jobs that this agent doesn't know: the call that starts such a job may still be under way.
//!
//! A network may deliver late. So a cancel that is answered "not found" is remembered, and when its job arrives after all,
//! that is accepted as cancelled and never runs.

use super::{Journal, JournalError};
use lustre_api::{Problem, Time, job::JobId};
use std::collections::BTreeMap;

/// How long a call may be under way. No client waits nearly as long for its answer, and no kernel for an acknowledgement.
pub(super) const LATE_MS: u64 = 3_600_000;
/// How many are remembered at once. One more is refused: to forget one would break the promise that its caller was given.
const MAX: usize = 10_000;

/// Cancels without a job, each with the time when it came, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Unmet(BTreeMap<JobId, u64>);

impl Unmet {
    /// Those of an earlier agent.
    pub(super) fn load(journal: &Journal) -> Result<Self, JournalError> {
        Ok(Self(journal.cancels()?.into_iter().collect()))
    }

    /// Remembers a cancel; durable when this returns.
    ///
    /// Errors: too many are remembered; the journal can't be written.
    pub(super) fn add(&mut self, journal: &Journal, id: &JobId, now: Time) -> Result<(), Problem> {
        let unavailable = |error: JournalError| Problem::unavailable(crate::host::chain(&error));
        let now = now.unix_ms();
        let old: Vec<JobId> =
            self.0.iter().filter(|(_, at)| now.saturating_sub(**at) > LATE_MS).map(|(id, _)| id.clone()).collect();
        if self.0.len() - old.len() >= MAX && !self.0.contains_key(id) {
            return Err(Problem::unavailable(format!(
                "{MAX} cancels of jobs that this agent doesn't know came within an hour; it can't remember another"
            ))
            .remedy("try again later"));
        }
        journal.put_cancel(id, now, &old).map_err(unavailable)?;
        self.0.retain(|known, _| !old.contains(known));
        self.0.insert(id.clone(), now);
        Ok(())
    }

    /// Whether the job was cancelled before it came.
    pub(super) fn holds(&self, id: &JobId, now: Time) -> bool {
        self.0.get(id).is_some_and(|at| now.unix_ms().saturating_sub(*at) <= LATE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_kept_for_an_hour_across_restarts_and_then_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let at = |minutes: u64| Time::from_unix_ms(1_000_000_000_000 + minutes * 60_000);
        let [one, two]: [JobId; 2] = ["one", "two"].map(|id| id.parse().unwrap());
        let journal = Journal::open(&path).unwrap();
        let mut unmet = Unmet::load(&journal).unwrap();
        assert!(!unmet.holds(&one, at(0)));
        unmet.add(&journal, &one, at(0)).unwrap();
        drop((unmet, journal));

        let journal = Journal::open(&path).unwrap();
        let mut unmet = Unmet::load(&journal).unwrap();
        assert!(unmet.holds(&one, at(60)) && !unmet.holds(&one, at(61)));
        unmet.add(&journal, &two, at(61)).unwrap();
        assert_eq!(journal.cancels().unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [two]);
    }

    #[test]
    fn more_than_can_be_remembered_are_refused_and_none_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("agent.redb")).unwrap();
        let now = Time::from_unix_ms(1_000_000_000_000);
        let id = |at: usize| format!("job-{at}").parse::<JobId>().unwrap();
        let mut unmet = Unmet((0..MAX).map(|at| (id(at), now.unix_ms())).collect());
        let problem = unmet.add(&journal, &id(MAX), now).unwrap_err();
        assert_eq!(problem.code, lustre_api::ProblemCode::Unavailable);
        assert!(unmet.holds(&id(0), now) && !unmet.holds(&id(MAX), now));
        unmet.add(&journal, &id(7), now).unwrap();
    }
}
