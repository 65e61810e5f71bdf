//! Versions of Lustre.

use crate::text::{excerpt, string_face};
use std::{fmt, str::FromStr};

/// A Lustre version: `major.minor.patch[.fix]`, as in `2.15.5` or `2.17.57`; a vendor suffix (`_ddn12`, `-rc1`) is kept for show
/// and ignored in comparisons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LustreVersion {
    numbers: [u16; 4],
    suffix: String,
}

/// A text that is no [`LustreVersion`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a Lustre version; it looks like \"2.15.5\"")]
pub struct VersionError(String);

impl LustreVersion {
    /// `(major, minor)`, as in `(2, 15)`.
    pub fn release(&self) -> (u16, u16) {
        (self.numbers[0], self.numbers[1])
    }
}

impl FromStr for LustreVersion {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(excerpt(text));
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (dotted, suffix) = text.split_at(end);
        let parts: Vec<&str> = dotted.split('.').collect();
        if !(2..=4).contains(&parts.len()) || suffix.len() > 32 {
            return Err(error());
        }
        let mut numbers = [0; 4];
        for (number, part) in numbers.iter_mut().zip(parts) {
            *number = part.parse().map_err(|_| error())?;
        }
        Ok(Self { numbers, suffix: suffix.to_owned() })
    }
}

impl fmt::Display for LustreVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, fix] = self.numbers;
        match fix {
            0 => f.pad(&format!("{major}.{minor}.{patch}{}", self.suffix)),
            fix => f.pad(&format!("{major}.{minor}.{patch}.{fix}{}", self.suffix)),
        }
    }
}

string_face!(LustreVersion, "LustreVersion", "A Lustre version, as in `2.15.5`.", "^[0-9]+(\\.[0-9]+){1,3}[^ ]{0,32}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<LustreVersion>().unwrap();
        assert!(version("2.9.0") < version("2.15.5"));
        assert!(version("2.15.5") < version("2.15.5.1"));
        assert_eq!(version("2.17.57").release(), (2, 17));
        assert_eq!(version("2.14.0_ddn12").to_string(), "2.14.0_ddn12");
        assert!("2".parse::<LustreVersion>().is_err());
        assert!("two.one".parse::<LustreVersion>().is_err());
    }
}
