//! A log in memory: its sections, and its bytes in the blocks that nodes ask for.

use std::sync::Arc;

use bytes::Bytes;
use lustre_wire::llog::{
    AppendError, CHUNK, LogFile, LogHeader, LustreCfg, MAX_INDEX, MarkerFlags, Record, RecordKind, padding_before,
};

use crate::configlog::{Placed, Section};

/// Bytes of a record besides its data.
const FRAME: usize = 24;

/// A config log. Its bytes are encoded once per change and shared from then on.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigLog {
    name: String,
    id: u64,
    revision: u64,
    /// Shared: a log is copied for each change that is decided, its sections are not.
    sections: Vec<Arc<Placed>>,
    header: LogHeader,
    header_bytes: Bytes,
    blocks: Vec<Block>,
}

/// 8 KiB of a log behind its header.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Exactly 8192 bytes: records, then zeros where the log ends.
    pub bytes: Bytes,
    /// How many of them are the log's.
    pub used: usize,
    /// Index of the last record in it, padding included.
    pub last_index: u32,
}

impl ConfigLog {
    /// A log that is about to get its first record.
    pub(super) fn new(name: String, id: u64, created: u64) -> Self {
        let header = LogHeader::new(created);
        let header_bytes = header.encode().into();
        Self { name, id, revision: 0, sections: Vec::new(), header, header_bytes, blocks: Vec::new() }
    }

