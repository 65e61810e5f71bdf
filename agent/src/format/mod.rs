//! Makes a target of a device: natively, in one pass, without mounting it.
//!
//! Every check stands before the first write, and the label that makes a file system a target is the last one. In
//! between the device says that it is unfinished ([`crate::observe::Marker`]), so nothing that was killed half way is
//! ever taken for a target.

mod begun;
mod check;
mod command;
mod follow;
pub mod guard;
mod mark;
mod procedure;
mod report;
mod wanted;
pub mod zfs;

pub use begun::Begun;
pub use procedure::Format;
pub use report::{FormatEnd, Report};
pub use wanted::{Wanted, WantedError};
