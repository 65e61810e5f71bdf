//! Inodes, directories and files of an ext4 file system at rest.

use super::superblock::{self, Superblock, SuperblockError};
use std::{fs::File, io, os::unix::fs::FileExt};
use thiserror::Error;

/// The root directory.
pub(super) const ROOT_INODE: u32 = 2;
/// Inodes that are read as directories are followed this far, bytes: the root of a target has a dozen entries.
const DIRECTORY_MAX: u64 = 4 << 20;
/// The largest tree of extents has five levels below its root.
const EXTENT_DEPTH_MAX: u16 = 5;
const EXTENT_MAGIC: u16 = 0xF30A;
const EXTENT_BYTES: usize = 12;
/// Lengths above this mean an extent that is allocated and reads as zeroes.
const EXTENT_WRITTEN_MAX: u16 = 32768;

const INODE_EXTENTS: u32 = 0x0008_0000;
const INODE_HUGE_FILE: u32 = 0x0004_0000;
const INODE_INLINE_DATA: u32 = 0x1000_0000;
const MODE_TYPE: u16 = 0xF000;
const MODE_DIRECTORY: u16 = 0x4000;
const MODE_REGULAR: u16 = 0x8000;

/// Bytes at places: a device, an image, or bytes that a fuzzer made.
pub trait ReadAt {
    /// Fills `bytes` from `offset` on. Errors: there are not so many.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| self.get(start..)?.get(..bytes.len()));
        bytes.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a file system can't be read here.
#[derive(Debug, Error)]
pub enum Ext4Error {
    /// There is none.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// Lawful, but nothing that a target has: e2fsprogs is asked instead.
    #[error("ext4 with {0}, which only e2fsprogs reads here")]
    Unusual(&'static str),
    /// Its structures contradict each other.
    #[error("ext4 is damaged: {0}")]
    Damaged(&'static str),
    /// The device doesn't answer.
    #[error("ext4 can't be read")]
    Io(#[source] io::Error),
}

/// A file system at rest.
#[derive(Debug)]
pub struct Ext4<'a, R: ?Sized> {
    device: &'a R,
    /// Its superblock.
    pub superblock: Superblock,
}

/// What is read of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) links: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) project: u32,
    /// Bytes.
    pub(super) size: u64,
    /// Allocated bytes, as quotas count them.
    pub(super) allocated: u64,
    flags: u32,
    /// Root of the tree of extents.
    tree: [u8; 60],
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

impl<'a, R: ReadAt + ?Sized> Ext4<'a, R> {
    /// Reads the superblock.
    pub fn open(device: &'a R) -> Result<Self, Ext4Error> {
        let mut bytes = [0; superblock::LEN];
        device.read_exact_at(&mut bytes, superblock::OFFSET).map_err(Ext4Error::Io)?;
        let superblock = Superblock::decode(&bytes)?;
        Ok(Self { device, superblock })
    }

    /// Where the file at `path` begins on the device, in bytes; none where there is no such file, or a hole.
    pub fn place_of(&self, path: &str) -> Result<Option<u64>, Ext4Error> {
        match self.file(path)? {
            Some(inode) => self.map(&inode, 0),
            None => Ok(None),
        }
    }

    /// Where each block of the file at `path` is on the device, in bytes; none where there is no such file, or one with holes.
    /// Errors also where it is longer than `max_blocks`.
    pub fn places_of(&self, path: &str, max_blocks: u32) -> Result<Option<Vec<u64>>, Ext4Error> {
        let Some(inode) = self.file(path)? else { return Ok(None) };
        let blocks = u32::try_from(inode.size.div_ceil(self.superblock.block_bytes)).unwrap_or(u32::MAX);
        if blocks > max_blocks {
            return Err(Ext4Error::Unusual("a file longer than it should be"));
        }
        (0..blocks).map(|at| self.map(&inode, at)).collect()
    }

    /// The inode of the file at `path`, from the root; none where there is no such file.
    fn file(&self, path: &str) -> Result<Option<Inode>, Ext4Error> {
        let mut inode = self.inode(ROOT_INODE)?;
        for name in path.split('/') {
            if inode.mode & MODE_TYPE != MODE_DIRECTORY {
                return Ok(None);
            }
            let Some(number) = self.look_up(&inode, name.as_bytes())? else { return Ok(None) };
            inode = self.inode(number)?;
        }
        Ok((inode.mode & MODE_TYPE == MODE_REGULAR).then_some(inode))
    }

    /// The first `max` bytes of the file at `path`, from the root; none where there is no such file.
    pub fn read_path(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, Ext4Error> {
        let Some(inode) = self.file(path)? else { return Ok(None) };
        let len = inode.size.min(max as u64);
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Ext4Error::Damaged("a file's size"))?];
        let block = self.block_len();
        for (at, chunk) in bytes.chunks_mut(block).enumerate() {
            let at = u32::try_from(at).map_err(|_| Ext4Error::Damaged("a file's size"))?;
            if let Some(physical) = self.map(&inode, at)? {
                self.read(chunk, physical)?;
            }
        }
        Ok(Some(bytes))
    }

    /// Bytes of a block: at most 64 KiB, the superblock's decoder sees to it.
    pub(super) fn block_len(&self) -> usize {
        usize::try_from(self.superblock.block_bytes).expect("64 KiB at most: checked when decoded")
    }

    /// An inode, used or not.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, Ext4Error> {
        let sb = &self.superblock;
        let index = number.checked_sub(1).filter(|_| number <= sb.inodes).ok_or(Ext4Error::Damaged("inode number"))?;
        if sb.inodes_per_group == 0 || sb.inode_bytes < 128 || u64::from(sb.inode_bytes) > sb.block_bytes {
            return Err(Ext4Error::Damaged("sizes of inodes and groups"));
        }
        if sb.has_meta_block_groups() {
            return Err(Ext4Error::Unusual("meta block groups"));
        }
        let (group, within) = (index / sb.inodes_per_group, index % sb.inodes_per_group);
        let mut descriptor = [0; 64];
        let descriptor = &mut descriptor[..usize::from(sb.descriptor_bytes.min(64))];
        let table = (u64::from(sb.first_data_block) + 1) * sb.block_bytes;
        self.read_bytes(descriptor, table + u64::from(group) * u64::from(sb.descriptor_bytes))?;
        let high = if descriptor.len() >= 64 { word(descriptor, 0x28) } else { 0 };
        let block = u64::from(high) << 32 | u64::from(word(descriptor, 0x8));
        let start = self.place(block)? + u64::from(within) * u64::from(sb.inode_bytes);
        let mut bytes = vec![0; sb.inode_bytes.into()];
        self.read_bytes(&mut bytes, start)?;
        Ok(self.decode_inode(&bytes))
    }

