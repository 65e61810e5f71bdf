//! Committed changes as events: what changed, with its value before and after.

use lustre_api::event::{Event, ObjectChange};
use lustre_api::{Problem, Time};
use lustre_mgs_core::Key;
use lustre_mgs_store::{Change, Commit, Store};
use serde_json::Value;

use crate::engine::unavailable;

/// Parts of stored values that nobody is shown: proofs and what they are checked with.
const HIDDEN: [&str; 1] = ["token_sha256"];

/// A commit as an event. `before` is null where the history no longer has it.
pub(crate) async fn event(store: &dyn Store, commit: &Commit) -> Result<Event, Problem> {
    let mut changes = Vec::with_capacity(commit.changes.len());
    for change in &commit.changes {
        let key = change.key();
        let before = match commit.revision - 1 {
            earlier if earlier >= store.compacted() => {
                store.get(key, Some(earlier)).await.map_err(|e| unavailable(&e))?
            }
            _ => None,
        };
        let after = match change {
            Change::Put(entry) => shown(&entry.value),
            Change::Delete { .. } => Value::Null,
        };
        let object = key.parse::<Key>().map_or_else(|_| key.to_owned(), |key| key.object());
        changes.push(ObjectChange { object, before: before.map_or(Value::Null, |entry| shown(&entry.value)), after });
    }
    let meta = &commit.meta;
    Ok(Event {
        revision: commit.revision,
        time: Time::from_unix_ms(meta.time_ms),
        who: meta.who.clone(),
        why: Some(meta.why.clone()).filter(|why| !why.is_empty()),
        changes,
    })
}

fn shown(json: &[u8]) -> Value {
    let mut value = serde_json::from_slice(json).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        for hidden in HIDDEN {
            fields.remove(hidden);
        }
    }
    value
}
