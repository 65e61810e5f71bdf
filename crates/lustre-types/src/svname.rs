//! The name of a server target.

use crate::text::{excerpt, string_face};
use crate::{FsName, FsNameError, TargetIndex, TargetKind};
use std::{fmt, str::FromStr};

/// Name of a target: `<fsname>-<MDT|OST><index>` with four hex digits, as in `scratch-OST001f`; `MGS` for the MGT.
///
/// The separator on a disk's label (`:`, `=`, `+`) says how far the target has come and is not part of the name: see
/// the mountdata codec. Parsing takes the hex digits in either case and prints lower case, as Lustre does.
/// Source: mountdata specification, section 4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SvName {
    target: Option<(FsName, TargetKind, TargetIndex)>,
}

/// Why a text is not an [`SvName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvNameError {
    /// Not `<fsname>-<kind><index>` at all.
    #[error("\"{0}\" is not a target name; it looks like \"scratch-OST001f\" or \"scratch-MDT0000\", or is \"MGS\"")]
    Shape(String),
    /// The part before the last dash is no file system name.
    #[error("target name \"{name}\": {source}")]
    FsName {
        /// The name as given, shortened.
        name: String,
        /// What is wrong with it.
        source: FsNameError,
    },
    /// The index is above [`TargetIndex::MAX`].
    #[error("target name \"{0}\" has an index above {max} (hex ffdf)", max = TargetIndex::MAX)]
    Index(String),
}

impl SvName {
    /// The name of target `index` of kind `kind` in `fsname`. An MGT is always `MGS`: use [`SvName::mgs`].
    pub fn new(fsname: FsName, kind: TargetKind, index: TargetIndex) -> Self {
        match kind {
            TargetKind::Mgt => Self::mgs(),
            _ => Self { target: Some((fsname, kind, index)) },
        }
    }

    /// `MGS`, the name of the MGT.
    pub fn mgs() -> Self {
        Self { target: None }
    }

    /// The file system, or `None` for the MGT.
    pub fn fsname(&self) -> Option<&FsName> {
        self.target.as_ref().map(|(fsname, ..)| fsname)
    }

    /// What the target serves.
    pub fn kind(&self) -> TargetKind {
        self.target.as_ref().map_or(TargetKind::Mgt, |(_, kind, _)| *kind)
    }

    /// The index, or `None` for the MGT.
    pub fn index(&self) -> Option<TargetIndex> {
        self.target.as_ref().map(|(.., index)| *index)
    }

    /// The name without the file system, as in `OST001f`; `MGS` for the MGT.
    pub fn short(&self) -> String {
        match &self.target {
            Some((_, kind, index)) => format!("{}{:04x}", kind.letters(), index.get()),
            None => "MGS".to_owned(),
        }
    }
}

impl FromStr for SvName {
    type Err = SvNameError;
    fn from_str(text: &str) -> Result<Self, SvNameError> {
        if text == "MGS" {
            return Ok(Self::mgs());
        }
        let shape = || SvNameError::Shape(excerpt(text));
        let (fsname, short) = text.rsplit_once('-').ok_or_else(shape)?;
        let (letters, digits) = short.split_at_checked(3).ok_or_else(shape)?;
        let kind = match letters {
            "MDT" => TargetKind::Mdt,
            "OST" => TargetKind::Ost,
            _ => return Err(shape()),
        };
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(shape());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| shape())?;
        let index = TargetIndex::try_from(number).map_err(|_| SvNameError::Index(excerpt(text)))?;
        let fsname = fsname.parse().map_err(|source| SvNameError::FsName { name: excerpt(text), source })?;
        Ok(Self { target: Some((fsname, kind, index)) })
    }
}

impl fmt::Display for SvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some((fsname, ..)) => f.pad(&format!("{fsname}-{}", self.short())),
            None => f.pad("MGS"),
        }
    }
}

string_face!(
    SvName,
    "SvName",
    "Name of a target: `<fsname>-<MDT|OST><index>` with four hex digits, or `MGS`.",
    "^(MGS|[A-Za-z0-9_][A-Za-z0-9_-]{0,7}-(MDT|OST)[0-9a-fA-F]{4})$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_system_name_may_hold_dashes() {
        let name: SvName = "my-fs-OST00ff".parse().unwrap();
        assert_eq!(name.fsname().unwrap().as_str(), "my-fs");
        assert_eq!(name.index().unwrap().get(), 255);
        assert_eq!(name.short(), "OST00ff");
    }

    #[test]
    fn the_wrong_part_is_named() {
        assert!(matches!("scratch".parse::<SvName>(), Err(SvNameError::Shape(_))));
        assert!(matches!("scratch-OST1".parse::<SvName>(), Err(SvNameError::Shape(_))));
        assert!(matches!("scratch-OST+001".parse::<SvName>(), Err(SvNameError::Shape(_))));
        assert!(matches!("scratch-ÖST0001".parse::<SvName>(), Err(SvNameError::Shape(_))));
        assert!(matches!("scratch12-OST0001".parse::<SvName>(), Err(SvNameError::FsName { .. })));
        assert!(matches!("scratch-OSTffff".parse::<SvName>(), Err(SvNameError::Index(_))));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(fsname in "[A-Za-z0-9_][A-Za-z0-9_-]{0,7}", index in 0u32..=65503, ost: bool) {
            let kind = if ost { TargetKind::Ost } else { TargetKind::Mdt };
            let name = SvName::new(fsname.parse().unwrap(), kind, index.try_into().unwrap());
            prop_assert_eq!(name.to_string().parse::<SvName>().unwrap(), name);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<SvName>();
        }
    }
}
