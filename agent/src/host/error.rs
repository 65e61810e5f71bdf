//! What can go wrong between the agent and its host.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// A host that doesn't do what was asked of it; the message names the object.
#[derive(Debug, Error)]
pub enum HostError {
    /// No such file or device.
    #[error("{path} does not exist on this node")]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// A path that is neither a block device nor an image file in a directory that the agent may use.
    #[error("{path} is no block device{hint}")]
    NoDevice {
        /// What was asked for.
        path: PathBuf,
        /// What to do, or empty.
        hint: String,
    },
    /// A path relative to nobody knows what.
    #[error("device path {path:?} must be absolute")]
    Relative {
        /// What was asked for.
        path: PathBuf,
    },
    /// What looks like the name of a ZFS dataset and is none.
    #[error(transparent)]
    Dataset(lustre_types::DatasetError),
    /// Reading or writing a file or device.
    #[error("can't {what} {path}")]
    Io {
        /// Verb, such as `read`.
        what: &'static str,
        /// File or device.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program that isn't installed, or can't be run.
    #[error("can't run {tool}; install the package {package}")]
    ToolMissing {
        /// Program.
        tool: String,
        /// Where it usually comes from.
        package: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program said no.
    #[error("{tool} on {device} ended with {status}: {stderr}")]
    ToolFailed {
        /// Program.
        tool: String,
        /// What it worked on.
        device: PathBuf,
        /// Exit status in words.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A program answered in a way that this agent can't read.
    #[error("{tool} on {device} answered something unexpected: {detail}")]
    ToolAnswer {
        /// Program.
        tool: String,
        /// What it worked on.
        device: PathBuf,
        /// What was wrong with the answer.
        detail: String,
    },
}

impl HostError {
    /// For `map_err`: an I/O error on `path`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { what, path, source },
        }
    }
}

/// An error with its causes, for the last place that sees it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