    /// `bytes` has 128 at least.
    fn decode_inode(&self, bytes: &[u8]) -> Inode {
        let flags = word(bytes, 0x20);
        let wide = |low: u32, high: u16| low | u32::from(high) << 16;
        let blocks = u64::from(half(bytes, 0x74)) << 32 | u64::from(word(bytes, 0x1C));
        let unit = if flags & INODE_HUGE_FILE == 0 { 512 } else { self.superblock.block_bytes };
        // The project is behind the first 128 bytes, if the inode says that it uses so many.
        let has_project = bytes.len() >= 0xA0 && half(bytes, 0x80) >= 0x20;
        Inode {
            mode: half(bytes, 0),
            links: half(bytes, 0x1A),
            uid: wide(half(bytes, 0x2).into(), half(bytes, 0x78)),
            gid: wide(half(bytes, 0x18).into(), half(bytes, 0x7A)),
            project: if has_project { word(bytes, 0x9C) } else { 0 },
            size: u64::from(word(bytes, 0x6C)) << 32 | u64::from(word(bytes, 0x4)),
            allocated: blocks.saturating_mul(unit),
            flags,
            tree: bytes[0x28..0x64].try_into().expect("60 bytes: inodes have 128 at least"),
        }
    }

    /// The inode of `name` in a directory; none where there is no such entry. Hashed directories read the same way:
    /// their inner blocks look like unused entries.
    fn look_up(&self, directory: &Inode, name: &[u8]) -> Result<Option<u32>, Ext4Error> {
        if directory.size > DIRECTORY_MAX {
            return Err(Ext4Error::Unusual("a very large directory"));
        }
        let mut block = vec![0; self.block_len()];
        let blocks = directory.size.div_ceil(self.superblock.block_bytes);
        for at in 0..u32::try_from(blocks).expect("4 Mi at most") {
            let Some(physical) = self.map(directory, at)? else { continue };
            self.read(&mut block, physical)?;
            if let Some(found) = find_entry(&block, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where block `at` of a file is, bytes; none for a hole.
    pub(super) fn map(&self, inode: &Inode, at: u32) -> Result<Option<u64>, Ext4Error> {
        if inode.flags & INODE_INLINE_DATA != 0 {
            return Err(Ext4Error::Unusual("data in inodes"));
        }
        if inode.flags & INODE_EXTENTS == 0 {
            return Err(Ext4Error::Unusual("files without extents"));
        }
        let mut node = inode.tree.to_vec();
        let mut depth_before = EXTENT_DEPTH_MAX + 1;
        loop {
            let (entries, depth) = (half(&node, 2), half(&node, 6));
            let room = (node.len() - EXTENT_BYTES) / EXTENT_BYTES;
            if half(&node, 0) != EXTENT_MAGIC || depth >= depth_before || usize::from(entries) > room {
                return Err(Ext4Error::Damaged("a tree of extents"));
            }
            // The last entry that begins at or before the block.
            let entries = node[EXTENT_BYTES..].chunks_exact(EXTENT_BYTES).take(entries.into());
            let Some(entry) = entries.take_while(|entry| word(entry, 0) <= at).last() else { return Ok(None) };
            if depth == 0 {
                return self.in_extent(entry, at);
            }
            let child = u64::from(half(entry, 8)) << 32 | u64::from(word(entry, 4));
            let place = self.place(child)?;
            node = vec![0; self.block_len()];
            self.read(&mut node, place)?;
            depth_before = depth;
        }
    }

    fn in_extent(&self, extent: &[u8], at: u32) -> Result<Option<u64>, Ext4Error> {
        let len = half(extent, 4);
        let within = at - word(extent, 0);
        if len > EXTENT_WRITTEN_MAX || within >= u32::from(len) {
            return Ok(None);
        }
        let start = u64::from(half(extent, 6)) << 32 | u64::from(word(extent, 8));
        self.place(start + u64::from(within)).map(Some)
    }

    /// Byte offset of a block.
    fn place(&self, block: u64) -> Result<u64, Ext4Error> {
        let place = block.checked_mul(self.superblock.block_bytes).filter(|_| block < self.superblock.blocks);
        // No device is so large; below, nothing that is added to a place overflows.
        place.filter(|place| *place <= u64::MAX / 4).ok_or(Ext4Error::Damaged("a block behind the end"))
    }

    pub(super) fn read(&self, bytes: &mut [u8], place: u64) -> Result<(), Ext4Error> {
        self.read_bytes(bytes, place)
    }

    fn read_bytes(&self, bytes: &mut [u8], place: u64) -> Result<(), Ext4Error> {
        self.device.read_exact_at(bytes, place).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Ext4Error::Damaged("the device is shorter than the file system"),
            _ => Ext4Error::Io(error),
        })
    }
}

/// Looks through one block of a directory. `struct ext4_dir_entry_2`: inode, length of the entry, length of the name,
/// type, name; what Lustre puts behind the name is skipped with the rest of the entry.
fn find_entry(block: &[u8], name: &[u8]) -> Result<Option<u32>, Ext4Error> {
    let mut at = 0;
    while at + 8 <= block.len() {
        let inode = word(block, at);
        let len = match half(block, at + 4) {
            // 64 KiB doesn't fit into 16 bits.
            0 | 0xFFFF if block.len() == 1 << 16 => block.len() - at,
            len => usize::from(len),
        };
        let name_len = usize::from(block[at + 6]);
        if len < 8 || len % 4 != 0 || at + len > block.len() || (inode != 0 && 8 + name_len > len) {
            return Err(Ext4Error::Damaged("a directory entry"));
        }
        if inode != 0 && &block[at + 8..at + 8 + name_len] == name {
            return Ok(Some(inode));
        }
        at += len;
    }
    Ok(None)
}
