//! Names of nodemaps, and the NIDs that belong to them.

use crate::text::{excerpt, string_face};
use crate::{LnetNet, Nid};
use std::net::{IpAddr, Ipv4Addr};
use std::{fmt, str::FromStr};

/// Name of a nodemap: 1 to 16 characters of `A-Z a-z 0-9 _`. `default` is the one of all NIDs that no other has.
///
/// Source: config-log specification, section 9.2: 16 characters and a NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodemapName(String);

/// Why a text is not a [`NodemapName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nodemap name \"{0}\" must have 1 to 16 letters, digits or \"_\"")]
pub struct NodemapNameError(String);

impl NodemapName {
    /// The nodemap of all NIDs that no other has.
    pub const DEFAULT: &'static str = "default";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the one of all NIDs that no other has.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl FromStr for NodemapName {
    type Err = NodemapNameError;
    fn from_str(text: &str) -> Result<Self, NodemapNameError> {
        let is_legal = (1..=16).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if is_legal { Ok(Self(text.to_owned())) } else { Err(NodemapNameError(excerpt(text))) }
    }
}

impl fmt::Display for NodemapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_face!(NodemapName, "NodemapName", "Name of a nodemap.", "^[A-Za-z0-9_]{1,16}$");

/// NIDs from one to another on the same network: `10.0.0.1@tcp`, `10.0.0.1-10.0.0.9@tcp`; also written `10.0.0.[1-9]@tcp` or
/// `10.0.*.*@tcp`. IPv4 addresses only: others have no range records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NidRange {
    net: LnetNet,
    first: u32,
    last: u32,
}

/// Why a text is not a [`NidRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NidRangeError {
    /// The notation.
    #[error(
        "NID range \"{0}\" is not understood; write it like \"10.0.0.1@tcp\", \"10.0.0.[1-9]@tcp\" or \"10.0.1.*@tcp\""
    )]
    Shape(String),
    /// Several ranges in one.
    #[error("NID range \"{0}\" has holes; write it as several ranges")]
    Holes(String),
    /// The second address is below the first.
    #[error("NID range \"{0}\" ends before it begins")]
    Reverse(String),
    /// The network.
    #[error("NID range \"{range}\": {source}")]
    Net {
        /// The range as given, shortened.
        range: String,
        /// What is wrong with its network.
        source: crate::NidError,
    },
}

impl NidRange {
    /// Its first NID.
    pub fn first(&self) -> Nid {
        self.nid(self.first)
    }

    /// Its last NID.
    pub fn last(&self) -> Nid {
        self.nid(self.last)
    }

    /// Whether some NID is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.net == other.net && self.first <= other.last && other.first <= self.last
    }

    /// Whether a NID is in it.
    pub fn contains(&self, nid: &Nid) -> bool {
        let Some(IpAddr::V4(address)) = nid.ip() else { return false };
        *nid.net() == self.net && (self.first..=self.last).contains(&u32::from(address))
    }

    fn nid(&self, address: u32) -> Nid {
        format!("{}@{}", Ipv4Addr::from(address), self.net).parse().expect("made of the parts of a NID")
    }
}

impl FromStr for NidRange {
    type Err = NidRangeError;
    fn from_str(text: &str) -> Result<Self, NidRangeError> {
        let shape = || NidRangeError::Shape(excerpt(text));
        let (addresses, net) = text.split_once('@').unwrap_or((text, "tcp"));
        let nid: Nid =
            format!("10.0.0.1@{net}").parse().map_err(|source| NidRangeError::Net { range: excerpt(text), source })?;
        let (first, last) = match addresses.split_once('-') {
            Some((first, last)) if !addresses.contains('[') => {
                let address = |text: &str| text.parse::<Ipv4Addr>().map(u32::from).map_err(|_| shape());
                (address(first)?, address(last)?)
            }
            _ => of_octets(addresses).ok_or_else(shape)?.ok_or_else(|| NidRangeError::Holes(excerpt(text)))?,
        };
        if last < first {
            return Err(NidRangeError::Reverse(excerpt(text)));
        }
        debug_assert!(matches!(nid.ip(), Some(IpAddr::V4(_))));
        Ok(Self { net: nid.net().clone(), first, last })
    }
}

