//! A whole log: its header, then records, padded so that none crosses a border of 8 KiB.
//!
//! Layout and append rule: config-log specification, sections 1 and 1.3.

use super::record::FRAME;
use super::{CHUNK, LogHeader, LustreCfg, MAX_INDEX, Marker, MarkerFlags, Record, RecordKind};
use crate::bytes::{Reader, WireError};
use thiserror::Error;

/// A log's file. The records are all there are in the file, padding and dead ones included, in order.
///
/// A log that was opened and never written to has no bytes at all: [`LogFile::decode`] gives `None` for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The first 8 KiB.
    pub header: LogHeader,
    /// What follows.
    pub records: Vec<Record>,
}

/// Why a record can't be appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The log has no index left.
    #[error("the log is full: it has {MAX_INDEX} records")]
    Full,
    /// The record is larger than a block.
    #[error("a record of {0} bytes doesn't fit into a block of {CHUNK}, or it has more than 8 buffers")]
    TooLarge(usize),
}

/// Bytes of padding that a record of `len` bytes needs before it in a file of `size` bytes.
///
/// What is left of a block after a record is nothing or enough for a record of padding.
pub fn padding_before(size: usize, len: usize) -> Option<usize> {
    let left = CHUNK - size % CHUNK;
    (left != len && left < len + FRAME).then_some(left)
}

impl LogFile {
    /// A log without records. `timestamp` is when it was made, seconds since 1970.
    pub fn new(timestamp: u64) -> Self {
        Self { header: LogHeader::new(timestamp), records: Vec::new() }
    }

    /// Reads a file. `Ok` of an empty log with no header for a file without bytes is [`LogFile::decode_or_empty`]'s.
    /// Errors: a header that is none, a record that is none, one across a border of 8 KiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let header = LogHeader::decode(bytes)?;
        let mut records = Vec::new();
        let mut rest = &bytes[CHUNK..];
        while !rest.is_empty() {
            let (record, after) = Record::decode(rest)?;
            let left = CHUNK - (bytes.len() - rest.len()) % CHUNK;
            let len = record.encoded_len();
            if len > left {
                let r = Reader::new("llog file", rest);
                return Err(r.refuse("lrh_len", len as u64, "crosses a border of 8 KiB"));
            }
            records.push(record);
            rest = after;
        }
        Ok(Self { header, records })
    }

    /// As [`LogFile::decode`]; `None` for a file without bytes, which is a log without records.
    pub fn decode_or_empty(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        if bytes.is_empty() { Ok(None) } else { Self::decode(bytes).map(Some) }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        for record in &self.records {
            record.encode(&mut bytes);
        }
        bytes
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        CHUNK + self.records.iter().map(Record::encoded_len).sum::<usize>()
    }

    /// Appends a command, padding before it where it needs some; gives its index.
    pub fn append(&mut self, cfg: &LustreCfg) -> Result<u32, AppendError> {
        if !cfg.fits() {
            return Err(AppendError::TooLarge(cfg.encoded_len() + FRAME));
        }
        let len = cfg.encoded_len() + FRAME;
        let padding = padding_before(self.size(), len);
        let index = self.header.last_index + 1 + u32::from(padding.is_some());
        if index > MAX_INDEX {
            return Err(AppendError::Full);
        }
        if let Some(left) = padding {
            let data = vec![0; left - FRAME];
            self.records.push(Record { index: index - 1, kind: RecordKind::PADDING, id: 0, data });
        }
        self.records.push(cfg.record(index));
        let header = &mut self.header;
        let len = u32::try_from(len).expect("a record is at most 8192 bytes");
        header.bitmap.set(index, true);
        header.count += 1;
        header.last_index = index;
        header.size = if header.size == 0 { len } else { header.size.min(len) };
        Ok(index)
    }

    /// The records whose bit is set.
    pub fn live(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| self.header.bitmap.is_set(record.index))
    }

    /// What a reader carries out: commands in sections that count, without their markers, each with its index and its
    /// section's first marker. What can't be read, and what stands outside of any section, is left out.
    pub fn effective(&self) -> Vec<(u32, Marker, LustreCfg)> {
        let mut section: Option<Marker> = None;
        let mut effective = Vec::new();
        for record in self.live() {
            let Some(Ok(cfg)) = record.config() else { continue };
            match (Marker::of(&cfg), &section) {
                (Some(Ok(marker)), _) => {
                    let counts = !marker.flags.contains(MarkerFlags::SKIP);
                    section = (marker.flags.contains(MarkerFlags::START) && counts).then_some(marker);
                }
                (Some(Err(_)), _) | (None, None) => {}
                (None, Some(marker)) => effective.push((record.index, marker.clone(), cfg)),
            }
        }
        effective
    }
}

/// For the fuzzer: whatever decodes as a log encodes to the same bytes and can be printed.
pub fn fuzz_log_file(data: &[u8]) {
    let Ok(log) = LogFile::decode(data) else { return };
    assert_eq!(log.encode(), data);
    assert_eq!(log.size(), data.len());
    log.effective();
    super::print(&log);
    super::print_raw(&log);
}
