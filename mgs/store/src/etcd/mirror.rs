//! What this instance knows of the store: the newest state, the last commits, the leases.

use std::collections::BTreeSet;

use crate::recent::Recent;
use crate::txn::{self, Head};
use crate::{Commit, LeaseId, Revision};

/// A copy of the newest state. Commits come in by [`Mirror::absorb`] only, each once and in order.
#[derive(Default)]
pub(super) struct Mirror {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// `mod_revision` of etcd's `head` when it held `revision`.
    pub(super) head_mod: i64,
    /// Newest revision of etcd from which on nothing was missed: where a watch goes on.
    pub(super) etcd_revision: i64,
    pub(super) head: Head,
    pub(super) leases: BTreeSet<LeaseId>,
    /// The last commits with their ids, for watchers and for who asks whether its commit was made.
    recent: Recent<String>,
}

impl Mirror {
    /// An empty one at a revision, as it was found in etcd.
    pub(super) fn at(revision: Revision, head_mod: i64, etcd_revision: i64) -> Self {
        Self { revision, head_mod, etcd_revision, ..Self::default() }
    }

    /// Takes in the next commits: those already known are dropped. Errors: the first missing revision.
    pub(super) fn absorb(&mut self, commits: Vec<(Commit, String)>) -> Result<(), Revision> {
        for (commit, id) in commits {
            if commit.revision <= self.revision {
                continue;
            }
            if commit.revision != self.revision + 1 {
                return Err(self.revision + 1);
            }
            txn::apply(&mut self.head, commit.changes.iter().cloned());
            self.revision = commit.revision;
            self.recent.push(commit, id);
        }
        Ok(())
    }

    /// Notes where `head` was found. An older finding is dropped.
    pub(super) fn found_head(&mut self, revision: Revision, head_mod: i64) {
        if revision == self.revision {
            self.head_mod = self.head_mod.max(head_mod);
        }
    }

    /// Starts over with a state that was listed again.
    pub(super) fn replace(&mut self, other: Self) {
        if other.revision >= self.revision {
            *self = other;
        }
    }

    /// Forgets commits up to `revision`.
    pub(super) fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
        self.recent.compact(revision);
    }

    /// At most `limit` commits from `from` on, if the first of them is still here.
    pub(super) fn recent(&self, from: Revision, limit: usize) -> Option<Vec<Commit>> {
        if from > self.revision {
            return Some(Vec::new());
        }
        self.recent.read(from, limit)
    }

    /// The revision of the commit with this id, if it came after `after`.
    pub(super) fn find(&self, id: &str, after: Revision) -> Option<Revision> {
        let newest_first = self.recent.newest_first().take_while(|(commit, _)| commit.revision > after);
        newest_first.map(|(commit, found)| (commit.revision, found)).find(|(_, found)| *found == id).map(|(r, _)| r)
    }

    /// Leases that hold keys and are over.
    pub(super) fn orphaning_leases(&self) -> BTreeSet<LeaseId> {
        let held = self.head.values().filter_map(|entry| entry.lease);
        held.filter(|lease| !self.leases.contains(lease)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recent::RECENT;
    use crate::{Change, Meta};

    fn commit(revision: Revision) -> (Commit, String) {
        let meta = Meta { time_ms: 0, who: "test".into(), why: "test".into() };
        let changes = vec![Change::Delete { key: "k".into() }];
        (Commit { revision, meta, changes }, format!("id{revision}"))
    }

    #[test]
    fn old_news_are_dropped_and_a_gap_is_named() {
        let mut mirror = Mirror::default();
        mirror.absorb(vec![commit(1), commit(2)]).unwrap();
        mirror.absorb(vec![commit(1), commit(2), commit(3)]).unwrap();
        assert_eq!(mirror.revision, 3);
        assert_eq!(mirror.absorb(vec![commit(5)]), Err(4));
        assert_eq!(mirror.revision, 3, "what comes after a gap is not taken in");
        assert_eq!((mirror.find("id3", 2), mirror.find("id2", 2)), (Some(3), None));
    }

    #[test]
    fn memory_is_bounded_and_what_is_gone_is_said_to_be() {
        let mut mirror = Mirror::default();
        mirror.absorb((1..=RECENT as u64 + 10).map(commit).collect()).unwrap();
        assert_eq!(mirror.recent(10, 1), None);
        assert_eq!(mirror.recent(11, 1).unwrap()[0].revision, 11);
        mirror.compact(20);
        assert_eq!(mirror.recent(20, 1), None);
        assert_eq!(mirror.recent(RECENT as u64 + 11, 1), Some(Vec::new()));
    }
}
