//! `mke2fs`: what options a target needs, what the installed one can do, and running it.

mod args;
mod options;
mod process;
mod progress;
mod session;
mod support;

pub use args::{Backing, MIN_TARGET_BYTES};
pub use options::{UserOptions, UserOptionsError};
pub use process::{Mke2fsRun, ProcessId, Spawn, boot_id, find_by_argument, output_tail};
pub use progress::{Mke2fsProgress, has_said_done, last_lines, latest_progress};
pub use support::{Mke2fs, Mke2fsCache};