    /// Its name, as in `scratch-client`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names this very log for as long as it exists: another one of the same name, after a writeconf, has another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The revision of the store that changed it last.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The file's size in bytes.
    pub fn size(&self) -> usize {
        CHUNK + self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * CHUNK + last.used)
    }

    /// The header, as a value.
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// The header: 8192 bytes. Of the same version of the log as its blocks.
    pub fn header_bytes(&self) -> &Bytes {
        &self.header_bytes
    }

    /// Index of the last record, padding included.
    pub fn last_index(&self) -> u32 {
        self.header.last_index
    }

    /// The blocks behind the header.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The first block from byte `offset` of the file on that reaches to record `wanted`, and where in the file it begins.
    /// `None` at the end of the log.
    pub fn block_with(&self, wanted: u32, offset: u64) -> Option<(u64, &Block)> {
        let from = usize::try_from(offset / CHUNK as u64).unwrap_or(usize::MAX).saturating_sub(1);
        let (at, block) = self.blocks.iter().enumerate().skip(from).find(|(_, block)| block.last_index >= wanted)?;
        Some((((at + 1) * CHUNK) as u64, block))
    }

    /// The file's bytes.
    pub fn raw(&self) -> Vec<u8> {
        let mut bytes = self.header_bytes.to_vec();
        for block in &self.blocks {
            bytes.extend_from_slice(&block.bytes[..block.used]);
        }
        bytes
    }

    /// The file, read.
    pub fn file(&self) -> LogFile {
        LogFile::decode(&self.raw()).expect("a log that was encoded here decodes")
    }

    /// Its sections, in order.
    pub fn sections(&self) -> &[Arc<Placed>] {
        &self.sections
    }

    /// The sections of a target (or device) and comment that are not skipped.
    pub fn live<'a>(&'a self, target: &'a str, comment: &'a str) -> impl Iterator<Item = &'a Arc<Placed>> {
        let is_it = move |section: &Section| section.target == target && section.comment == comment;
        self.sections.iter().filter(move |placed| !placed.section.is_skipped() && is_it(&placed.section))
    }

    /// Whether a record is live.
    pub fn is_live(&self, index: u32) -> bool {
        self.header.bitmap.is_set(index)
    }

    pub(super) fn touched(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// Errors: no index left; nothing was appended then. `None` is a section that can't be written at all.
    pub(super) fn append(&mut self, section: Section) -> Result<(), AppendError> {
        let commands = section.commands().ok_or(AppendError::TooLarge(0))?;
        if let Some(large) = commands.iter().find(|cfg| !cfg.fits()) {
            return Err(AppendError::TooLarge(large.encoded_len() + FRAME));
        }
        // Padding takes an index too, at most one for each record.
        let most = u32::try_from(commands.len() * 2).unwrap_or(u32::MAX);
        if self.header.last_index.saturating_add(most) > MAX_INDEX {
            return Err(AppendError::Full);
        }
        let mut size = self.size();
        let mut open: Vec<u8> = match self.blocks.last() {
            Some(last) if last.used < CHUNK => {
                let open = last.bytes[..last.used].to_vec();
                self.blocks.pop();
                open
            }
            _ => Vec::new(),
        };
        let (mut indices, mut offsets) = (Vec::with_capacity(commands.len()), Vec::new());
        for cfg in &commands {
            let len = cfg.encoded_len() + FRAME;
            if let Some(left) = padding_before(size, len) {
                self.header.last_index += 1;
                let data = vec![0; left - FRAME];
                let padding = Record { index: self.header.last_index, kind: RecordKind::PADDING, id: 0, data };
                padding.encode(&mut open);
                size += left;
                self.close(&mut open);
            }
            self.header.last_index += 1;
            cfg.record(self.header.last_index).encode(&mut open);
            self.count(self.header.last_index, len);
            indices.push(self.header.last_index);
            offsets.push(size);
            size += len;
            if open.len() == CHUNK {
                self.close(&mut open);
            }
        }
        if !open.is_empty() {
            self.close(&mut open);
        }
        let markers = [offsets[0], offsets[offsets.len() - 1]];
        self.sections.push(Arc::new(Placed { section, indices, markers }));
        self.header_bytes = self.header.encode().into();
        Ok(())
    }

    fn count(&mut self, index: u32, len: usize) {
        let len = u32::try_from(len).expect("a record is at most 8192 bytes");
        let header = &mut self.header;
        header.bitmap.set(index, true);
        header.count += 1;
        header.size = if header.size == 0 { len } else { header.size.min(len) };
    }

    /// Ends a block, full or not.
    fn close(&mut self, open: &mut Vec<u8>) {
        let used = open.len();
        open.resize(CHUNK, 0);
        let bytes = std::mem::take(open).into();
        self.blocks.push(Block { bytes, used, last_index: self.header.last_index });
    }

    /// Gives the markers of the section that begins at `index` other flags. `false` when there is no such section.
    pub(super) fn mark(&mut self, index: u32, flags: u32, canceled: u64) -> bool {
        let Some(placed) = self.sections.iter_mut().find(|placed| placed.indices.first() == Some(&index)) else {
            return false;
        };
        let placed = Arc::make_mut(placed);
        (placed.section.flags, placed.section.canceled) = (flags, canceled);
        let ends =
            [(MarkerFlags::START, placed.indices[0]), (MarkerFlags::END, placed.indices[placed.indices.len() - 1])];
        let markers = placed.markers;
        let section = &placed.section;
        let records = ends.map(|(end, index)| {
            let marker = section.marker(end).expect("it had markers with the same texts");
            let cfg: LustreCfg = marker.cfg();
            let mut bytes = Vec::new();
            cfg.record(index).encode(&mut bytes);
            bytes
        });
        for (offset, record) in markers.into_iter().zip(records) {
            let block = &mut self.blocks[offset / CHUNK - 1];
            let mut bytes = block.bytes.to_vec();
            bytes[offset % CHUNK..][..record.len()].copy_from_slice(&record);
            block.bytes = bytes.into();
        }
        true
    }

    /// Takes records out of the bitmap.
    pub(super) fn clear(&mut self, indices: &[u32]) {
        for index in indices {
            if *index > 0 && self.header.bitmap.is_set(*index) {
                self.header.bitmap.set(*index, false);
                self.header.count -= 1;
            }
        }
        self.header_bytes = self.header.encode().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(step: u32, text: usize) -> Section {
        let records = vec![LustreCfg::texts(1, &["device", &"x".repeat(text)])];
        let (target, comment) = ("gold".to_owned(), "c".to_owned());
        Section { step, flags: 0, version: 1, created: 2, canceled: 0, target, comment, records }
    }

    /// The same file as the codec's own append writes, which is checked against a kernel's files.
    #[test]
    fn blocks_written_piecemeal_are_the_file_that_the_codec_writes() {
        let mut log = ConfigLog::new("gold-client".into(), 1, 7);
        let mut file = LogFile::new(7);
        for step in 0..200 {
            let section = section(step, (step as usize * 97) % 4000);
            for cfg in section.commands().unwrap() {
                file.append(&cfg).unwrap();
            }
            log.append(section).unwrap();
            assert_eq!(log.size(), file.size());
        }
        assert!(log.raw() == file.encode());
        assert_eq!(log.file(), file);
        assert!(log.blocks().iter().all(|block| block.bytes.len() == CHUNK));
    }

    #[test]
    fn a_block_is_found_by_index_also_from_an_old_offset() {
        let mut log = ConfigLog::new("gold-client".into(), 1, 7);
        for step in 0..60 {
            log.append(section(step, 700)).unwrap();
        }
        let second = &log.blocks()[1];
        let wanted = log.blocks()[0].last_index + 1;
        assert_eq!(log.block_with(wanted, 8192), Some((16384, second)));
        assert_eq!(log.block_with(wanted, 16384), Some((16384, second)));
        assert_eq!(log.block_with(wanted, 0), Some((16384, second)));
        assert_eq!(log.block_with(log.last_index() + 1, 8192), None);
        assert_eq!(log.block_with(1, u64::MAX), None);
    }

    #[test]
    fn a_marked_section_keeps_its_place_and_its_bytes_differ_in_flags_and_time_only() {
        let mut log = ConfigLog::new("gold-client".into(), 1, 7);
        for step in 0..40 {
            log.append(section(step, 300)).unwrap();
        }
        let before = log.raw();
        let index = log.sections()[20].indices[0];
        assert!(log.mark(index, 4, 99));
        assert!(!log.mark(index + 1, 4, 99));
        let after = log.raw();
        let differing = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        assert_eq!((before.len(), differing), (after.len(), 4), "flags and time of two markers");
        let sections = log.sections();
        assert!(sections[20].section.is_skipped() && !sections[19].section.is_skipped());
        log.mark(index, 0, 0);
        assert!(log.raw() == before);
    }
}
