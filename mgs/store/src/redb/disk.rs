//! What redb writes between two syncs, passed on sorted when it syncs: pages that are neighbours in one piece, and into a part
//! of the file that has its place on the disk already.
//!
//! redb writes a page at a time, and grows its file by holes. A file system that has to find a place for scattered pages at each
//! sync, and to make that durable too, takes longer over it than redb over the commit.

use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::redb::{BackendError, StorageBackend};

/// Most bytes that wait for a sync.
const KEPT: usize = 4 << 20;
/// How far a file that grows is filled with zeros ahead of what is written.
const AHEAD: u64 = 1 << 20;

/// Storage that is written to when it is synced. Nothing that redb may rely on is lost by that: what is not synced may be gone
/// after a crash, whole or in part.
#[derive(Debug)]
pub(super) struct Disk<B> {
    under: B,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where each piece belongs, and where it ends in `bytes`; in the order in which they were written.
    pieces: Vec<(u64, usize)>,
    bytes: Vec<u8>,
    len: u64,
    /// Behind this and below `len` there is nothing but a hole.
    filled: u64,
    /// Something was not written: no later sync may say that all is well.
    failed: Option<io::ErrorKind>,
}

impl State {
    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What waits, with where it belongs.
    fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut begin = 0;
        self.pieces.iter().map(move |&(at, end)| (at, &self.bytes[std::mem::replace(&mut begin, end)..end]))
    }

    /// Whether some of a range waits.
    fn is_waiting(&self, from: u64, to: u64) -> bool {
        self.pieces().any(|piece| piece.0 < to && from < behind(&piece))
    }
}

/// Where what is behind a piece begins.
fn behind((at, bytes): &(u64, &[u8])) -> u64 {
    at + bytes.len() as u64
}

