//! `mke2fs`: what options a target needs, what the installed one can do, and what it prints.

mod args;
mod options;
mod progress;
mod support;

pub use args::{Backing, MIN_TARGET_BYTES};
pub use options::{UserOptions, UserOptionsError};
pub use progress::{Mke2fsProgress, has_said_done, last_lines, latest_progress};
pub use support::{Mke2fs, Mke2fsCache};
