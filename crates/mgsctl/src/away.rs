//! Following something for longer than an MGS may be away: it restarts, or its clients move on to another instance.

use std::time::{Duration, Instant};

use lustre_api::ProblemCode;
use rest::ClientError;

/// Between attempts to reach it again.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// How long an MGS that was there is waited for, and since when it is away.
pub(crate) struct Patience {
    longest: Option<Duration>,
    was_there: bool,
    away_since: Option<Instant>,
}

impl Patience {
    /// As long as it takes: a person ends it.
    pub(crate) fn without_end() -> Self {
        Self { longest: None, was_there: false, away_since: None }
    }

    /// For so long at a time: a script waits for its end.
    pub(crate) fn of(longest: Duration) -> Self {
        Self { longest: Some(longest), ..Self::without_end() }
    }

    /// An answer; `None` where the MGS is away, after a moment: ask again. It says so once, on standard error.
    /// Errors: everything else, an MGS that was never there, one that is away for too long.
    pub(crate) async fn answer<T>(&mut self, answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
        let err = match answer {
            Ok(answer) => {
                self.was_there = true;
                if self.away_since.take().is_some() {
                    eprintln!("mgsctl: the MGS is there again");
                }
                return Ok(Some(answer));
            }
            Err(err) => err,
        };
        let is_new = self.away_since.is_none();
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if !self.was_there || !is_away(&err) || self.longest.is_some_and(|longest| since.elapsed() >= longest) {
            return Err(err);
        }
        if is_new {
            eprintln!("mgsctl: the MGS is away, waiting for it: {err}");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }
}

/// Whether it is there again later, as it is.
fn is_away(err: &ClientError) -> bool {
    match err {
        ClientError::Unreachable(_) => true,
        ClientError::Problem(problem) => problem.code == ProblemCode::Unavailable,
        ClientError::NotUnderstood(_) | ClientError::Url { .. } => false,
    }
}

/// What comes next of a stream; `None` at its end. One that breaks off has ended: asking again shows whether anybody is there.
pub(crate) fn ended_or<T>(next: Result<Option<T>, ClientError>) -> Result<Option<T>, ClientError> {
    match next {
        Err(ClientError::Unreachable(_)) => Ok(None),
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::Problem;

    fn unreachable() -> Result<(), ClientError> {
        Err(ClientError::Unreachable("http://10.0.0.1:7070 can't be reached: refused".into()))
    }

    #[tokio::test]
    async fn who_waits_without_end_waits_for_what_passes_and_for_nothing_else() {
        let mut patience = Patience::without_end();
        assert!(patience.answer(unreachable()).await.is_err(), "it was never there: is the address right?");
        assert!(patience.answer(Ok(())).await.unwrap().is_some());
        assert!(patience.answer(unreachable()).await.unwrap().is_none());
        let lost = Problem::unavailable("this MGS has no connection to its store");
        assert!(patience.answer::<()>(Err(ClientError::Problem(lost))).await.unwrap().is_none());
        let gone = ClientError::Problem(Problem::not_found("there is no job j"));
        assert!(patience.answer::<()>(Err(gone)).await.is_err());
    }

    #[tokio::test]
    async fn who_has_waited_long_enough_is_told_why_and_each_time_counts_from_its_begin() {
        let mut patience = Patience::of(Duration::from_millis(500));
        for _ in 0..2 {
            assert!(patience.answer(Ok(())).await.unwrap().is_some());
            assert!(patience.answer(unreachable()).await.unwrap().is_none());
        }
        assert!(matches!(patience.answer(unreachable()).await, Err(ClientError::Unreachable(_))));
    }
}
