//! Reading and writing little-endian structures: the one place where lengths are checked.
//!
//! Lustre's hosts send in their own byte order; every decoder here reads little-endian, and its caller refuses a peer
//! whose magic arrives swapped.

/// Why bytes are not what they should be: which structure, which field of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the field does.
    #[error("{what}: {field} needs {need} bytes, {got} are left")]
    Short {
        /// The structure that was read.
        what: &'static str,
        /// The field that is cut.
        field: &'static str,
        /// Bytes that the field needs.
        need: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// A field holds a value that the format doesn't allow.
    #[error("{what}: {field} is {value:#x}, which {why}")]
    Value {
        /// The structure that was read.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// The value found; the first eight bytes of what is no number.
        value: u64,
        /// What is wrong with it, as the end of a sentence: "is no known magic".
        why: &'static str,
    },
}

/// Takes fields from the front of a slice, in their order. Never panics; copies only what the caller asks for.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as `what`: the name that errors give.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// The bytes not yet taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes, borrowed.
    pub fn bytes(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], WireError> {
        let short = WireError::Short { what: self.what, field, need: len, got: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes a fixed number of bytes.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let short = WireError::Short { what: self.what, field, need: N, got: self.rest.len() };
        let (taken, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes an 8-bit number.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array(field).map(u8::from_le_bytes)
    }

    /// Takes a 16-bit number.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Takes a 32-bit number.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Takes a 64-bit number.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// The error that says that `field` of this structure holds `value`, which `why`.
    pub fn refuse(&self, field: &'static str, value: impl Into<u64>, why: &'static str) -> WireError {
        WireError::Value { what: self.what, field, value: value.into(), why }
    }
}

/// Appends fields to a buffer. Lengths are the caller's: what it writes, it holds in memory already.
pub trait Writer {
    /// Appends an 8-bit number.
    fn put_u8(&mut self, value: u8);
    /// Appends a 16-bit number.
    fn put_u16(&mut self, value: u16);
    /// Appends a 32-bit number.
    fn put_u32(&mut self, value: u32);
    /// Appends a 64-bit number.
    fn put_u64(&mut self, value: u64);
    /// Appends `len` zero bytes.
    fn put_zeros(&mut self, len: usize);
    /// Appends `bytes` and zeros up to `len`; longer input is cut at `len`.
    fn put_padded(&mut self, bytes: &[u8], len: usize);
}

impl Writer for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_zeros(&mut self, len: usize) {
        self.resize(self.len() + len, 0);
    }

    fn put_padded(&mut self, bytes: &[u8], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(&bytes[..bytes.len().min(len)]);
        self.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_field_is_named_and_nothing_is_taken() {
        let mut reader = Reader::new("sample", &[1, 2, 3]);
        assert_eq!(reader.u16("first"), Ok(0x0201));
        let short = WireError::Short { what: "sample", field: "second", need: 4, got: 1 };
        assert_eq!(reader.u32("second"), Err(short));
        assert_eq!(reader.rest(), [3]);
    }

    #[test]
    fn padded_fields_have_their_length_whatever_goes_in() {
        let mut buffer = Vec::new();
        buffer.put_padded(b"ab", 4);
        buffer.put_padded(b"abcdef", 4);
        assert_eq!(buffer, b"ab\0\0abcd");
    }
}
