//! The volume label of a target: its name, and in the separator how far it has come.

use lustre_types::{SvName, SvNameError};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// What the separator in a label says. The kernel never changes it: `mount.lustre` does, after the mount.
///
/// A target has one state at a time; where several would hold, the order of precedence is [`Writeconf`](Self::Writeconf),
/// [`Virgin`](Self::Virgin), [`NoLocalLogs`](Self::NoLocalLogs), [`Registered`](Self::Registered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelState {
    /// `:` formatted, never registered with an MGS.
    Virgin,
    /// `=` asks the MGS to write its configuration anew.
    Writeconf,
    /// `+` registered, and shall not use its local copies of config logs (Lustre 2.15 and newer).
    NoLocalLogs,
    /// `-` registered.
    Registered,
}

impl LabelState {
    /// The character in the label.
    pub fn separator(self) -> char {
        match self {
            Self::Virgin => ':',
            Self::Writeconf => '=',
            Self::NoLocalLogs => '+',
            Self::Registered => '-',
        }
    }

    fn from_separator(separator: u8) -> Option<Self> {
        match separator {
            b':' => Some(Self::Virgin),
            b'=' => Some(Self::Writeconf),
            b'+' => Some(Self::NoLocalLogs),
            b'-' => Some(Self::Registered),
            _ => None,
        }
    }
}

/// Volume label of a target: `<fsname><separator><MDT|OST><index, 4 hex digits>`, or `MGS`.
///
/// At most 16 bytes, so that it fits into an ext4 superblock. Source: mountdata specification, section 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// A stand-alone MGS; its label has no separator and never changes.
    Mgs,
    /// A target of a file system.
    Target {
        /// The target's name.
        svname: SvName,
        /// How far it has come.
        state: LabelState,
    },
}

/// Why a volume label is no Lustre label.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LabelError {
    /// Not of that shape at all: something else's label.
    #[error("{0:?} is no label of a Lustre target")]
    Shape(String),
    /// An OST made without `--index`; it can never be mounted.
    #[error("label {0:?} is of a target that was formatted without an index")]
    NoIndex(String),
    /// The name in it breaks a rule.
    #[error("label {label:?} has a wrong name in it")]
    Name {
        /// The label.
        label: String,
        /// What is wrong with it.
        source: SvNameError,
    },
}

impl Label {
    /// The label of a target that mkfs has just made.
    pub fn virgin(svname: SvName) -> Self {
        Self::with_state(svname, LabelState::Virgin)
    }

    /// The label of `svname` in `state`; `MGS` for a stand-alone MGS, whatever the state.
    pub fn with_state(svname: SvName, state: LabelState) -> Self {
        if svname.fsname().is_none() { Self::Mgs } else { Self::Target { svname, state } }
    }

    /// The name of the target.
    pub fn svname(&self) -> SvName {
        match self {
            Self::Mgs => SvName::mgs(),
            Self::Target { svname, .. } => svname.clone(),
        }
    }

    /// The state, or none for a stand-alone MGS.
    pub fn state(&self) -> Option<LabelState> {
        match self {
            Self::Mgs => None,
            Self::Target { state, .. } => Some(*state),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mgs => f.write_str("MGS"),
            Self::Target { svname, state } => {
                if let Some(fsname) = svname.fsname() {
                    write!(f, "{fsname}{}", state.separator())?;
                }
                f.write_str(&svname.short())
            }
        }
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text == "MGS" {
            return Ok(Self::Mgs);
        }
        let shape = || LabelError::Shape(text.chars().take(64).collect());
        if text.len() > 16 {
            return Err(shape());
        }
        // The name of a file system may have '-' in it: the separator is found by its place, 8 bytes before the end.
        let separator_at = text.len().checked_sub(8).filter(|at| *at > 0).ok_or_else(shape)?;
        let state = LabelState::from_separator(text.as_bytes()[separator_at]).ok_or_else(shape)?;
        let (fsname, short) = (&text[..separator_at], &text[separator_at + 1..]);
        if matches!(short, "OSTffff" | "MDTffff") {
            return Err(LabelError::NoIndex(text.to_owned()));
        }
        match format!("{fsname}-{short}").parse::<SvName>() {
            Ok(svname) => Ok(Self::Target { svname, state }),
            Err(SvNameError::Shape(_)) => Err(shape()),
            Err(source) => Err(LabelError::Name { label: text.to_owned(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_says_how_far_a_target_has_come() {
        for (text, state) in [
            ("gold:OST0000", LabelState::Virgin),
            ("gold=OST0000", LabelState::Writeconf),
            ("gold+OST0000", LabelState::NoLocalLogs),
            ("gold-OST0000", LabelState::Registered),
            ("my-fs-x:MDT00ff", LabelState::Virgin),
        ] {
            let label: Label = text.parse().unwrap();
            assert_eq!(label.state(), Some(state));
            assert_eq!(label.to_string(), text);
        }
        assert_eq!("MGS".parse(), Ok(Label::Mgs));
    }

    #[test]
    fn labels_of_others_are_not_taken_for_ours() {
        for other in
            ["", "rootfs", "lustre-partial", ":OST0000", "gold;OST0000", "gold:OST000g", "gold:XST0000", "MGS0"]
        {
            assert_eq!(other.parse::<Label>(), Err(LabelError::Shape(other.into())), "{other:?}");
        }
        assert_eq!("gold:OSTffff".parse::<Label>(), Err(LabelError::NoIndex("gold:OSTffff".into())));
        assert!(matches!("gold:OSTffe0".parse::<Label>(), Err(LabelError::Name { .. })));
        assert!(matches!("a.b:OST0000".parse::<Label>(), Err(LabelError::Name { .. })));
        assert!("äöü:OST0000".parse::<Label>().is_err());
    }
}
