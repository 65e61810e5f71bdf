//! What the quota files of a fresh file system must say, counted from its inodes.
//!
//! `mke2fs -d` (seen with 1.47.0) counts before it copies the files in, so its own count lacks them, and `e2fsck` would
//! complain of every fresh target. A fresh file system has a handful of inodes, all owned by user, group and project 0, so
//! that each quota file has one entry: two numbers of it are written anew. Anything else is left to `tune2fs`.
//! Layout: kernel sources' `Documentation/filesystems/quota.rst` and the quota-tools' `vfsv1` format: a header, then blocks
//! of 1 KiB, a tree of four levels by the bytes of the id, and leaves with a 16-byte header and 72 bytes per id.

use super::files::{Ext4, Ext4Error, Inode, ROOT_INODE, ReadAt};

const QUOTA_BLOCK: usize = 1024;
/// More used inodes than this are no fresh file system.
const FRESH_INODES: u32 = 64;
const TREE_DEPTH: usize = 4;
const TREE_ROOT: u32 = 1;
const VERSION: u32 = 1;
/// Files by their place in the superblock: magic of users, groups, projects.
const MAGICS: [u32; 3] = [0xd9c0_1f11, 0xd9c0_1927, 0xd9c0_3f14];
mod leaf {
    pub(super) const ENTRIES: usize = 8;
    pub(super) const FIRST: usize = 16;
    pub(super) const INODES: usize = FIRST + 24;
    pub(super) const SPACE: usize = FIRST + 48;
}

/// Bytes to be written so that a quota file says what is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where on the device, bytes.
    pub offset: u64,
    /// The number there, little endian.
    pub bytes: [u8; 8],
}

/// What the root user, the root group and project 0 own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Owned {
    inodes: u64,
    space: u64,
}

/// What must be written for the quotas of a fresh file system to be right; nothing where they are already.
///
/// Errors: [`Ext4Error::Unusual`] where it isn't fresh, or its quota files are not those of `mke2fs`.
pub fn patches<R: ReadAt + ?Sized>(fs: &Ext4<'_, R>) -> Result<Vec<Patch>, Ext4Error> {
    let owned = owned(fs)?;
    let mut patches = Vec::new();
    for (number, magic) in fs.superblock.quota_inodes.into_iter().zip(MAGICS) {
        if number == 0 {
            continue;
        }
        let file = QuotaFile { fs, inode: fs.inode(number)? };
        let (said, inodes_at, space_at) = file.only_entry(magic)?;
        if said.inodes != owned.inodes {
            patches.push(Patch { offset: inodes_at, bytes: owned.inodes.to_le_bytes() });
        }
        if said.space != owned.space {
            patches.push(Patch { offset: space_at, bytes: owned.space.to_le_bytes() });
        }
    }
    Ok(patches)
}

/// Counts as the kernel does: every used inode but the reserved ones and the quota files; the root counts.
fn owned<R: ReadAt + ?Sized>(fs: &Ext4<'_, R>) -> Result<Owned, Ext4Error> {
    let sb = &fs.superblock;
    if sb.has_orphan_file() {
        return Err(Ext4Error::Unusual("an orphan file"));
    }
    let used = sb.inodes.checked_sub(sb.free_inodes).ok_or(Ext4Error::Damaged("the number of free inodes"))?;
    if used > FRESH_INODES || sb.first_inode < 3 {
        return Err(Ext4Error::Unusual("contents of its own"));
    }
    let mut owned = Owned::default();
    for number in (sb.first_inode..=used).chain([ROOT_INODE]) {
        let inode = fs.inode(number)?;
        if inode.links == 0 || (inode.uid, inode.gid, inode.project) != (0, 0, 0) {
            return Err(Ext4Error::Unusual("files of other owners"));
        }
        if !sb.quota_inodes.contains(&number) {
            owned.inodes += 1;
            owned.space = owned.space.saturating_add(inode.allocated);
        }
    }
    Ok(owned)
}

struct QuotaFile<'a, R: ?Sized> {
    fs: &'a Ext4<'a, R>,
    inode: Inode,
}

impl<R: ReadAt + ?Sized> QuotaFile<'_, R> {
    /// What the file says of id 0, with the places of both numbers. Errors: it has other entries too, or is none.
    fn only_entry(&self, magic: u32) -> Result<(Owned, u64, u64), Ext4Error> {
        let unusual = Err(Ext4Error::Unusual("quota files of another format"));
        let (header, _) = self.block(0)?;
        let word = |bytes: &[u8; QUOTA_BLOCK], at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if word(&header, 0) != magic || word(&header, 4) != VERSION {
            return unusual;
        }
        let mut at = TREE_ROOT;
        for _ in 0..TREE_DEPTH {
            let (node, _) = self.block(at)?;
            if node[4..].iter().any(|byte| *byte != 0) {
                return unusual;
            }
            at = word(&node, 0);
        }
        let (leaf, place) = self.block(at)?;
        if leaf[leaf::ENTRIES..leaf::ENTRIES + 2] != [1, 0] || word(&leaf, leaf::FIRST) != 0 {
            return unusual;
        }
        let number = |at: usize| u64::from(word(&leaf, at)) | u64::from(word(&leaf, at + 4)) << 32;
        let said = Owned { inodes: number(leaf::INODES), space: number(leaf::SPACE) };
        Ok((said, place + leaf::INODES as u64, place + leaf::SPACE as u64))
    }

    /// One block of the file, and where on the device it is.
    fn block(&self, at: u32) -> Result<([u8; QUOTA_BLOCK], u64), Ext4Error> {
        let offset = u64::from(at) * QUOTA_BLOCK as u64;
        if at > 64 || offset + QUOTA_BLOCK as u64 > self.inode.size {
            return Err(Ext4Error::Unusual("quota files of another format"));
        }
        let block = self.fs.superblock.block_bytes;
        let logical = u32::try_from(offset / block).expect("64 KiB at most, in blocks");
        let start = self.fs.map(&self.inode, logical)?.ok_or(Ext4Error::Unusual("quota files with holes"))?;
        let mut bytes = [0; QUOTA_BLOCK];
        let place = start + offset % block;
        self.fs.read(&mut bytes, place)?;
        Ok((bytes, place))
    }
}
