//! The name of a server or client node.

use crate::text::{excerpt, string_face};
use std::{fmt, str::FromStr};

/// Name of a node, as its agent announces it: a host name of 1 to 253 lower-case letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A text that is not a [`NodeName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a node name: use 1 to 253 lower-case letters, digits, \"-\", \"_\" and \".\", starting with a letter or a digit"
)]
pub struct NodeNameError(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;
    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts || text.len() > 253 || !text.chars().all(legal) {
            return Err(NodeNameError(excerpt(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_face!(NodeName, "NodeName", "Name of a node, as its agent announces it.", "^[a-z0-9][a-z0-9._-]{0,252}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_node_names_and_paths_are_not() {
        for good in ["oss1", "oss-1.example.org", "10.0.0.1"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "OSS1", "../oss1", "oss1/x", ".oss", "oss 1"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }
}
