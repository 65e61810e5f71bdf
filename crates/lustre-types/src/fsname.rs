//! The name of a file system.

use crate::text::{excerpt, string_face};
use std::{fmt, str::FromStr};

/// Name of a file system: 1 to 8 characters of `A-Z a-z 0-9 _ -`, as `mkfs.lustre --fsname` takes it.
///
/// It does not start with `-`, which every command line would take for an option.
/// Source: mountdata specification, section 6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsName(String);

/// Why a text is not an [`FsName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsNameError {
    /// Nothing was given.
    #[error("a file system name can't be empty")]
    Empty,
    /// More than 8 characters.
    #[error("file system name \"{0}\" is too long: 8 characters at most")]
    Long(String),
    /// A character that Lustre does not take.
    #[error("file system name \"{name}\" has the character {bad:?}; use letters, digits, \"_\" and \"-\"")]
    Character {
        /// The name as given, shortened.
        name: String,
        /// The first character that is not allowed.
        bad: char,
    },
    /// It begins with a dash.
    #[error("file system name \"{0}\" starts with \"-\"; start it with a letter, a digit or \"_\"")]
    Dash(String),
}

impl FsName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FsName {
    type Err = FsNameError;
    fn from_str(text: &str) -> Result<Self, FsNameError> {
        if text.is_empty() {
            return Err(FsNameError::Empty);
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
            return Err(FsNameError::Character { name: excerpt(text), bad });
        }
        if text.len() > 8 {
            return Err(FsNameError::Long(excerpt(text)));
        }
        if text.starts_with('-') {
            return Err(FsNameError::Dash(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_face!(
    FsName,
    "FsName",
    "Name of a file system: 1 to 8 letters, digits, `_` or `-`.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,7}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_characters_are_the_most() {
        assert_eq!("scratch1".parse::<FsName>().unwrap().as_str(), "scratch1");
        assert_eq!("scratch12".parse::<FsName>(), Err(FsNameError::Long("scratch12".into())));
        assert_eq!("".parse::<FsName>(), Err(FsNameError::Empty));
    }

    #[test]
    fn a_character_that_lustre_refuses_is_named() {
        let error = "my.fs".parse::<FsName>().unwrap_err();
        assert_eq!(error, FsNameError::Character { name: "my.fs".into(), bad: '.' });
        assert_eq!("-rf".parse::<FsName>(), Err(FsNameError::Dash("-rf".into())));
        assert!(serde_json::from_str::<FsName>("\"a b\"").unwrap_err().to_string().contains("' '"));
    }
}
