//! The name of an OST pool.

use crate::text::{excerpt, string_face};
use std::{fmt, str::FromStr};

/// Name of an OST pool: 1 to 15 characters of `A-Z a-z 0-9 _ -`.
///
/// `inherit` and `ignore` are words of `lfs setstripe` and refused. Source: tunables and config-log specifications
/// (a pool's record carries at most 15 characters and a NUL).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

/// Why a text is not a [`PoolName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolNameError {
    /// Empty or more than 15 characters.
    #[error("pool name \"{0}\" must have 1 to 15 characters")]
    Length(String),
    /// A character that is not allowed.
    #[error("pool name \"{name}\" has the character {bad:?}; use letters, digits, \"_\" and \"-\"")]
    Character {
        /// The name as given, shortened.
        name: String,
        /// The first character that is not allowed.
        bad: char,
    },
    /// A word that `lfs setstripe --pool` understands otherwise.
    #[error("pool name \"{0}\" is a reserved word of lfs setstripe; choose another")]
    Reserved(String),
}

impl PoolName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = PoolNameError;
    fn from_str(text: &str) -> Result<Self, PoolNameError> {
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
            return Err(PoolNameError::Character { name: excerpt(text), bad });
        }
        if text.is_empty() || text.len() > 15 {
            return Err(PoolNameError::Length(excerpt(text)));
        }
        if matches!(text, "inherit" | "ignore" | "none") {
            return Err(PoolNameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_face!(
    PoolName,
    "PoolName",
    "Name of an OST pool: 1 to 15 letters, digits, `_` or `-`.",
    "^[A-Za-z0-9_-]{1,15}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_characters_are_the_most_and_setstripe_words_are_refused() {
        assert!("flash_pool-0001".parse::<PoolName>().is_ok());
        assert!(matches!("flash_pool-00012".parse::<PoolName>(), Err(PoolNameError::Length(_))));
        assert!(matches!("none".parse::<PoolName>(), Err(PoolNameError::Reserved(_))));
        assert!(matches!("a.b".parse::<PoolName>(), Err(PoolNameError::Character { bad: '.', .. })));
    }
}
