//! What can be wrong with a value, and where.

use std::fmt;

use crate::ty::TypeError;

/// Where in a value: `node.devices[3]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(Vec<String>);

impl Place {
    /// This place seen from one attribute or map element further out.
    pub(crate) fn below(mut self, name: &str) -> Self {
        self.0.push(crate::ty::abbreviate(name));
        self
    }

    /// This place seen from one element further out.
    pub(crate) fn below_index(mut self, index: usize) -> Self {
        self.0.push(format!("[{index}]"));
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the value");
        }
        for (position, step) in self.0.iter().rev().enumerate() {
            if position > 0 && !step.starts_with('[') {
                f.write_str(".")?;
            }
            f.write_str(step)?;
        }
        Ok(())
    }
}

/// A value that can't be read or written as its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// More bytes than anybody's state.
    #[error("a value of {0} bytes is larger than {max}", max = super::MAX_BYTES)]
    TooLarge(usize),
    /// The bytes end in the middle.
    #[error("{place}: the bytes end in the middle of it")]
    Short {
        /// Where.
        place: Place,
    },
    /// Something follows the value.
    #[error("{0} bytes follow the end of the value")]
    Trailing(usize),
    /// Another type than the schema says.
    #[error("{place}: {expected} expected, {found} found")]
    Mismatch {
        /// Where.
        place: Place,
        /// What the schema says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Text that isn't UTF-8.
    #[error("{place}: not UTF-8")]
    NotUtf8 {
        /// Where.
        place: Place,
    },
    /// Text that isn't a number.
    #[error("{place}: {text:?} is not a number")]
    NotANumber {
        /// Where.
        place: Place,
        /// The text, abbreviated.
        text: String,
    },
    /// An attribute that the schema doesn't have.
    #[error("{place}: no such attribute in the schema")]
    UnknownAttribute {
        /// Which, and where.
        place: Place,
    },
    /// Twice the same key.
    #[error("{place}: given twice")]
    Duplicate {
        /// Which, and where.
        place: Place,
    },
    /// The type that a dynamic value carries is none.
    #[error("{place}: {source}")]
    Type {
        /// Where.
        place: Place,
        /// Why.
        source: TypeError,
    },
    /// Nests too deep.
    #[error("{place}: nests too deep")]
    TooDeep {
        /// Where.
        place: Place,
    },
    /// State that isn't JSON.
    #[error("{place}: not JSON: {reason}")]
    NotJson {
        /// Where.
        place: Place,
        /// Why.
        reason: String,
    },
}

impl ValueError {
    /// This error seen from further out.
    pub(crate) fn at(mut self, outward: impl FnOnce(Place) -> Place) -> Self {
        match &mut self {
            Self::TooLarge(_) | Self::Trailing(_) => {}
            Self::Short { place }
            | Self::Mismatch { place, .. }
            | Self::NotUtf8 { place }
            | Self::NotANumber { place, .. }
            | Self::UnknownAttribute { place }
            | Self::Duplicate { place }
            | Self::Type { place, .. }
            | Self::TooDeep { place }
            | Self::NotJson { place, .. } => *place = outward(std::mem::take(place)),
        }
        self
    }

    /// `found` where `expected` was to be, right here.
    pub(crate) fn mismatch(expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::Mismatch { place: Place::default(), expected: expected.to_string(), found: found.to_string() }
    }
}