impl<B: StorageBackend> Disk<B> {
    /// Of storage that nobody else writes to. Errors: its length can't be read.
    pub(super) fn new(under: B) -> io::Result<Self> {
        let len = under.len()?;
        // What was a hole before is not told from what was written.
        let state = State { pieces: Vec::new(), bytes: Vec::new(), len, filled: len, failed: None };
        Ok(Self { under, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what waits.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        state.check()?;
        let passed = self.pass_on(state);
        state.pieces.clear();
        state.bytes.clear();
        match passed {
            Ok(filled) => state.filled = filled,
            Err(ref err) => state.failed = Some(err.kind()),
        }
        passed.map(drop)
    }

    /// Gives where the hole behind all that is written begins.
    fn pass_on(&self, state: &State) -> io::Result<u64> {
        let mut pieces: Vec<(u64, &[u8])> = state.pieces().collect();
        let Some(end) = pieces.iter().map(behind).max() else { return Ok(state.filled) };
        let mut sorted = pieces.clone();
        sorted.sort_by_key(|(at, _)| *at);
        // Of two that overlap, the later one counts.
        if sorted.is_sorted_by(|one, next| behind(one) <= next.0) {
            pieces = sorted;
        }
        let filled = if end > state.filled { self.fill(state.filled, end, state.len) } else { state.filled };
        for run in pieces.chunk_by(|one, next| behind(one) == next.0) {
            match run {
                [(at, bytes)] => self.under.write(*at, bytes)?,
                _ => self.under.write(run[0].0, &run.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>().concat())?,
            }
        }
        Ok(filled)
    }

    /// Fills the hole that begins at `from` with zeros, up to a bit behind `end`; gives where it begins then.
    fn fill(&self, from: u64, end: u64, len: u64) -> u64 {
        let to = end.next_multiple_of(AHEAD).min(len).max(end);
        // Who skips a large part has his reasons, and would wait for it.
        let is_near = end - from <= KEPT as u64;
        // Where there is no room for zeros there may be some for the data.
        let is_filled =
            is_near && usize::try_from(to - from).is_ok_and(|n| self.under.write(from, &vec![0; n]).is_ok());
        if is_filled { to } else { end }
    }
}

impl<B: StorageBackend> StorageBackend for Disk<B> {
    fn len(&self) -> io::Result<u64> {
        self.under.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.is_waiting(offset, offset.saturating_add(out.len() as u64)) {
            self.flush(&mut state)?;
        }
        drop(state);
        self.under.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        self.flush(&mut state)?;
        self.under.set_len(len)?;
        state.filled = state.filled.min(len);
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        self.flush(&mut state)?;
        drop(state);
        self.under.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.check()?;
        state.bytes.extend_from_slice(data);
        let end = state.bytes.len();
        state.pieces.push((offset, end));
        if end >= KEPT { self.flush(&mut state) } else { Ok(()) }
    }

    fn close(&self) -> io::Result<()> {
        let flushed = self.flush(&mut self.state());
        self.under.close().and(flushed)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Remembers its bytes and where it was written to, and can be full.
    #[derive(Clone, Debug, Default)]
    struct Paper {
        text: Arc<Mutex<Vec<u8>>>,
        writes: Arc<Mutex<Vec<(usize, usize)>>>,
        is_full: Arc<AtomicBool>,
    }

    impl Paper {
        fn text(&self) -> Vec<u8> {
            self.text.lock().unwrap().clone()
        }

        fn writes(&self) -> Vec<(usize, usize)> {
            std::mem::take(&mut self.writes.lock().unwrap())
        }
    }

    impl StorageBackend for Paper {
        fn len(&self) -> io::Result<u64> {
            Ok(self.text().len() as u64)
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.text()[at..at + out.len()]);
            Ok(())
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.text.lock().unwrap().resize(usize::try_from(len).unwrap(), b'.');
            Ok(())
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.is_full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let at = usize::try_from(offset).unwrap();
            self.text.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
            self.writes.lock().unwrap().push((at, data.len()));
            Ok(())
        }
    }

    fn disk(len: u64) -> (Paper, Disk<Paper>) {
        let paper = Paper::default();
        paper.set_len(len).unwrap();
        (paper.clone(), Disk::new(paper).unwrap())
    }

    #[test]
    fn neighbours_are_written_together_when_they_are_synced() {
        let (paper, disk) = disk(8);
        for (at, text) in [(4, "ef"), (0, "ab"), (2, "cd"), (7, "h")] {
            disk.write(at, text.as_bytes()).unwrap();
        }
        assert_eq!(paper.text(), b"........");
        disk.sync_data().unwrap();
        assert_eq!((paper.text().as_slice(), paper.writes()), (b"abcdef.h".as_slice(), vec![(0, 6), (7, 1)]));
        disk.sync_data().unwrap();
        assert_eq!(paper.writes(), []);
    }

    #[test]
    fn what_is_written_twice_is_as_it_was_written_last() {
        let (paper, disk) = disk(6);
        disk.write(2, b"xyz").unwrap();
        disk.write(1, b"abcd").unwrap();
        disk.write(0, b"-").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(paper.text(), b"-abcd.");
    }

    #[test]
    fn what_waits_is_read_and_cut_off_like_what_is_written() {
        let (paper, disk) = disk(4);
        disk.write(0, b"abcd").unwrap();
        let mut read = [0; 4];
        disk.read(0, &mut read).unwrap();
        assert_eq!((&read, paper.writes()), (b"abcd", vec![(0, 4)]));
        disk.write(2, b"ef").unwrap();
        disk.read(0, &mut read[..2]).unwrap();
        assert_eq!(paper.writes(), [], "somebody else's bytes");
        disk.set_len(3).unwrap();
        disk.set_len(4).unwrap();
        disk.sync_data().unwrap();
        assert_eq!(paper.text(), b"abe.");
    }

    #[test]
    fn more_than_a_sync_should_wait_for_does_not_wait() {
        let (paper, disk) = disk(KEPT as u64);
        disk.write(0, &vec![1; KEPT]).unwrap();
        assert_eq!(paper.writes(), [(0, KEPT)]);
    }

    #[test]
    fn what_a_file_grows_by_is_filled_once_ahead_of_what_is_written_and_never_over_it() {
        let (paper, disk) = disk(2);
        disk.write(0, b"ab").unwrap();
        disk.set_len(3 * AHEAD).unwrap();
        assert_eq!(paper.writes(), [(0, 2)]);
        disk.write(10, b"cd").unwrap();
        disk.sync_data().unwrap();
        let ahead = usize::try_from(AHEAD).unwrap();
        assert_eq!(paper.writes(), [(2, ahead - 2), (10, 2)]);
        disk.write(5, b"e").unwrap();
        disk.write(AHEAD - 1, b"fg").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(paper.writes(), [(ahead, ahead), (5, 1), (ahead - 1, 2)]);
        // What is cut off and added again is a hole again.
        disk.set_len(AHEAD).unwrap();
        disk.set_len(AHEAD + 4).unwrap();
        disk.write(AHEAD + 1, b"h").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(paper.writes(), [(ahead, 4), (ahead + 1, 1)]);
        // A large part that is skipped stays a hole.
        disk.set_len(AHEAD + 4 + 2 * KEPT as u64).unwrap();
        disk.write(AHEAD + 2 * KEPT as u64, b"i").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(paper.writes(), [(ahead + 2 * KEPT, 1)]);
        let text = paper.text();
        assert_eq!((&text[..6], &text[10..12]), (b"ab\0\0\0e".as_slice(), b"cd".as_slice()));
        assert_eq!(&text[ahead - 1..ahead + 4], b"f\0h\0\0");
    }

    #[test]
    fn after_a_write_that_failed_no_sync_says_that_all_is_well_and_what_was_there_can_be_read() {
        let (paper, disk) = disk(4);
        disk.write(0, b"abcd").unwrap();
        disk.sync_data().unwrap();
        disk.write(0, b"x").unwrap();
        paper.is_full.store(true, Ordering::Relaxed);
        assert_eq!(disk.sync_data().unwrap_err().kind(), io::ErrorKind::StorageFull);
        paper.is_full.store(false, Ordering::Relaxed);
        assert_eq!(disk.write(0, b"y").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.sync_data().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut read = [0; 4];
        disk.read(0, &mut read).unwrap();
        assert_eq!(&read, b"abcd");
        assert!(disk.close().is_err());
    }
}
