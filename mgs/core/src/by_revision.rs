//! What changed since a revision, found without looking at everything.

use std::collections::BTreeMap;

/// The names of objects of one kind by the revision that changed each last.
#[derive(Clone, Debug, PartialEq)]
pub struct ByRevision<K>(BTreeMap<u64, Vec<K>>);

impl<K> Default for ByRevision<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> ByRevision<K> {
    /// Those that were changed after a revision and are still there, the oldest change first.
    pub fn since(&self, revision: u64) -> impl Iterator<Item = &K> {
        self.0.range(revision.saturating_add(1)..).flat_map(|(_, names)| names)
    }

    /// Takes in that a revision changed an object, whose last change was `before`: none where it is new.
    pub(crate) fn changed(&mut self, name: &K, before: Option<u64>, revision: u64) {
        self.removed(name, before);
        // In order, so that the same objects are the same index, whatever the order of a commit's changes.
        let names = self.0.entry(revision).or_default();
        if let Err(place) = names.binary_search(name) {
            names.insert(place, name.clone());
        }
    }

    /// Takes in that an object is gone whose last change was `before`.
    pub(crate) fn removed(&mut self, name: &K, before: Option<u64>) {
        let Some(before) = before else { return };
        let Some(names) = self.0.get_mut(&before) else { return };
        names.retain(|other| other != name);
        if names.is_empty() {
            self.0.remove(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_at_its_last_change_only() {
        let mut index = ByRevision::default();
        index.changed(&"b", None, 3);
        index.changed(&"a", None, 3);
        index.changed(&"a", Some(3), 7);
        let since = |index: &ByRevision<&'static str>, revision| index.since(revision).copied().collect::<Vec<_>>();
        assert_eq!(since(&index, 0), ["b", "a"]);
        assert_eq!(since(&index, 3), ["a"]);
        assert_eq!(since(&index, 7), [""; 0]);
        index.removed(&"b", Some(3));
        assert_eq!(since(&index, 0), ["a"]);
    }
}
