//! Structures of a fixed size, and texts in fields of a fixed size.

use std::fmt;

use crate::bytes::{Reader, WireError, Writer};

/// A structure whose fields follow each other at fixed offsets.
///
/// A longer buffer is accepted and its rest ignored, as Lustre does: later versions append fields.
pub trait Fixed: Sized {
    /// The name that errors give, as Lustre spells it.
    const WHAT: &'static str;
    /// Size in bytes.
    const LEN: usize;

    /// Takes the fields from a reader, in their order.
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError>;

    /// Appends the fields.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads the structure from the front of `bytes`. Errors name the field that is cut or wrong.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(Self::WHAT, bytes))
    }

    /// The structure as [`Fixed::LEN`] bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.write(&mut out);
        debug_assert_eq!(out.len(), Self::LEN, "{}", Self::WHAT);
        out
    }
}

/// Text in a field of `N` bytes: at most `N - 1` bytes of UTF-8, then NULs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(String);

/// A text that doesn't fit its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text of {len} bytes doesn't fit a field of {room}, or has a NUL in it")]
pub struct TextError {
    /// Its length in bytes.
    pub len: usize,
    /// The most that fits.
    pub room: usize,
}

impl<const N: usize> Text<N> {
    /// A text that fits. Errors when it doesn't, or holds a NUL.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() >= N || text.contains('\0') {
            return Err(TextError { len: text.len(), room: N - 1 });
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the field: what is behind the first NUL is ignored. Errors: no NUL, no UTF-8.
    pub fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let bytes = reader.bytes(field, N)?;
        text(reader, field, bytes).map(|text| Self(text.to_owned()))
    }

    /// Appends the field.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_padded(self.0.as_bytes(), N);
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self(String::new())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text of a buffer: what stands before its first NUL. Errors: no NUL, no UTF-8.
pub(crate) fn text<'a>(reader: &Reader<'_>, field: &'static str, bytes: &'a [u8]) -> Result<&'a str, WireError> {
    let first = bytes.iter().take(8).fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        return Err(reader.refuse(field, first, "begins a text without an end"));
    };
    std::str::from_utf8(&bytes[..end]).map_err(|_| reader.refuse(field, first, "begins a text that is not UTF-8"))
}

/// What every format's tests need.
#[cfg(test)]
pub(crate) mod testing {
    use super::Fixed;
    use crate::bytes::WireError;
    use std::fmt::Debug;

    /// Bytes of a recording: after the line of origin, which says how many they are, ranges that aren't zero as `offset: hex`.
    pub(crate) fn recorded(text: &str) -> Vec<u8> {
        let (origin, ranges) = text.split_once('\n').unwrap();
        let len = origin.rsplit("; ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut bytes = vec![0; len];
        for line in ranges.lines() {
            let (offset, hex) = line.split_once(": ").unwrap();
            let offset = usize::from_str_radix(offset, 16).unwrap();
            for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
                bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
        }
        bytes
    }

    /// Decodes `bytes`, which must encode to themselves and be too short when cut anywhere.
    pub(crate) fn holds<T: Fixed + Debug + PartialEq>(bytes: &[u8]) -> T {
        assert_eq!(bytes.len(), T::LEN);
        let value = T::decode(bytes).unwrap();
        assert_eq!(value.encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(matches!(T::decode(&bytes[..cut]), Err(WireError::Short { .. })), "{} cut at {cut}", T::WHAT);
        }
        value
    }

    /// Checks one row of a layout table: setting the field to all ones changes exactly its bytes.
    pub(crate) fn field_is_at<T: Fixed + Default>(name: &str, offset: usize, size: usize, set: fn(&mut T)) {
        let before = T::default().encode();
        let mut value = T::default();
        set(&mut value);
        let after = value.encode();
        let changed: Vec<usize> = (0..T::LEN).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, (offset..offset + size).collect::<Vec<_>>(), "{} {name}", T::WHAT);
    }
}

/// Decodes whatever comes; what is decoded has to survive a round trip.
pub(crate) fn fuzz<T: Fixed + PartialEq + fmt::Debug>(data: &[u8]) {
    if let Ok(value) = T::decode(data) {
        assert_eq!(T::decode(&value.encode()).as_ref(), Ok(&value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_needs_room_for_its_nul() {
        assert!(Text::<4>::new("abc").is_ok());
        assert_eq!(Text::<4>::new("abcd"), Err(TextError { len: 4, room: 3 }));
        assert!(Text::<4>::new("a\0").is_err());
        let read = |bytes: &[u8]| Text::<4>::read(&mut Reader::new("sample", bytes), "name");
        assert_eq!(read(b"ab\0x").unwrap().as_str(), "ab");
        assert!(matches!(read(b"abcd"), Err(WireError::Value { .. })));
        assert!(matches!(read(b"\xff\0\0\0"), Err(WireError::Value { .. })));
        assert!(matches!(read(b"ab"), Err(WireError::Short { .. })));
    }
}
