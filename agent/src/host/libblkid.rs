//! Where the installed libblkid looks for signatures, by its own account.
//!
//! A later version may know formats that keep theirs elsewhere. So it is asked: with `LIBBLKID_DEBUG=lowprobe` it prints each
//! place that it reads. Once it has read nothing outside of the [`windows`] of blank images, `wipefs` is not asked about
//! devices whose windows are zero; where it reads elsewhere, or says nothing that is understood, it is asked each time.

use super::{
    blank::windows,
    nameless,
    tool::{self, Fingerprint},
};
use std::{ops::Range, path::Path, sync::Mutex};
use tracing::info;

/// Sizes of the images that it is tried on: one where a RAID superblock is at the very end, and a large one that no
/// alignment divides.
const SIZES: [u64; 2] = [64 << 20, (4 << 40) + 37 * 4096];
/// Reads of a blank device that are the fewest to be believed; there are 45 with version 2.38.
const PLAUSIBLE: usize = 20;

/// Remembers the answer for as long as `wipefs` is the same file: it is of the same package.
#[derive(Debug, Default)]
pub struct LibblkidCache {
    known: Mutex<Option<(Fingerprint, bool)>>,
}

impl LibblkidCache {
    /// Whether all that is read of a blank device is within its windows.
    pub fn stays_within_windows(&self) -> bool {
        let Some(print) = tool::fingerprint("wipefs") else { return false };
        let mut known = self.known.lock().expect("never poisoned: nothing panics while it is held");
        if let Some((seen, answer)) = *known
            && seen == print
        {
            return answer;
        }
        let answer = SIZES.iter().all(|size| is_within(*size, &reads_of_blank(*size)));
        if !answer {
            info!(
                "the installed libblkid looks for signatures in places that are not known here: wipefs is asked each time"
            );
        }
        *known = Some((print, answer));
        answer
    }
}

fn is_within(size: u64, reads: &[Range<u64>]) -> bool {
    let windows = windows(size);
    let is_in_one =
        |read: &Range<u64>| windows.iter().any(|window| window.start <= read.start && read.end <= window.end);
    reads.len() >= PLAUSIBLE && reads.iter().all(is_in_one)
}

/// What is read of a blank image of `size` bytes; nothing where that can't be known.
fn reads_of_blank(size: u64) -> Vec<Range<u64>> {
    let Ok(image) = nameless::image(size) else { return Vec::new() };
    said_reads(&image.path)
}

/// What `wipefs` says that it reads of a device, for tests too; nothing if it doesn't.
#[doc(hidden)]
pub fn said_reads(device: &Path) -> Vec<Range<u64>> {
    let args = ["LIBBLKID_DEBUG=lowprobe".as_ref(), std::ffi::OsStr::new("wipefs"), "--no-act".as_ref()];
    let output = tool::run("env", "coreutils", args.into_iter().chain([device.as_os_str()]));
    match output {
        Ok(output) if output.status.success() => parse(&String::from_utf8_lossy(&output.stderr)),
        _ => Vec::new(),
    }
}

/// Lines such as `7: libblkid: LOWPROBE: \tread: off=4096 len=256`. Nothing where a line about reading is another one.
fn parse(said: &str) -> Vec<Range<u64>> {
    let lines = said.lines().filter_map(|line| line.split_once("LOWPROBE:")?.1.trim().strip_prefix("read"));
    // It also says that it is ready.
    let lines = lines.filter(|line| !line.starts_with(char::is_alphabetic));
    let range = |line: &str| {
        let (offset, len) = line.strip_prefix(": off=")?.split_once(" len=")?;
        let (offset, len) = (offset.parse::<u64>().ok()?, len.parse::<u64>().ok()?);
        Some(offset..offset.checked_add(len)?)
    };
    lines.map(range).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_libblkid_looks_where_we_do() {
        assert!(LibblkidCache::default().stays_within_windows());
    }

    #[test]
    fn one_that_looks_elsewhere_or_says_nothing_is_not_relied_on() {
        let line = |at: u64| format!("42: libblkid: LOWPROBE: \tread: off={at} len=512\n");
        let usual: String = (0..PLAUSIBLE as u64).map(|n| line(n * 512)).collect();
        let size = 64 << 20;
        let other =
            "42: libblkid: LOWPROBE: ready for low-probing, offset=0\n42: libblkid: LOWPROBE: [1] ddf_raid_member:\n";
        assert!(is_within(size, &parse(&format!("{other}{usual}"))));
        assert!(!is_within(size, &parse(&format!("{usual}{}", line(8 << 20)))));
        assert!(!is_within(size, &parse(&format!("{usual}42: libblkid: LOWPROBE: \tread all\n"))));
        assert!(!is_within(size, &parse(&line(0))) && !is_within(size, &parse("")));
    }
}
