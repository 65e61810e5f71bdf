//! The newest commits, for those who are about to be told of them: what was just written is not read back from the file.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Change, Commit, Revision};

/// Most commits that are kept, and most bytes of them.
const KEPT: usize = 512;
const KEPT_BYTES: usize = 4 << 20;

/// Durable commits without a gap, oldest first.
#[derive(Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    commits: VecDeque<Commit>,
    bytes: usize,
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds those that follow the ones before.
    pub(super) fn push(&self, commits: impl IntoIterator<Item = Commit>) {
        let mut kept = self.kept();
        for commit in commits {
            kept.bytes += size(&commit);
            kept.commits.push_back(commit);
        }
        while kept.commits.len() > KEPT || kept.bytes > KEPT_BYTES {
            let Some(oldest) = kept.commits.pop_front() else { return };
            kept.bytes -= size(&oldest);
        }
    }

    /// At most so many from a revision on; `None` where that one is not kept.
    pub(super) fn read(&self, from: Revision, limit: usize) -> Option<Vec<Commit>> {
        let kept = self.kept();
        let skipped = usize::try_from(from.checked_sub(kept.commits.front()?.revision)?).ok()?;
        let commits: Vec<Commit> = kept.commits.iter().skip(skipped).take(limit).cloned().collect();
        (skipped < kept.commits.len()).then_some(commits)
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

    fn revisions(recent: &Recent, from: Revision, limit: usize) -> Option<Vec<Revision>> {
        Some(recent.read(from, limit)?.iter().map(|commit| commit.revision).collect())
    }

    #[test]
    fn what_is_kept_is_read_from_anywhere_in_it_and_nothing_else() {
        let recent = Recent::default();
        assert_eq!(revisions(&recent, 1, 10), None);
        recent.push((7..10).map(|revision| commit(revision, 1)));
        assert_eq!(revisions(&recent, 7, 10), Some(vec![7, 8, 9]));
        assert_eq!(revisions(&recent, 8, 1), Some(vec![8]));
        assert_eq!((revisions(&recent, 6, 10), revisions(&recent, 10, 10)), (None, None));
    }

    #[test]
    fn the_oldest_make_room_for_the_newest_and_large_ones_for_more() {
        let recent = Recent::default();
        recent.push((1..=600).map(|revision| commit(revision, 1)));
        assert_eq!(revisions(&recent, 88, 1), None);
        assert_eq!(revisions(&recent, 89, 1), Some(vec![89]));
        recent.push((601..=612).map(|revision| commit(revision, 500 << 10)));
        assert_eq!((revisions(&recent, 604, 1), revisions(&recent, 605, 1)), (None, Some(vec![605])));
        recent.push([commit(613, KEPT_BYTES)]);
        assert_eq!(revisions(&recent, 613, 1), None, "larger than all that is kept");
        recent.push([commit(614, 1)]);
        assert_eq!(revisions(&recent, 614, 9), Some(vec![614]));
    }
}
