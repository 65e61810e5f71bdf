//! Who calls. Tokens and certificates will be other variants of it.

use std::fmt;
use std::net::IpAddr;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A process of this machine, over a unix socket; the kernel says whose.
    Local {
        /// Its user id.
        uid: u32,
    },
    /// Somebody at an address.
    Remote {
        /// The address.
        address: IpAddr,
    },
    /// Nobody knows: a call that did not come over a [`crate::Listener`].
    Unknown,
}

impl fmt::Display for Identity {
    /// As it is kept in histories: `uid:0`, `ip:10.0.0.7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "uid:{uid}"),
            Self::Remote { address } => write!(f, "ip:{address}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
