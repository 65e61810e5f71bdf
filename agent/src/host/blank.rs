//! Whether a device is blank: zero wherever anything known keeps a signature, and for a megabyte at either end.
//!
//! `wipefs` is a process, milliseconds of a processor for each device. It need not be asked about a blank one: what it says
//! is decided by the bytes that it reads, and the places where it reads are all in the [`windows`]. Where those are zero, it
//! reads what it reads of any blank device, and nothing else. That the installed libblkid reads nowhere else is not taken
//! on trust: [`LibblkidCache`](super::libblkid::LibblkidCache).

use super::{Device, HostError, magic::ENDS};
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
};

/// Direct reads begin and end at multiples of this, which every sector size divides; so do the windows.
const PAGE: usize = 4096;
/// Places beyond the front end where libblkid looks: VMFS at 1 and 2 MiB, the second header of LUKS2 at up to 4 MiB.
const FRONT: [u64; 3] = [ENDS, 2 << 20, 4 << 20];
/// The same before the back end, in bytes from the end: RAID of Promise, which has the most distant superblock.
const BACK: u64 = 0x18_1E00;
/// The most that is read at once, bytes: the longest window of a large device.
const LONGEST: usize = (1 << 20) + PAGE;

/// What is read of a device of `size` bytes, in order and apart.
pub fn windows(size: u64) -> Vec<Range<u64>> {
    let page = PAGE as u64;
    let ends = [0..ENDS, size.saturating_sub(ENDS)..size];
    let between = FRONT.into_iter().chain(size.checked_sub(BACK)).map(|at| at..at + 512);
    let mut wanted: Vec<Range<u64>> = ends.into_iter().chain(between).collect();
    wanted.sort_by_key(|window| window.start);
    let mut windows: Vec<Range<u64>> = Vec::new();
    for window in wanted {
        let window = window.start / page * page..window.end.next_multiple_of(page).min(size);
        match windows.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ if window.start < window.end => windows.push(window),
            _ => {}
        }
    }
    windows
}

/// Whether all of the [`windows`] of a device are zero.
///
/// A device is read past the page cache: what it holds now, not what was once read of it, and without two megabytes of
/// zeroes in memory that nobody asks for again. Errors: it can't be read.
pub fn reads_as_zero(device: &Device) -> Result<bool, HostError> {
    let read = |flags| is_zero(&open(device, flags)?, device.size_bytes);
    let read = match read(nix::libc::O_DIRECT) {
        // Some devices can't be read so.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => read(0),
        other => other,
    };
    read.map_err(HostError::io("read", &device.path))
}

fn open(device: &Device, flags: i32) -> io::Result<File> {
    // Of an image file, whose size need not be one of whole sectors, the end could not be read directly.
    let flags = if device.number.is_some() { flags } else { 0 };
    File::options().read(true).custom_flags(flags).open(&device.path)
}

fn is_zero(file: &File, size: u64) -> io::Result<bool> {
    let mut room = vec![0; LONGEST + PAGE];
    let start = room.as_ptr().align_offset(PAGE);
    let aligned = &mut room[start..];
    for window in windows(size) {
        let mut at = window.start;
        // Windows of a small device may have become one that is longer than the buffer.
        while at < window.end {
            let len = usize::try_from(window.end - at).unwrap_or(LONGEST).min(LONGEST);
            let bytes = &mut aligned[..len];
            file.read_exact_at(bytes, at)?;
            if !all_zero(bytes) {
                return Ok(false);
            }
            at += len as u64;
        }
    }
    Ok(true)
}

/// Block by block, which is a comparison of memory: byte by byte it took as long as all the rest of a look.
fn all_zero(bytes: &[u8]) -> bool {
    const ZEROES: [u8; PAGE] = [0; PAGE];
    bytes.chunks(ZEROES.len()).all(|block| *block == ZEROES[..block.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::DeviceKind;

    #[test]
    fn windows_are_in_order_apart_and_within_the_device_whatever_its_size() {
        for size in [0, 1, 511, 4096, 100_000, 1 << 20, (1 << 20) + 512, 3 << 20, 5 << 20, (16 << 20) - 512, 1 << 44] {
            let windows = windows(size);
            assert!(
                windows.iter().all(|window| window.start < window.end && window.end <= size),
                "{size}: {windows:?}"
            );
            assert!(windows.windows(2).all(|pair| pair[0].end < pair[1].start), "{size}: {windows:?}");
            let has = |at: u64| windows.iter().any(|window| window.contains(&at));
            for at in [0, ENDS - 1, size.saturating_sub(ENDS), size.saturating_sub(1)] {
                assert!(at >= size || has(at), "{size}: {at} is not in {windows:?}");
            }
        }
        assert_eq!(
            windows(1 << 40).iter().map(|window| window.end - window.start).sum::<u64>(),
            (2 << 20) + 4 * PAGE as u64
        );
    }

    #[test]
    fn a_byte_in_any_window_counts_and_one_outside_of_all_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        for size in [(64 << 20) + 512, 3 << 20, 5000] {
            let device = Device::plain(path.clone(), "disk.img", DeviceKind::Image, size);
            let with = |at: Option<u64>| {
                let file = File::create(&path).unwrap();
                file.set_len(size).unwrap();
                if let Some(at) = at {
                    file.write_all_at(b"x", at).unwrap();
                }
                reads_as_zero(&device).unwrap()
            };
            assert!(with(None));
            for window in windows(size) {
                for at in [window.start, window.end - 1] {
                    assert!(!with(Some(at)), "{at} of {size}");
                }
            }
            let gap = windows(size).windows(2).map(|pair| pair[0].end).next();
            assert!(gap.is_none_or(|at| with(Some(at))));
        }
    }
}
