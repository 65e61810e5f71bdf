//! Config logs: what the kernel's nodes read, exactly as a kernel MGS writes it.
//!
//! A change of the configuration is one [`LogEvent`]: sections appended to some logs, markers of older sections rewritten.
//! Events are stored, in order, and never changed; [`FsLogs::apply`] makes the logs of them, so every MGS on a store
//! serves the same bytes. Records keep their index for ever: nodes read on from the last one that they saw.
//! What an event holds is decided here, by pure functions that write to a [`Draft`]: one file per subject.
//!
//! Times in markers are the decision's; their version is [`LUSTRE_VERSION`]. Source: config-log specification; compared
//! record by record with the logs of a 2.17.57 MGS in `tests/configlog.rs`.

mod commands;
mod draft;
mod event;
mod file;
mod logs;
pub mod names;
pub mod param;
mod pool;
mod register;
mod section;
mod surgery;
pub mod tunable;

pub use draft::{Draft, DraftError};
pub use event::{LogEvent, LogOp};
pub use file::{Block, ConfigLog};
pub use logs::FsLogs;
pub use pool::PoolChange;
pub use register::TargetInfo;
pub use section::{Placed, Section};

/// The release whose records these are: what markers name (2.17.57.62).
pub const LUSTRE_VERSION: u32 = 0x0211_393E;
