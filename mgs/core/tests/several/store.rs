//! A store as etcd is one, in memory: commits that compare, revisions, a history to follow.

use std::collections::BTreeMap;

use lustre_mgs_core::{Change, Compare, State};

/// A key's value, and the revisions that made and last changed it.
struct Entry {
    created: u64,
    modified: u64,
    value: Vec<u8>,
}

/// The store.
#[derive(Default)]
pub(crate) struct Store {
    entries: BTreeMap<String, Entry>,
    /// As they are read back from what is stored.
    commits: Vec<Vec<Change>>,
    /// A store that is broken on purpose: it takes every commit.
    pub(crate) compares_nothing: bool,
}

impl Store {
    /// The newest revision.
    pub(crate) fn head(&self) -> u64 {
        u64::try_from(self.commits.len()).unwrap()
    }

    /// Commits if every compare holds; gives the revision.
    pub(crate) fn commit(&mut self, compare: &[Compare], changes: &[Change]) -> Option<u64> {
        if !self.compares_nothing && !compare.iter().all(|compare| self.holds(compare)) {
            return None;
        }
        let revision = self.head() + 1;
        let stored: Vec<_> = changes.iter().map(Change::encode).collect();
        for (key, value) in &stored {
            match value {
                None => drop(self.entries.remove(key)),
                Some(value) => {
                    let created = self.entries.get(key).map_or(revision, |entry| entry.created);
                    self.entries.insert(key.clone(), Entry { created, modified: revision, value: value.clone() });
                }
            }
        }
        let read_back = |(key, value): &(String, Option<Vec<u8>>)| Change::decode(key, value.as_deref()).unwrap();
        self.commits.push(stored.iter().map(read_back).collect());
        Some(revision)
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Object(key, revision) => {
                self.entries.get(&key.to_string()).map_or(0, |entry| entry.modified) == *revision
            }
            Compare::Prefix(prefix, revision) => {
                let below = self.entries.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(prefix));
                below.into_iter().all(|(_, entry)| entry.modified <= *revision)
            }
        }
    }

    /// The state as an instance has it that starts now.
    pub(crate) fn load(&self) -> State {
        let mut state = State::default();
        for (key, entry) in &self.entries {
            state.load(entry.created, entry.modified, Change::decode(key, Some(&entry.value)).unwrap());
        }
        state.advance(self.head());
        state
    }

    /// Lets a state see the next commit.
    pub(crate) fn deliver(&self, state: &mut State) {
        let revision = state.revision + 1;
        let commit = &self.commits[usize::try_from(revision - 1).unwrap()];
        for change in commit {
            state.apply(revision, change.clone());
        }
        state.advance(revision);
    }
}
