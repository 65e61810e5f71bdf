//! What came of the source of wanted configuration.

use lustre_api::source::SourceNote;

use crate::decide::{Decision, Request, absent, as_read, put};
use crate::key::Key;
use crate::record::Record;
use crate::state::State;

/// Notes what came of it. Nothing changes where that is known: the same news is one event, however often the source is read.
pub fn note(state: &State, req: &Request<'_>, note: &SourceNote) -> Decision<()> {
    let before = state.source.as_ref();
    if before.is_some_and(|before| SourceNote { at: note.at, ..before.value.clone() } == *note) {
        return Decision::nothing();
    }
    let what = format!("source {}: {}", note.version.as_deref().unwrap_or("of no version"), note.outcome.as_str());
    Decision {
        compare: vec![before.map_or_else(|| absent(Key::Source), |before| as_read(Key::Source, before.revision))],
        changes: vec![put(Key::Source, Record::Source(Box::new(note.clone())))],
        what: req.describe(what),
        reply: (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Env;
    use lustre_api::Time;
    use lustre_api::source::SourceOutcome;

    #[test]
    fn the_same_news_is_noted_once() {
        let (env, mut state) = (Env::default(), State::default());
        let at = |ms| {
            let (now, seed) = (Time::from_unix_ms(ms), [0; 16]);
            Request { now, seed, who: "mgs", why: None, if_revision: None, job: None, plan: None, env: &env }
        };
        let mut news = SourceNote {
            version: Some("v1".into()),
            outcome: SourceOutcome::Differs,
            message: None,
            differences: 2,
            settled: None,
            at: Time::from_unix_ms(1),
        };
        for change in note(&state, &at(1), &news).changes {
            let (key, value) = change.encode();
            state.apply(1, crate::Change::decode(&key, value.as_deref()).unwrap());
        }
        news.at = Time::from_unix_ms(2);
        assert!(note(&state, &at(2), &news).changes.is_empty());
        news.differences = 1;
        assert_eq!(note(&state, &at(2), &news).changes.len(), 1);
    }
}
