//! Lines of the log that strangers cause: never more than an administrator can read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Lines in a second.
const LINES: u32 = 20;

/// Counts lines, second by second.
#[derive(Default)]
pub(super) struct Lines {
    window: Mutex<Option<Window>>,
}

struct Window {
    since: Instant,
    lines: u32,
    left_out: u32,
}

impl Lines {
    /// Whether another line may be written now. Says how many were not, once they may again.
    pub(super) fn may_write(&self, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let current = window.get_or_insert(Window { since: now, lines: 0, left_out: 0 });
        if now.duration_since(current.since) >= Duration::from_secs(1) {
            if current.left_out > 0 {
                warn!(count = current.left_out, "more messages were refused, their reasons left out");
            }
            *current = Window { since: now, lines: 0, left_out: 0 };
        }
        if current.lines < LINES {
            current.lines += 1;
            return true;
        }
        current.left_out += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_twenty_lines_a_second() {
        let (lines, start) = (Lines::default(), Instant::now());
        let written = |at| (0..1000).filter(|_| lines.may_write(at)).count();
        assert_eq!(written(start), 20);
        assert_eq!(written(start + Duration::from_millis(900)), 0);
        assert_eq!(written(start + Duration::from_millis(1000)), 20);
    }
}
