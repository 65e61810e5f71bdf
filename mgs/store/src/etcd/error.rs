//! What etcd answers instead of what was asked, told apart by what a caller does about it.

use thiserror::Error;
use tonic::{Code, Status};

use crate::{Revision, StoreError};

/// A call that etcd did not do, or may not have done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum EtcdError {
    /// No answer: whether the call had an effect is unknown.
    #[error("etcd {endpoint} does not answer: {reason}")]
    Unreachable { endpoint: String, reason: String },
    /// We may not do this.
    #[error(
        "etcd {endpoint} refuses us: {reason}; check the user, its password file, its role's prefix and the certificates"
    )]
    Credentials { endpoint: String, reason: String },
    /// The NOSPACE alarm.
    #[error(
        "etcd {endpoint} has no space left (alarm NOSPACE); compact and defragment it, or raise --quota-backend-bytes, then run etcdctl alarm disarm"
    )]
    NoSpace { endpoint: String },
    /// The request is larger than etcd takes.
    #[error(
        "etcd {endpoint} takes no request of this size: {reason}; raise --max-request-bytes and --max-txn-ops to their defaults or more"
    )]
    TooLarge { endpoint: String, reason: String },
    /// The etcd revision asked for was compacted by etcd.
    #[error("etcd {endpoint} has compacted the revision that was being read")]
    Compacted { endpoint: String },
    /// The lease is over.
    #[error("etcd {endpoint} does not know the lease")]
    LeaseNotFound { endpoint: String },
    /// Under our prefix is something that we did not write.
    #[error("{key} in etcd holds what no store has written: {reason}")]
    Damaged { key: String, reason: String },
    /// Another instance has compacted what we were about to read: the state has to be listed again.
    #[error("commits up to {compacted} are compacted")]
    Behind { compacted: Revision },
    /// Anything else.
    #[error("etcd {endpoint} answers: {reason}")]
    Other { endpoint: String, reason: String },
}

impl EtcdError {
    /// What a status means. Source: `api/v3rpc/rpctypes/error.go`'s messages.
    pub(super) fn from_status(endpoint: &str, status: &Status) -> Self {
        let (endpoint, text) = (endpoint.to_owned(), status.message());
        let reason = text.strip_prefix("etcdserver: ").unwrap_or(text).to_owned();
        let is_credentials = ["user name is empty", "authentication failed", "permission denied", "auth token"];
        match status.code() {
            Code::ResourceExhausted if text.contains("space exceeded") => Self::NoSpace { endpoint },
            Code::InvalidArgument if text.contains("too large") || text.contains("too many operations") => {
                Self::TooLarge { endpoint, reason }
            }
            Code::OutOfRange if text.contains("compacted") => Self::Compacted { endpoint },
            Code::NotFound if text.contains("lease not found") => Self::LeaseNotFound { endpoint },
            Code::Unauthenticated | Code::PermissionDenied => Self::Credentials { endpoint, reason },
            _ if is_credentials.iter().any(|part| text.contains(part)) => Self::Credentials { endpoint, reason },
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                Self::Unreachable { endpoint, reason: chain(status, reason) }
            }
            // How the transport's failures arrive.
            Code::Unknown | Code::Internal => Self::Unreachable { endpoint, reason: chain(status, reason) },
            _ => Self::Other { endpoint, reason },
        }
    }

    /// Whether the token that we logged in with is over.
    pub(super) fn is_old_token(status: &Status) -> bool {
        status.message().contains("invalid auth token") || status.message().contains("revision of auth store is old")
    }
}

/// The message with its innermost cause: tonic says "transport error" and hides the rest in `source()`.
fn chain(status: &Status, reason: String) -> String {
    let mut cause = std::error::Error::source(status);
    let mut innermost = None;
    while let Some(err) = cause {
        innermost = Some(err.to_string());
        cause = err.source();
    }
    match innermost {
        Some(cause) if !reason.contains(&cause) => format!("{reason}: {cause}"),
        _ => reason,
    }
}

impl From<EtcdError> for StoreError {
    fn from(err: EtcdError) -> Self {
        match err {
            EtcdError::Damaged { .. } => Self::Unreadable { reason: err.to_string() },
            EtcdError::Behind { compacted } => Self::Compacted { asked: compacted, compacted },
            err => Self::Unavailable { reason: err.to_string() },
        }
    }
}
