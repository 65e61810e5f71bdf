//! Sizes in bytes with suffixes.

use std::{fmt, str::FromStr};

/// A number of bytes. Text takes suffixes `K M G T P E` (with optional `B` or `iB`), all 1024-based, as Lustre's tunables do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with an optional suffix.
    #[error("\"{0}\" is not a size; write a number with an optional K, M, G, T, P or E, as in \"64M\"")]
    Shape(String),
    /// More than 2^64-1 bytes.
    #[error("size \"{0}\" is more than 16 EiB")]
    Large(String),
}

const SUFFIXES: &[u8] = b"KMGTPE";

impl FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let shape = || SizeError::Shape(crate::text::excerpt(text));
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        if number.is_empty() {
            return Err(shape());
        }
        let suffix = suffix.trim_start_matches(' ');
        let power = match suffix.as_bytes() {
            [] | [b'B' | b'b'] => 0,
            [letter] | [letter, b'B' | b'b'] | [letter, b'i', b'B'] => {
                1 + SUFFIXES.iter().position(|known| *known == letter.to_ascii_uppercase()).ok_or_else(shape)?
            }
            _ => return Err(shape()),
        };
        let large = || SizeError::Large(crate::text::excerpt(text));
        let number: u64 = number.parse().map_err(|_| large())?;
        number.checked_mul(1 << (10 * power)).map(Self).ok_or_else(large)
    }
}

impl fmt::Display for ByteSize {
    /// For people: the largest suffix with at most one decimal, as in `1.5 TiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (1..=6).rev().find(|power| self.0 >> (10 * power) > 0).unwrap_or(0);
        if power == 0 {
            return f.pad(&format!("{} B", self.0));
        }
        let unit: u128 = 1 << (10 * power);
        let tenths = u128::from(self.0) * 10 / unit;
        let letter = char::from(SUFFIXES[power - 1]);
        match tenths % 10 {
            0 => f.pad(&format!("{} {letter}iB", tenths / 10)),
            tenth => f.pad(&format!("{}.{tenth} {letter}iB", tenths / 10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64K", 65536),
            ("64k", 65536),
            ("1MiB", 1 << 20),
            ("2 GB", 2 << 30),
            ("15E", 15 << 60),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        }
        assert!(matches!("16E".parse::<ByteSize>(), Err(SizeError::Large(_))));
        for bad in ["", "M", "1X", "1.5G", "-1", "1MM", "1 MiBs"] {
            assert!(matches!(bad.parse::<ByteSize>(), Err(SizeError::Shape(_))), "{bad}");
        }
    }

    #[test]
    fn people_read_one_decimal() {
        assert_eq!(ByteSize(1536 << 20).to_string(), "1.5 GiB");
        assert_eq!(ByteSize(300 << 20).to_string(), "300 MiB");
        assert_eq!(ByteSize(12).to_string(), "12 B");
        assert_eq!(ByteSize(u64::MAX).to_string(), "15.9 EiB");
    }
}
