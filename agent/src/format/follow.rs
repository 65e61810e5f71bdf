//! Follows the `mke2fs` of a format to its end, whoever started it.

use super::{Begun, Format, FormatEnd};
use crate::host::{
    Device,
    detached::{Detached, find_by_argument},
    mke2fs::{Mke2fsProgress, last_lines, latest_progress},
};
use crate::time::now;
use lustre_api::job::Progress;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How often a running `mke2fs` is looked at for progress, and the job for a cancel: that must be obeyed within a second.
const POLL: Duration = Duration::from_millis(50);
/// How old progress may get before it is told again, even unchanged.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long `mke2fs` may take to end by itself once told to.
const TERM_GRACE: Duration = Duration::from_millis(300);
/// Lines of its output that go with a result.
pub(super) const OUTPUT_LINES: usize = 12;

impl Format<'_> {
    /// Waits for a `mke2fs` of an earlier agent, if it still runs; whether it did.
    pub(super) fn outlive(&self, device: &Device, begun: &Begun) -> Result<bool, FormatEnd> {
        // Found by the UUID in its arguments, which nobody else has: the id that it was started with need not be journaled.
        let found = find_by_argument(&begun.uuid.to_string());
        match found.and_then(|process| Detached::adopt(process, self.dir)) {
            Some(mut run) => self.watch(device, &mut run, begun).map(|()| true),
            None => Ok(false),
        }
    }

    /// Follows a running `mke2fs` to its end, telling its progress; kills it when the job is cancelled.
    pub(super) fn watch(&self, device: &Device, run: &mut Detached, begun: &Begun) -> Result<(), FormatEnd> {
        let mut told = None;
        let mut told_at = Instant::now();
        while run.is_running() {
            if self.report.is_cancelled() {
                self.kill(run);
                return Err(self.cancelled(device, begun, &[]));
            }
            let progress = latest_progress(&run.stdout_tail());
            if progress != told || told_at.elapsed() >= REPORT_EVERY {
                self.report.progress(progress_of(progress.as_ref()));
                (told, told_at) = (progress, Instant::now());
            }
            run.wait_for_end(POLL);
        }
        self.report.output(last_lines(&run.stdout_tail(), OUTPUT_LINES));
        Ok(())
    }

    /// Ends the whole process group; comes back when it is gone, which a disk that doesn't answer may delay.
    fn kill(&self, run: &mut Detached) {
        run.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while run.is_running() && asked.elapsed() < TERM_GRACE {
            run.wait_for_end(POLL / 5);
        }
        while run.is_running() {
            run.signal(Signal::SIGKILL);
            run.wait_for_end(POLL / 5);
        }
    }
}

fn progress_of(progress: Option<&Mke2fsProgress>) -> Progress {
    let (done, total) =
        progress.and_then(|progress| progress.counted).map_or((0, None), |(done, total)| (done, Some(total)));
    Progress {
        phase: progress.map_or_else(|| "starting mke2fs".to_owned(), |progress| progress.phase.clone()),
        done,
        total,
        unit: progress.map_or("steps", |progress| progress.unit()).to_owned(),
        at: now(),
        rate_per_s: None,
        eta_s: None,
    }
}
