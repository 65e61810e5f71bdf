//! Names of tunables and whom they concern.

use crate::text::{excerpt, string_face};
use crate::{FsName, FsNameError, SvName};
use std::{fmt, str::FromStr};

/// Name of a tunable as `lctl set_param` writes it, with `*` where a device stands: `osc.*.max_dirty_mb`, `timeout`.
///
/// 1 to 63 characters (the MGS stores the name in a marker of that length), parts of `a-z A-Z 0-9 _ - *` separated by dots,
/// none empty; `/` as separator is taken and printed as `.`. Source: tunables specification, sections 1 and 1.2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamName(String);

/// Why a text is not a [`ParamName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamNameError {
    /// Empty or more than 63 characters.
    #[error("tunable name \"{0}\" must have 1 to 63 characters")]
    Length(String),
    /// Two dots in a row, or one at an end.
    #[error("tunable name \"{0}\" has an empty part; write it like \"osc.*.max_dirty_mb\"")]
    Empty(String),
    /// A character that no tunable has; `=` usually means that the value was given too.
    #[error(
        "tunable name \"{name}\" has the character {bad:?}; write it like \"osc.*.max_dirty_mb\", without the value"
    )]
    Character {
        /// The name as given, shortened.
        name: String,
        /// The first character that is not allowed.
        bad: char,
    },
}

impl ParamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParamName {
    type Err = ParamNameError;
    fn from_str(text: &str) -> Result<Self, ParamNameError> {
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_-*./".contains(*c))) {
            return Err(ParamNameError::Character { name: excerpt(text), bad });
        }
        if text.is_empty() || text.len() > 63 {
            return Err(ParamNameError::Length(excerpt(text)));
        }
        let dotted = text.replace('/', ".");
        if dotted.split('.').any(str::is_empty) {
            return Err(ParamNameError::Empty(excerpt(text)));
        }
        Ok(Self(dotted))
    }
}

impl fmt::Display for ParamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_face!(
    ParamName,
    "ParamName",
    "Name of a tunable as `lctl set_param` writes it, with `*` for the device.",
    "^[A-Za-z0-9_*./-]{1,63}$"
);

/// Whom a tunable concerns within its file system: `filesystem` (all its nodes), `mdts`, `osts`, `clients`, or one target (`scratch-OST0001`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParamScope {
    /// Every node of the file system.
    #[default]
    Filesystem,
    /// All its metadata targets.
    Mdts,
    /// All its object storage targets.
    Osts,
    /// All its clients.
    Clients,
    /// One target.
    Target(SvName),
}

/// A text that is no [`ParamScope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a scope; use \"filesystem\", \"mdts\", \"osts\", \"clients\" or a target name like \"scratch-OST0001\""
)]
pub struct ParamScopeError(String);

impl FromStr for ParamScope {
    type Err = ParamScopeError;
    fn from_str(text: &str) -> Result<Self, ParamScopeError> {
        match text {
            "filesystem" => Ok(Self::Filesystem),
            "mdts" => Ok(Self::Mdts),
            "osts" => Ok(Self::Osts),
            "clients" => Ok(Self::Clients),
            _ => text.parse().map(Self::Target).map_err(|_| ParamScopeError(excerpt(text))),
        }
    }
}

impl fmt::Display for ParamScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem => f.pad("filesystem"),
            Self::Mdts => f.pad("mdts"),
            Self::Osts => f.pad("osts"),
            Self::Clients => f.pad("clients"),
            Self::Target(svname) => svname.fmt(f),
        }
    }
}

string_face!(
    ParamScope,
    "ParamScope",
    "Whom a tunable concerns: `filesystem`, `mdts`, `osts`, `clients`, or one target by name.",
    "^[^ ]+$"
);

/// Names a tunable of a file system and scope: `<fsname or *>/<scope>/<name>`, as in `scratch/osts/obdfilter.*.brw_size`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamKey {
    /// The file system; every one of the MGS when missing.
    pub filesystem: Option<FsName>,
    /// Whom it concerns.
    pub scope: ParamScope,
    /// Its name.
    pub name: ParamName,
}

/// Why a text is not a [`ParamKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamKeyError {
    /// Fewer than three parts.
    #[error("\"{0}\" is not a tunable; write it like \"scratch/filesystem/osc.*.max_dirty_mb\"")]
    Shape(String),
    /// The first part.
    #[error(transparent)]
    Filesystem(#[from] FsNameError),
    /// The second part.
    #[error(transparent)]
    Scope(#[from] ParamScopeError),
    /// What is left.
    #[error(transparent)]
    Name(#[from] ParamNameError),
}

impl ParamKey {
    /// What stands for every file system.
    pub const EVERY: &'static str = "*";

    /// The file system that a text names; none for `*`. Errors: neither.
    pub fn filesystem_of(text: &str) -> Result<Option<FsName>, FsNameError> {
        if text == Self::EVERY { Ok(None) } else { text.parse().map(Some) }
    }

    /// The file system as text: its name, or `*`.
    pub fn fsname(&self) -> &str {
        self.filesystem.as_ref().map_or(Self::EVERY, FsName::as_str)
    }
}

impl FromStr for ParamKey {
    type Err = ParamKeyError;
    fn from_str(text: &str) -> Result<Self, ParamKeyError> {
        // Names may be given with slashes for dots, so the last part is all that is left.
        let mut parts = text.splitn(3, '/');
        let (Some(filesystem), Some(scope), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParamKeyError::Shape(excerpt(text)));
        };
        Ok(Self { filesystem: Self::filesystem_of(filesystem)?, scope: scope.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for ParamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.fsname(), self.scope, self.name))
    }
}

string_face!(ParamKey, "ParamKey", "Names a tunable: `<fsname or *>/<scope>/<name>`.", "^[^/]+/[^/]+/.+$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_the_name_is_pointed_out() {
        let error = "timeout=20".parse::<ParamName>().unwrap_err();
        assert!(error.to_string().contains("without the value"), "{error}");
        assert_eq!("osc/*/max_dirty_mb".parse::<ParamName>().unwrap().as_str(), "osc.*.max_dirty_mb");
        assert!(matches!("osc..x".parse::<ParamName>(), Err(ParamNameError::Empty(_))));
        assert!(matches!("x".repeat(64).parse::<ParamName>(), Err(ParamNameError::Length(_))));
    }

    #[test]
    fn a_key_prints_as_it_was_read() {
        for text in ["scratch/osts/obdfilter.*.brw_size", "*/filesystem/timeout"] {
            assert_eq!(text.parse::<ParamKey>().unwrap().to_string(), text);
        }
        assert_eq!("*/clients/osc/*/active".parse::<ParamKey>().unwrap().name.as_str(), "osc.*.active");
        assert!(matches!("scratch/timeout".parse::<ParamKey>(), Err(ParamKeyError::Shape(_))));
        assert!(matches!("scratch/all/timeout".parse::<ParamKey>(), Err(ParamKeyError::Scope(_))));
        assert!(matches!("much-too-long/osts/timeout".parse::<ParamKey>(), Err(ParamKeyError::Filesystem(_))));
    }

    #[test]
    fn a_scope_is_a_word_or_a_target() {
        for text in ["filesystem", "mdts", "osts", "clients", "scratch-OST0001"] {
            assert_eq!(text.parse::<ParamScope>().unwrap().to_string(), text);
        }
        assert!("everything".parse::<ParamScope>().is_err());
    }
}
