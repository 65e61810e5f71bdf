//! Committed changes as events: what changed, with its value before and after.

use lustre_api::event::{Event, EventKind, ObjectChange};
use lustre_api::{Problem, Time};
use lustre_mgs_core::Key;
use lustre_mgs_store::{Change, Commit, Store};
use lustre_types::FsName;
use serde_json::Value;

use crate::engine::unavailable;

/// Parts of stored values that nobody is shown: proofs and what they are checked with.
const HIDDEN: [&str; 1] = ["token_sha256"];

/// Which objects somebody wants to hear of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of this kind.
    pub(crate) kind: Option<EventKind>,
    /// Whose name begins like one of these; all when empty.
    pub(crate) objects: Vec<String>,
    /// Of this file system.
    pub(crate) fsname: Option<FsName>,
    /// Not those that delivering itself makes.
    pub(crate) without_duties: bool,
}

/// An object as filters know it.
#[derive(Debug)]
pub(crate) struct Named {
    kind: Option<EventKind>,
    fsname: Option<FsName>,
    object: String,
}

impl Named {
    /// The object of a key.
    pub(crate) fn of(key: &str) -> Self {
        match key.parse::<Key>() {
            Ok(key) => Self { kind: Some(key.kind()), fsname: key.fsname().cloned(), object: key.object() },
            Err(_) => Self { kind: None, fsname: None, object: String::new() },
        }
    }
}

impl Filter {
    /// Whether it takes an object.
    pub(crate) fn takes(&self, name: &Named) -> bool {
        !(self.without_duties && name.kind == Some(EventKind::Duty))
            && self.kind.is_none_or(|kind| name.kind == Some(kind))
            && self.fsname.as_ref().is_none_or(|fsname| name.fsname.as_ref() == Some(fsname))
            && (self.objects.is_empty() || self.objects.iter().any(|prefix| name.object.starts_with(prefix.as_str())))
    }
}

/// As [`event`], with the objects that a filter takes; nothing where it takes none. Looks up no other.
pub(crate) async fn filtered(store: &dyn Store, commit: &Commit, filter: &Filter) -> Result<Option<Event>, Problem> {
    let mut commit = commit.clone();
    commit.changes.retain(|change| filter.takes(&Named::of(change.key())));
    Ok(if commit.changes.is_empty() { None } else { Some(event(store, &commit).await?) })
}

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
