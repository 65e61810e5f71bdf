//! What a server answers when it refuses.

use crate::plan::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a request was refused: a stable code for programs, a message and a remedy for people.
///
/// Sent as `application/problem+json`; the HTTP status follows from the code. Never holds a secret or an internal detail: those
/// are in the log, under the same `request_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of refusal it is.
    pub code: ProblemCode,
    /// What happened, to which object.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The attribute that is wrong, as a dotted path into the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Finds the server's log lines about this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// All that is wrong, where a plan found more than one thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// The kinds of refusal. Programs decide by these, never by the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request can't be understood or names an illegal value (400).
    Invalid,
    /// The caller may not do this (403).
    Forbidden,
    /// There is no such object (404).
    NotFound,
    /// The object changed since the caller read it, or something else has what was asked for (409).
    Conflict,
    /// Doing it would lose data or cut off a service, and nothing in the request allows that (409).
    Refused,
    /// The body is larger than the server takes (413).
    TooLarge,
    /// The server, or a node that it needs, can't do this now; trying again later may help (503).
    Unavailable,
    /// A fault of the server (500).
    Internal,
}

impl ProblemCode {
    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict | Self::Refused => 409,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

impl Problem {
    /// A refusal of kind `code`; add to it with the methods below.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: None, attribute: None, request_id: None, findings: Vec::new() }
    }

    /// A value that can't be accepted.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Invalid, message)
    }

    /// An object that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, message)
    }

    /// An object that changed, or is somebody else's.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Conflict, message)
    }

    /// What would lose data or a service.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Refused, message)
    }

    /// What can't be done now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Unavailable, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Names the attribute that is wrong.
    #[must_use]
    pub fn attribute(mut self, attribute: impl Into<String>) -> Self {
        self.attribute = Some(attribute.into());
        self
    }
}

impl fmt::Display for Problem {
    /// `message; remedy (request 1234)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
