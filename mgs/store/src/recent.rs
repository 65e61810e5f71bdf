//! The newest commits in memory, for those who are about to be told of them: what was just written is not read back.

use std::collections::VecDeque;

use crate::{Change, Commit, Revision};

/// Most commits that are kept.
pub(crate) const RECENT: usize = 4096;
/// Most bytes of them.
const RECENT_BYTES: usize = 16 << 20;

/// Commits without a gap, oldest first, each with what else a backend knows of it.
pub(crate) struct Recent<T> {
    commits: VecDeque<(Commit, T)>,
    bytes: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { commits: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Recent<T> {
    /// Adds the next one.
    pub(crate) fn push(&mut self, commit: Commit, known: T) {
        self.bytes += size(&commit);
        self.commits.push_back((commit, known));
        while self.commits.len() > RECENT || self.bytes > RECENT_BYTES {
            self.forget();
        }
    }

    /// Forgets those up to a revision.
    pub(crate) fn compact(&mut self, revision: Revision) {
        while self.commits.front().is_some_and(|(commit, _)| commit.revision <= revision) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.bytes -= self.commits.pop_front().map_or(0, |(commit, _)| size(&commit));
    }

    /// At most so many from a revision on; `None` where that one is not kept.
    pub(crate) fn read(&self, from: Revision, limit: usize) -> Option<Vec<Commit>> {
        let skipped = usize::try_from(from.checked_sub(self.commits.front()?.0.revision)?).ok()?;
        let commits = || self.commits.iter().skip(skipped).take(limit).map(|(commit, _)| commit.clone()).collect();
        (skipped < self.commits.len()).then(commits)
    }

    /// All of them, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &(Commit, T)> {
        self.commits.iter().rev()
    }
}

/// About what a commit takes.
fn size(commit: &Commit) -> usize {
    let changes = commit.changes.iter().map(|change| match change {
        Change::Put(entry) => entry.key.len() + entry.value.len(),
        Change::Delete { key } => key.len(),
    });
    size_of::<Commit>() + commit.meta.why.len() + changes.map(|bytes| bytes + size_of::<Change>()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Meta};

    fn commit(revision: Revision, bytes: usize) -> Commit {
        let entry = Entry {
            key: "k".into(),
            value: vec![0; bytes].into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: None,
        };
        let meta = Meta { time_ms: 0, who: "test".into(), why: "test".into() };
        Commit { revision, meta, changes: vec![Change::Put(entry)] }
    }

    fn revisions(recent: &Recent<()>, from: Revision, limit: usize) -> Option<Vec<Revision>> {
        Some(recent.read(from, limit)?.iter().map(|commit| commit.revision).collect())
    }

    #[test]
    fn what_is_kept_is_read_from_anywhere_in_it_and_nothing_else() {
        let mut recent = Recent::default();
        assert_eq!(revisions(&recent, 1, 10), None);
        (7..10).for_each(|revision| recent.push(commit(revision, 1), ()));
        assert_eq!(revisions(&recent, 7, 10), Some(vec![7, 8, 9]));
        assert_eq!(revisions(&recent, 8, 1), Some(vec![8]));
        assert_eq!((revisions(&recent, 6, 10), revisions(&recent, 10, 10)), (None, None));
        recent.compact(8);
        assert_eq!((revisions(&recent, 8, 10), revisions(&recent, 9, 10)), (None, Some(vec![9])));
    }

    #[test]
    fn the_oldest_make_room_for_the_newest_and_large_ones_for_more() {
        let mut recent = Recent::default();
        let most = RECENT as Revision;
        (1..=most + 10).for_each(|revision| recent.push(commit(revision, 1), ()));
        assert_eq!((revisions(&recent, 10, 1), revisions(&recent, 11, 1)), (None, Some(vec![11])));
        let large = most + 11;
        (large..large + 40).for_each(|revision| recent.push(commit(revision, 500 << 10), ()));
        assert_eq!((revisions(&recent, large + 7, 1), revisions(&recent, large + 8, 1)), (None, Some(vec![large + 8])));
        recent.push(commit(large + 40, RECENT_BYTES), ());
        assert_eq!(revisions(&recent, large + 40, 1), None, "larger than all that is kept");
        recent.push(commit(large + 41, 1), ());
        assert_eq!(revisions(&recent, large + 41, 9), Some(vec![large + 41]));
    }
}