/// First and last address of `10.0.[1-2].*`; the inner `None` where addresses in between are not in it.
fn of_octets(text: &str) -> Option<Option<(u32, u32)>> {
    let octets: Vec<(u8, u8)> = text.split('.').map(octet).collect::<Option<_>>()?;
    let octets: [(u8, u8); 4] = octets.try_into().ok()?;
    // Behind the first octet that varies all have to be whole.
    let varies = octets.iter().position(|(low, high)| low != high).unwrap_or(4);
    let is_whole = octets.iter().skip(varies + 1).all(|octet| *octet == (0, 255));
    let address = |end: fn(&(u8, u8)) -> u8| u32::from_be_bytes(std::array::from_fn(|n| end(&octets[n])));
    Some(is_whole.then(|| (address(|octet| octet.0), address(|octet| octet.1))))
}

fn octet(text: &str) -> Option<(u8, u8)> {
    if text == "*" {
        return Some((0, 255));
    }
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(range) => {
            let (low, high) = range.split_once('-')?;
            Some((low.parse().ok()?, high.parse().ok()?))
        }
        None => text.parse().ok().map(|octet| (octet, octet)),
    }
}

impl fmt::Display for NidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (Ipv4Addr::from(self.first), Ipv4Addr::from(self.last));
        match self.first == self.last {
            true => f.pad(&format!("{first}@{}", self.net)),
            false => f.pad(&format!("{first}-{last}@{}", self.net)),
        }
    }
}

string_face!(NidRange, "NidRange", "NIDs from one to another, as in `10.0.0.[1-9]@tcp`.", "^[^ ]+$");

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<String, NidRangeError> {
        text.parse::<NidRange>().map(|range| range.to_string())
    }

    #[test]
    fn ranges_are_read_in_every_notation_and_printed_in_one() {
        for (text, printed) in [
            ("10.0.0.1@tcp", "10.0.0.1@tcp"),
            ("10.0.0.1", "10.0.0.1@tcp"),
            ("10.9.0.[100-110]@tcp0", "10.9.0.100-10.9.0.110@tcp"),
            ("10.0.1.*@o2ib1", "10.0.1.0-10.0.1.255@o2ib1"),
            ("10.[1-2].*.*@tcp", "10.1.0.0-10.2.255.255@tcp"),
            ("10.0.0.250-10.0.1.5@tcp", "10.0.0.250-10.0.1.5@tcp"),
        ] {
            assert_eq!(range(text).as_deref(), Ok(printed));
            assert_eq!(range(printed).as_deref(), Ok(printed), "and back");
        }
        assert!(matches!(range("10.[1-2].0.1@tcp"), Err(NidRangeError::Holes(_))));
        assert!(matches!(range("10.0.0.[9-1]@tcp"), Err(NidRangeError::Reverse(_))));
        assert!(matches!(range("10.0.0.1@nonet"), Err(NidRangeError::Net { .. })));
        for bad in ["", "host@tcp", "10.0.0@tcp", "10.0.0.256@tcp", "10.0.0.[1]@tcp", "fe80::1@tcp", "1.2.3.4-@tcp"] {
            assert!(matches!(range(bad), Err(NidRangeError::Shape(_))), "{bad}");
        }
    }

    #[test]
    fn ranges_overlap_on_the_same_network_only() {
        let range = |text: &str| text.parse::<NidRange>().unwrap();
        assert!(range("10.0.0.[1-9]@tcp").overlaps(&range("10.0.0.9@tcp")));
        assert!(!range("10.0.0.[1-9]@tcp").overlaps(&range("10.0.0.10@tcp")));
        assert!(!range("10.0.0.1@tcp").overlaps(&range("10.0.0.1@tcp1")));
        let nid = |text: &str| text.parse::<Nid>().unwrap();
        assert!(range("10.0.0.[1-9]@tcp").contains(&nid("10.0.0.9@tcp")));
        assert!(!range("10.0.0.[1-9]@tcp").contains(&nid("10.0.0.10@tcp")));
        assert!(!range("10.0.0.[1-9]@tcp").contains(&nid("10.0.0.9@o2ib")));
    }

    #[test]
    fn a_name_fits_into_its_record() {
        assert!("computes_01".parse::<NodemapName>().is_ok() && "a".repeat(16).parse::<NodemapName>().is_ok());
        assert!("".parse::<NodemapName>().is_err() && "a".repeat(17).parse::<NodemapName>().is_err());
        assert!("a-b".parse::<NodemapName>().is_err());
    }
}
