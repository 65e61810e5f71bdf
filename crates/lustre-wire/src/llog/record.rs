//! One record of a log: header, data, tail.
//!
//! Layout: config-log specification, section 1.2.

use super::CHUNK;
use super::cfg::LustreCfg;
use crate::bytes::{Reader, WireError, Writer};

/// Most bytes that a record has.
pub const MAX_RECORD_LEN: usize = CHUNK;
/// Bytes of a record's header and tail.
pub(super) const FRAME: usize = 24;
const WHAT: &str = "llog record";

/// `lrh_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind(pub u32);

impl RecordKind {
    /// A log's header.
    pub const HEADER: Self = Self(0x1064_5539);
    /// Fills what is left of a block.
    pub const PADDING: Self = Self(0x1060_0000);
    /// A [`LustreCfg`].
    pub const CONFIG: Self = Self(0x1062_0000);
    /// Names another log, in catalogues.
    pub const LOGID: Self = Self(0x1064_553B);

    /// Whether readers take it for a record at all.
    pub fn is_valid(self) -> bool {
        self.0 & 0xFFF0_0000 == 0x1060_0000
    }
}

/// A record, its data as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its index, by which readers remember how far they came.
    pub index: u32,
    /// What it holds.
    pub kind: RecordKind,
    /// `lrh_id`; 0.
    pub id: u32,
    /// Its data; a multiple of 8 bytes, at most 8168.
    pub data: Vec<u8>,
}

impl Record {
    /// Bytes of the whole record.
    pub fn encoded_len(&self) -> usize {
        self.data.len() + FRAME
    }

    /// What it says, if it is of a config log. Errors: data that is no `lustre_cfg`.
    pub fn config(&self) -> Option<Result<LustreCfg, WireError>> {
        (self.kind == RecordKind::CONFIG).then(|| LustreCfg::decode(&self.data))
    }

    /// Reads one record from the front of `bytes`; gives what follows it too.
    /// Errors: cut, a length out of 24 to 8192 or no multiple of 8, a type of no record, a tail that differs.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let mut r = Reader::new(WHAT, bytes);
        let len = r.u32("lrh_len")?;
        let index = r.u32("lrh_index")?;
        let kind = RecordKind(r.u32("lrh_type")?);
        let id = r.u32("lrh_id")?;
        let size = len as usize;
        if !(FRAME..=MAX_RECORD_LEN).contains(&size) || !size.is_multiple_of(8) {
            return Err(r.refuse("lrh_len", len, "is not a multiple of 8 from 24 to 8192"));
        }
        if !kind.is_valid() {
            return Err(r.refuse("lrh_type", kind.0, "is not the type of a record"));
        }
        let data = r.bytes("data", size - FRAME)?.to_vec();
        let tail_len = r.u32("lrt_len")?;
        if tail_len != len {
            return Err(r.refuse("lrt_len", tail_len, "differs from lrh_len"));
        }
        let tail_index = r.u32("lrt_index")?;
        if tail_index != index {
            return Err(r.refuse("lrt_index", tail_index, "differs from lrh_index"));
        }
        Ok((Self { index, kind, id, data }, r.rest()))
    }

    /// Appends the record's bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let len = u32::try_from(self.encoded_len()).expect("a record is at most 8192 bytes");
        for word in [len, self.index, self.kind.0, self.id] {
            bytes.put_u32(word);
        }
        bytes.extend_from_slice(&self.data);
        bytes.put_u32(len);
        bytes.put_u32(self.index);
    }
}
