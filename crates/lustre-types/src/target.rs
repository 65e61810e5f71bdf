//! What a target is and which index it has.

use crate::text::{excerpt, string_face};
use std::{fmt, str::FromStr};

/// What a target serves: configuration, metadata or objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// Management target: the disk of a kernel MGS.
    Mgt,
    /// Metadata target.
    Mdt,
    /// Object storage target.
    Ost,
}

/// A text that names no [`TargetKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a kind of target; use \"mgt\", \"mdt\" or \"ost\"")]
pub struct TargetKindError(String);

impl TargetKind {
    /// All kinds, in the order in which a file system starts.
    pub const ALL: [TargetKind; 3] = [TargetKind::Mgt, TargetKind::Mdt, TargetKind::Ost];

    /// The letters in a server name: `MGS`, `MDT`, `OST`.
    pub fn letters(self) -> &'static str {
        match self {
            TargetKind::Mgt => "MGS",
            TargetKind::Mdt => "MDT",
            TargetKind::Ost => "OST",
        }
    }

    /// The word in APIs and configurations: `mgt`, `mdt`, `ost`.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetKind::Mgt => "mgt",
            TargetKind::Mdt => "mdt",
            TargetKind::Ost => "ost",
        }
    }
}

impl FromStr for TargetKind {
    type Err = TargetKindError;
    fn from_str(text: &str) -> Result<Self, TargetKindError> {
        TargetKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| TargetKindError(excerpt(text)))
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

string_face!(TargetKind, "TargetKind", "What a target serves: `mgt`, `mdt` or `ost`.", "^(mgt|mdt|ost)$");

/// Index of a target within its file system and kind: 0 to 65503 (`mkfs.lustre` refuses more).
///
/// In JSON a number; in a server name four hex digits.
/// Source: mountdata specification, section 6; `golden/mkfs/32-ost-maxindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct TargetIndex(u16);

/// A number that is no [`TargetIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target index {0} is out of range: 0 to {max}", max = TargetIndex::MAX)]
pub struct TargetIndexError(u32);

impl TargetIndex {
    /// The largest index that Lustre's tools take.
    pub const MAX: u16 = 65_503;

    /// The index as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u32> for TargetIndex {
    type Error = TargetIndexError;
    fn try_from(index: u32) -> Result<Self, TargetIndexError> {
        match u16::try_from(index) {
            Ok(small) if small <= Self::MAX => Ok(Self(small)),
            _ => Err(TargetIndexError(index)),
        }
    }
}

impl From<TargetIndex> for u32 {
    fn from(index: TargetIndex) -> u32 {
        index.0.into()
    }
}

impl fmt::Display for TargetIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl schemars::JsonSchema for TargetIndex {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetIndex".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer", "minimum": 0, "maximum": Self::MAX,
            "description": "Index of a target within its file system and kind.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_index_is_65503() {
        assert_eq!(TargetIndex::try_from(65_503).unwrap().get(), 65_503);
        assert_eq!(TargetIndex::try_from(65_504), Err(TargetIndexError(65_504)));
        assert_eq!(TargetIndex::try_from(65_536 + 3), Err(TargetIndexError(65_539)));
        assert!(serde_json::from_str::<TargetIndex>("-1").is_err());
    }

    #[test]
    fn kinds_are_the_three_words() {
        for kind in TargetKind::ALL {
            assert_eq!(kind.as_str().parse::<TargetKind>(), Ok(kind));
        }
        assert!("OST".parse::<TargetKind>().is_err());
    }
}
