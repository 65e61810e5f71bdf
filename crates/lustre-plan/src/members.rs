//! Members of a pool, as people write them.

use std::collections::BTreeSet;

use lustre_types::{FsName, SvName, TargetIndex, TargetKind, expand_nodelist};

/// A text that names no OST of the file system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Not an OST, or of another file system.
    #[error("\"{text}\" is no OST of {fsname}; write it like \"{fsname}-OST0001\", \"OST0001\" or \"OST[0-3]\"")]
    Shape {
        /// As written, shortened.
        text: String,
        /// The file system.
        fsname: FsName,
    },
    /// Brackets that don't expand.
    #[error(transparent)]
    List(#[from] lustre_types::NodelistError),
}

/// The OSTs that members of a pool name: `scratch-OST0001`, `OST0001` (hex digits, as in the name), and ranges `OST[0-3]`
/// (decimal indices). Errors: the first that names none.
pub fn pool_members<'a>(
    fsname: &FsName,
    members: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeSet<SvName>, MemberError> {
    let mut all = BTreeSet::new();
    for text in members {
        member(fsname, text, &mut all)?;
    }
    Ok(all)
}

fn member(fsname: &FsName, text: &str, all: &mut BTreeSet<SvName>) -> Result<(), MemberError> {
    let shape = || MemberError::Shape { text: text.chars().take(60).collect(), fsname: fsname.clone() };
    let short = text.strip_prefix(fsname.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(text);
    let digits = short.strip_prefix("OST").ok_or_else(shape)?;
    if digits.starts_with('[') {
        if digits.find(']') != Some(digits.len() - 1) {
            return Err(shape());
        }
        for number in expand_nodelist(digits)? {
            let index = number.parse().ok().and_then(|index: u32| TargetIndex::try_from(index).ok());
            all.insert(SvName::new(fsname.clone(), TargetKind::Ost, index.ok_or_else(shape)?));
        }
        return Ok(());
    }
    all.insert(format!("{fsname}-OST{digits}").parse().map_err(|_| shape())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Vec<String>, MemberError> {
        let members = pool_members(&"scratch".parse().unwrap(), [&text.to_owned()])?;
        Ok(members.iter().map(SvName::to_string).collect())
    }

    #[test]
    fn names_are_hex_and_ranges_decimal() {
        assert_eq!(expanded("OST0010").unwrap(), ["scratch-OST0010"]);
        assert_eq!(expanded("scratch-OST001f").unwrap(), ["scratch-OST001f"]);
        assert_eq!(expanded("OST[9-10,16]").unwrap(), ["scratch-OST0009", "scratch-OST000a", "scratch-OST0010"]);
        assert_eq!(expanded("scratch-OST[1]").unwrap(), ["scratch-OST0001"]);
    }

    #[test]
    fn what_is_no_ost_of_the_file_system_is_named() {
        for bad in ["", "OST", "OST1", "MDT0000", "home-OST0001", "OST[1-2]x", "OST[x]", "OST[1-", "OST[70000]"] {
            let err = expanded(bad).expect_err(bad).to_string();
            assert!(err.contains("OST") || err.contains("node list"), "{bad}: {err}");
        }
    }
}
