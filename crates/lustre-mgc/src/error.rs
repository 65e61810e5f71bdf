//! What can go wrong between a client and an MGS.

use lnet::SendError;
use lustre_wire::{bytes::WireError, ptlrpc::Opcode};
use std::io;

/// Why an MGS didn't do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MgcError {
    /// No NID of the MGS answered in time.
    #[error("no MGS answers at {mgs}")]
    Unreachable {
        /// The NIDs that were tried, as in `10.0.0.1@tcp:10.0.0.2@tcp`.
        mgs: String,
        /// Why the last attempt failed.
        #[source]
        source: Option<SendError>,
    },
    /// It refused the connection.
    #[error("the MGS {nid} refuses the connection: {}", errno(*.status))]
    ConnectRefused {
        /// The NID that answered.
        nid: String,
        /// Negative errno.
        status: i32,
    },
    /// It was connected, and didn't answer in time.
    #[error("the MGS {nid} didn't answer {opc}")]
    TimedOut {
        /// Its NID.
        nid: String,
        /// What it was asked for.
        opc: Opcode,
    },
    /// It answered with an error.
    #[error("the MGS {nid} refuses {what}: {}", errno(*.status))]
    Refused {
        /// Its NID.
        nid: String,
        /// What it was asked for, and about which object.
        what: String,
        /// Negative errno.
        status: i32,
    },
    /// Its answer can't be read.
    #[error("the MGS {nid} answered {opc} with something that can't be read")]
    Malformed {
        /// Its NID.
        nid: String,
        /// What it was asked for.
        opc: Opcode,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// A log reads as no log can.
    #[error("log {log} of the MGS {nid} is damaged: {reason}")]
    BadLog {
        /// Its NID.
        nid: String,
        /// The log.
        log: String,
        /// What is wrong.
        reason: String,
    },
    /// A name that no log or target can have.
    #[error("{0}")]
    Name(String),
    /// No own NID can reach it, or this node is shut down.
    #[error("can't use the network")]
    Network(#[from] SendError),
}

impl MgcError {
    /// The status of a refusal, a negative errno.
    pub fn status(&self) -> Option<i32> {
        match self {
            Self::Refused { status, .. } | Self::ConnectRefused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What people call an errno.
pub(crate) fn errno(status: i32) -> io::Error {
    io::Error::from_raw_os_error(status.saturating_neg())
}

/// Errnos that a client acts on; numbers of Linux, which are those of the wire.
pub(crate) mod status {
    pub(crate) const ENOENT: i32 = -2;
    pub(crate) const EIO: i32 = -5;
    pub(crate) const EBUSY: i32 = -16;
    pub(crate) const ENODEV: i32 = -19;
    pub(crate) const EBADR: i32 = -53;
    pub(crate) const ENOTCONN: i32 = -107;
    pub(crate) const EALREADY: i32 = -114;
    pub(crate) const EINPROGRESS: i32 = -115;
}
