//! A text in a field of fixed size, with whatever stands behind its end.

use super::MountdataError;

/// A C string in `N` bytes.
///
/// Bytes behind the first NUL are kept and written back; [`set`](Self::set) clears them.
#[derive(Clone, PartialEq, Eq)]
pub struct FixedText<const N: usize> {
    field: &'static str,
    /// The field up to its last byte that isn't zero.
    kept: Vec<u8>,
}

impl<const N: usize> FixedText<N> {
    /// An empty text; `field` is the C name of the field, for messages.
    pub(crate) fn empty(field: &'static str) -> Self {
        Self { field, kept: Vec::new() }
    }

    /// Takes the field's bytes as they are, text or not.
    pub(crate) fn keep(field: &'static str, bytes: &[u8]) -> Self {
        debug_assert_eq!(bytes.len(), N);
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { field, kept: bytes[..used].to_vec() }
    }

    /// Takes the field's bytes; a text must end inside of them.
    pub(crate) fn decode(field: &'static str, bytes: &[u8]) -> Result<Self, MountdataError> {
        if !bytes.contains(&0) {
            return Err(MountdataError::Unterminated { field });
        }
        Ok(Self::keep(field, bytes))
    }

    pub(crate) fn write_to(&self, room: &mut [u8]) {
        room[..self.kept.len()].copy_from_slice(&self.kept);
    }

    /// The text: what stands before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.kept.iter().position(|byte| *byte == 0).unwrap_or(self.kept.len());
        &self.kept[..end]
    }

    /// The text for people; bytes that are no UTF-8 become replacement characters.
    pub fn to_string_lossy(&self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }

    /// True if there is no text.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Replaces the whole field, remains of older text included.
    ///
    /// Errors: longer than `N - 1` bytes, or a NUL inside.
    pub fn set(&mut self, text: &str) -> Result<(), MountdataError> {
        if text.len() >= N {
            return Err(MountdataError::TooLong { field: self.field, got: text.len(), max: N - 1 });
        }
        if text.bytes().any(|byte| byte == 0) {
            return Err(MountdataError::Nul { field: self.field });
        }
        self.kept = text.as_bytes().to_vec();
        Ok(())
    }
}

impl<const N: usize> core::fmt::Debug for FixedText<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.to_string_lossy())
    }
}
