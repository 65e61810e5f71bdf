//! Members of a pool, as people write them.

use std::collections::{BTreeMap, BTreeSet};

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

/// What a set that is given does to the set that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is what is to be there.
    #[default]
    Exact,
    /// It is added; what is there already stays, and is no error.
    Add,
    /// It is taken away; what is not there is no error.
    Remove,
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exact" => Ok(Self::Exact),
            "add" => Ok(Self::Add),
            "remove" => Ok(Self::Remove),
            _ => Err(format!("{text:?} is none of exact, add, remove")),
        }
    }
}

impl Mode {
    /// The set as it is to be.
    pub fn of_set<T: Ord + Clone>(self, there: &BTreeSet<T>, given: BTreeSet<T>) -> BTreeSet<T> {
        match self {
            Self::Exact => given,
            Self::Add => there.iter().cloned().chain(given).collect(),
            Self::Remove => there.difference(&given).cloned().collect(),
        }
    }

    /// The map as it is to be. What is removed is named by its key; what is added replaces the value that is there.
    pub fn of_map<K: Ord + Clone, V: Clone>(self, there: &BTreeMap<K, V>, given: BTreeMap<K, V>) -> BTreeMap<K, V> {
        match self {
            Self::Exact => given,
            Self::Add => there.clone().into_iter().chain(given).collect(),
            Self::Remove => there.clone().into_iter().filter(|(key, _)| !given.contains_key(key)).collect(),
        }
    }
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

    #[test]
    fn sets_are_replaced_added_to_or_taken_from() {
        let set = |items: &[u32]| items.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(Mode::Exact.of_set(&set(&[1, 2]), set(&[2, 3])), set(&[2, 3]));
        assert_eq!(Mode::Add.of_set(&set(&[1, 2]), set(&[2, 3])), set(&[1, 2, 3]));
        assert_eq!(Mode::Remove.of_set(&set(&[1, 2]), set(&[2, 3])), set(&[1]));
        let map = |items: &[(u32, u32)]| items.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(Mode::Add.of_map(&map(&[(1, 1), (2, 2)]), map(&[(2, 9)])), map(&[(1, 1), (2, 9)]));
        assert_eq!(Mode::Remove.of_map(&map(&[(1, 1), (2, 2)]), map(&[(2, 9)])), map(&[(1, 1)]));
        assert!("most".parse::<Mode>().unwrap_err().contains("exact, add, remove"));
    }

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
