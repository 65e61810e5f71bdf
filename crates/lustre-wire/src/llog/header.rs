//! `struct llog_log_hdr`: the first 8 KiB of a log.
//!
//! Layout: config-log specification, section 1.1; checked against logs of a 2.17.57 MGS.

use super::CHUNK;
use super::record::RecordKind;
use crate::bytes::{Reader, WireError, Writer};

/// Bytes of the bitmap.
pub const BITMAP_LEN: usize = 8096;
/// The last index that a record can have: the bitmap has a bit for no more.
pub const MAX_INDEX: u32 = 64_767;
/// Where the bitmap begins.
const BITMAP_OFFSET: u32 = 88;
const WHAT: &str = "llog header";

/// `llh_bitmap`: which indices hold live records. Bit 0 is the header's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap(Box<[u8; BITMAP_LEN]>);

impl Bitmap {
    /// Only the header is there.
    pub fn empty() -> Self {
        let mut bitmap = Self(Box::new([0; BITMAP_LEN]));
        bitmap.set(0, true);
        bitmap
    }

    /// Whether the record at `index` is live; false for an index beyond [`MAX_INDEX`].
    pub fn is_set(&self, index: u32) -> bool {
        let (byte, bit) = (index as usize / 8, index % 8);
        self.0.get(byte).is_some_and(|byte| byte >> bit & 1 == 1)
    }

    /// Marks the record at `index` live or gone. Nothing happens beyond [`MAX_INDEX`].
    pub fn set(&mut self, index: u32, live: bool) {
        let (byte, mask) = (index as usize / 8, 1u8 << (index % 8));
        if let Some(byte) = self.0.get_mut(byte) {
            *byte = if live { *byte | mask } else { *byte & !mask };
        }
    }

    /// The first live index from `from` on.
    pub fn next_set(&self, from: u32) -> Option<u32> {
        (from..=MAX_INDEX).find(|index| self.is_set(*index))
    }

    /// How many bits are set, the header's included.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }
}

impl core::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries((0..=MAX_INDEX).filter(|index| self.is_set(*index))).finish()
    }
}

/// The header. Errors of decoding: [`WireError`]: short, another type, a length that is not [`CHUNK`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// `lrh_id` of the header's own record; 0.
    pub id: u32,
    /// `llh_timestamp`: when the log was made, seconds since 1970.
    pub timestamp: u64,
    /// `llh_count`: live records and the header.
    pub count: u32,
    /// `llh_size`: the smallest record appended so far, padding not counted; readers only skip ahead by it.
    pub size: u32,
    /// `llh_flags`: [`LogHeader::IS_PLAIN`] in config logs.
    pub flags: u32,
    /// `llh_cat_idx`; 0.
    pub cat_idx: u32,
    /// `llh_tgtuuid`: `config_uuid` with NULs behind.
    pub tgtuuid: [u8; 40],
    /// The word behind it; 0.
    pub reserved: u32,
    /// `llh_bitmap`.
    pub bitmap: Bitmap,
    /// Index in the tail: the last record's, padding included.
    pub last_index: u32,
}

impl LogHeader {
    /// `llh_flags` of a log that is no catalogue.
    pub const IS_PLAIN: u32 = 4;

    /// The header of a new config log, with no record yet.
    pub fn new(timestamp: u64) -> Self {
        let mut tgtuuid = [0; 40];
        tgtuuid[..11].copy_from_slice(b"config_uuid");
        Self {
            id: 0,
            timestamp,
            count: 1,
            size: 0,
            flags: Self::IS_PLAIN,
            cat_idx: 0,
            tgtuuid,
            reserved: 0,
            bitmap: Bitmap::empty(),
            last_index: 0,
        }
    }

    /// What an MGS serves over the wire for a log without any record: no UUID, and `now` as its time.
    pub fn of_empty_log(now: u64) -> Self {
        Self { tgtuuid: [0; 40], ..Self::new(now) }
    }

    /// Reads the first [`CHUNK`] bytes; what follows is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(WHAT, bytes);
        let chunk = u32::try_from(CHUNK).expect("8192 fits");
        let len = r.u32("lrh_len")?;
        let index = r.u32("lrh_index")?;
        let kind = r.u32("lrh_type")?;
        if kind != RecordKind::HEADER.0 {
            return Err(r.refuse("lrh_type", kind, "is not the type of a log's header"));
        }
        if len != chunk {
            return Err(r.refuse("lrh_len", len, "is not 8192"));
        }
        if index != 0 {
            return Err(r.refuse("lrh_index", index, "is not 0"));
        }
        let id = r.u32("lrh_id")?;
        let timestamp = r.u64("llh_timestamp")?;
        let count = r.u32("llh_count")?;
        let offset = r.u32("llh_bitmap_offset")?;
        if offset != BITMAP_OFFSET {
            return Err(r.refuse("llh_bitmap_offset", offset, "is not 88"));
        }
        let header = Self {
            id,
            timestamp,
            count,
            size: r.u32("llh_size")?,
            flags: r.u32("llh_flags")?,
            cat_idx: r.u32("llh_cat_idx")?,
            tgtuuid: r.array("llh_tgtuuid")?,
            reserved: r.u32("llh_reserved")?,
            bitmap: Bitmap(Box::new(r.array("llh_bitmap")?)),
            last_index: 0,
        };
        let tail_len = r.u32("lrt_len")?;
        if tail_len != len {
            return Err(r.refuse("lrt_len", tail_len, "is not 8192"));
        }
        let last_index = r.u32("lrt_index")?;
        if last_index > MAX_INDEX {
            return Err(r.refuse("lrt_index", last_index, "is beyond the bitmap"));
        }
        Ok(Self { last_index, ..header })
    }

    /// The [`CHUNK`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let chunk = u32::try_from(CHUNK).expect("8192 fits");
        let mut bytes = Vec::with_capacity(CHUNK);
        for word in [chunk, 0, RecordKind::HEADER.0, self.id] {
            bytes.put_u32(word);
        }
        bytes.put_u64(self.timestamp);
        for word in [self.count, BITMAP_OFFSET, self.size, self.flags, self.cat_idx] {
            bytes.put_u32(word);
        }
        bytes.extend_from_slice(&self.tgtuuid);
        bytes.put_u32(self.reserved);
        bytes.extend_from_slice(&*self.bitmap.0);
        bytes.put_u32(chunk);
        bytes.put_u32(self.last_index);
        bytes
    }
}
