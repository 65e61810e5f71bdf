//! What a format tells while it is under way, and how it ends.

use super::Begun;
use crate::host::HostError;
use lustre_api::{device::Refusal, job::Progress};

/// Whom a format tells what it does. Blocking.
pub trait Report {
    /// Makes durable how far it has come; nothing goes on before that.
    fn begun(&self, begun: &Begun) -> Result<(), String>;
    /// Tells how much is done.
    fn progress(&self, progress: Progress);
    /// Tells what the program printed last.
    fn output(&self, lines: Vec<String>);
    /// Tells what the program exited with.
    fn exited(&self, status: Option<i32>);
    /// Whether it shall stop.
    fn is_cancelled(&self) -> bool;
}

/// How a format ended without reaching its goal.
#[derive(Debug)]
pub enum FormatEnd {
    /// Nothing was touched, for these reasons.
    Refused(Vec<Refusal>),
    /// Nothing was touched: the device isn't what the plan saw.
    Changed(String),
    /// The device can't be looked at, or a program can't be run; nothing was touched.
    Host(HostError),
    /// It didn't work; what is on the device now is in the message.
    Failed {
        /// What happened.
        message: String,
        /// Whether the same may work later.
        retryable: bool,
    },
    /// Stopped on request; what is on the device now.
    Cancelled(String),
}

impl From<HostError> for FormatEnd {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}
