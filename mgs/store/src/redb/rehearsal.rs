//! A copy-on-write view of a file: redb may repair and check there as it likes, the file stays as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use ::redb::StorageBackend;

const PAGE: usize = 4096;

/// Reads come from the file, writes go to memory. Memory grows with what a repair rewrites, not with the file.
#[derive(Debug)]
pub(super) struct Rehearsal {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// How much of the file still counts: a shorter `set_len` cuts it, a longer one after that reads as zeros.
    file_len: u64,
    written: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Rehearsal {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(State { len, file_len: len, written: HashMap::new() }) })
    }

    /// One page as it is now.
    fn page(&self, state: &State, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        if let Some(page) = state.written.get(&number) {
            return Ok(page.clone());
        }
        let mut page = Box::new([0; PAGE]);
        let start = number * PAGE as u64;
        let from_file = usize::try_from(state.file_len.saturating_sub(start)).unwrap_or(PAGE).min(PAGE);
        self.file.read_exact_at(&mut page[..from_file], start)?;
        Ok(page)
    }
}

/// The pages that `len` bytes from `offset` on touch: (page, offset in the page, bytes of it).
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE as u64).expect("less than a page");
        let count = (PAGE - within).min(len - done);
        done += count;
        Some((at / PAGE as u64, within, count))
    })
}

impl StorageBackend for Rehearsal {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (number, within, count) in pages(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&self.page(&state, number)?[within..within + count]);
            rest = later;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if len < state.len {
            state.file_len = state.file_len.min(len);
            state.written.retain(|number, _| number * (PAGE as u64) < len);
            let last = len / PAGE as u64;
            if let Some(page) = state.written.get_mut(&last) {
                page[usize::try_from(len % PAGE as u64).expect("less than a page")..].fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = data;
        for (number, within, count) in pages(offset, data.len()) {
            let (now, later) = rest.split_at(count);
            let mut page = self.page(&state, number)?;
            page[within..within + count].copy_from_slice(now);
            state.written.insert(number, page);
            rest = later;
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rehearsal(content: &[u8]) -> (Rehearsal, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        (Rehearsal::new(file.reopen().unwrap()).unwrap(), file)
    }

    #[test]
    fn writes_are_read_back_and_the_file_keeps_its_bytes() {
        let content = vec![7; 3 * PAGE + 5];
        let (view, file) = rehearsal(&content);
        view.write(PAGE as u64 - 2, &[1, 2, 3, 4]).unwrap();
        let mut got = [0; 6];
        view.read(PAGE as u64 - 3, &mut got).unwrap();
        assert_eq!(got, [7, 1, 2, 3, 4, 7]);
        assert_eq!(std::fs::read(file.path()).unwrap(), content);
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros_when_it_grows_again() {
        let (view, _file) = rehearsal(&[7; 2 * PAGE]);
        view.write(10, &[8]).unwrap();
        view.set_len(5).unwrap();
        view.set_len(20).unwrap();
        let mut got = [1; 20];
        view.read(0, &mut got).unwrap();
        assert_eq!(got, [7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(view.read(1, &mut got).is_err());
    }
}
