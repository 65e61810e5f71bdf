//! The ext4 superblock, as far as the agent needs it: is it there, whose is it, is it in use.
//!
//! Layout: `struct ext4_super_block`, kernel documentation `filesystems/ext4/super.rst`.

use thiserror::Error;

mod at {
    use core::ops::Range;
    pub(super) const INODES: Range<usize> = 0x0..0x4;
    pub(super) const BLOCKS_LO: Range<usize> = 0x4..0x8;
    pub(super) const FREE_INODES: Range<usize> = 0x10..0x14;
    pub(super) const FIRST_DATA_BLOCK: Range<usize> = 0x14..0x18;
    pub(super) const LOG_BLOCK_SIZE: Range<usize> = 0x18..0x1C;
    pub(super) const INODES_PER_GROUP: Range<usize> = 0x28..0x2C;
    pub(super) const MAGIC: Range<usize> = 0x38..0x3A;
    pub(super) const STATE: Range<usize> = 0x3A..0x3C;
    pub(super) const REV_LEVEL: Range<usize> = 0x4C..0x50;
    pub(super) const FIRST_INODE: Range<usize> = 0x54..0x58;
    pub(super) const FEATURE_COMPAT: Range<usize> = 0x5C..0x60;
    pub(super) const FEATURE_INCOMPAT: Range<usize> = 0x60..0x64;
    pub(super) const FEATURE_RO_COMPAT: Range<usize> = 0x64..0x68;
    pub(super) const UUID: Range<usize> = 0x68..0x78;
    pub(super) const VOLUME_NAME: Range<usize> = 0x78..0x88;
    pub(super) const INODE_SIZE: Range<usize> = 0x58..0x5A;
    pub(super) const DESCRIPTOR_SIZE: Range<usize> = 0xFE..0x100;
    pub(super) const BLOCKS_HI: Range<usize> = 0x150..0x154;
    pub(super) const USER_QUOTA_INODE: Range<usize> = 0x240..0x244;
    pub(super) const GROUP_QUOTA_INODE: Range<usize> = 0x244..0x248;
    pub(super) const PROJECT_QUOTA_INODE: Range<usize> = 0x26C..0x270;
    pub(super) const LEN: usize = 1024;
}

/// Where on the device the superblock is, bytes.
pub const OFFSET: u64 = 1024;
/// Its size in bytes.
pub const LEN: usize = at::LEN;
/// Where in it the volume label is.
pub const LABEL: std::ops::Range<usize> = at::VOLUME_NAME;
const MAGIC: u16 = 0xEF53;
const STATE_VALID: u16 = 0x1;
const COMPAT_ORPHAN_FILE: u32 = 0x1000;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
const RO_COMPAT_QUOTA: u32 = 0x100;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const INCOMPAT_DIRDATA: u32 = 0x1000;

/// What the agent reads of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Volume label, up to its first NUL.
    pub label: String,
    /// UUID in the usual spelling.
    pub uuid: uuid::Uuid,
    /// Size of a block in bytes.
    pub block_bytes: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of inodes that nobody uses.
    pub free_inodes: u32,
    /// The first inode that is not reserved.
    pub first_inode: u32,
    /// Number of inodes in a block group.
    pub inodes_per_group: u32,
    /// Size of an inode in bytes.
    pub inode_bytes: u16,
    /// Block of the superblock: 1 with blocks of 1 KiB, else 0. Group descriptors begin in the next.
    pub first_data_block: u32,
    /// Size of a group descriptor in bytes.
    pub descriptor_bytes: u16,
    /// Inodes of the quota files of users, groups and projects; 0 where there is none.
    pub quota_inodes: [u32; 3],
    /// `s_state` says that it was unmounted, and the journal is empty.
    pub is_clean: bool,
    /// Whether multi-mount protection is on.
    pub has_mmp: bool,
    /// Whether directory entries can carry FIDs.
    pub has_dirdata: bool,
    /// Whether usage is accounted.
    pub has_quota: bool,
    /// Feature words: compat, incompat, ro_compat.
    pub features: [u32; 3],
}

/// Why bytes are no ext4 superblock.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SuperblockError {
    /// Too few bytes.
    #[error("an ext4 superblock has {LEN} bytes, there are {got}")]
    Short {
        /// Bytes that there were.
        got: usize,
    },
    /// Another magic.
    #[error("no ext4 superblock: magic is {got:#06x}")]
    Magic {
        /// What stands there.
        got: u16,
    },
    /// A block size that ext4 doesn't have.
    #[error("ext4 superblock says block size 1024 << {got}")]
    BlockSize {
        /// The shift.
        got: u32,
    },
}

impl Superblock {
    /// Reads the [`LEN`] bytes at [`OFFSET`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let all: &[u8; LEN] = bytes.first_chunk().ok_or(SuperblockError::Short { got: bytes.len() })?;
        let half = |range: core::ops::Range<usize>| u16::from_le_bytes([all[range.start], all[range.start + 1]]);
        let word = |range: core::ops::Range<usize>| {
            u32::from_le_bytes(all[range].try_into().expect("the ranges of words have four bytes"))
        };
        if half(at::MAGIC) != MAGIC {
            return Err(SuperblockError::Magic { got: half(at::MAGIC) });
        }
        let shift = word(at::LOG_BLOCK_SIZE);
        if shift > 6 {
            return Err(SuperblockError::BlockSize { got: shift });
        }
        let features = [word(at::FEATURE_COMPAT), word(at::FEATURE_INCOMPAT), word(at::FEATURE_RO_COMPAT)];
        let is_64bit = features[1] & INCOMPAT_64BIT != 0;
        let blocks_hi = if is_64bit { word(at::BLOCKS_HI) } else { 0 };
        // Revision 0 had fixed sizes.
        let has_own_sizes = word(at::REV_LEVEL) > 0;
        let label = &all[at::VOLUME_NAME];
        let label = &label[..label.iter().position(|byte| *byte == 0).unwrap_or(label.len())];
        let uuid: [u8; 16] = all[at::UUID].try_into().expect("16 bytes: layout above");
        Ok(Self {
            label: String::from_utf8_lossy(label).into_owned(),
            uuid: uuid::Uuid::from_bytes(uuid),
            block_bytes: 1024 << shift,
            blocks: u64::from(blocks_hi) << 32 | u64::from(word(at::BLOCKS_LO)),
            inodes: word(at::INODES),
            free_inodes: word(at::FREE_INODES),
            first_inode: if has_own_sizes { word(at::FIRST_INODE) } else { 11 },
            inodes_per_group: word(at::INODES_PER_GROUP),
            inode_bytes: if has_own_sizes { half(at::INODE_SIZE) } else { 128 },
            first_data_block: word(at::FIRST_DATA_BLOCK),
            descriptor_bytes: if is_64bit { half(at::DESCRIPTOR_SIZE).max(32) } else { 32 },
            quota_inodes: [at::USER_QUOTA_INODE, at::GROUP_QUOTA_INODE, at::PROJECT_QUOTA_INODE].map(word),
            is_clean: half(at::STATE) & STATE_VALID != 0 && features[1] & INCOMPAT_RECOVER == 0,
            has_mmp: features[1] & INCOMPAT_MMP != 0,
            has_dirdata: features[1] & INCOMPAT_DIRDATA != 0,
            has_quota: features[2] & RO_COMPAT_QUOTA != 0,
            features,
        })
    }

    /// Whether some group descriptors are not behind the superblock.
    pub fn has_meta_block_groups(&self) -> bool {
        self.features[1] & INCOMPAT_META_BG != 0
    }

    /// Whether there is a file of orphans, an inode among those of the users.
    pub fn has_orphan_file(&self) -> bool {
        self.features[0] & COMPAT_ORPHAN_FILE != 0
    }

    /// Whether its journal has something to be replayed.
    pub fn needs_recovery(&self) -> bool {
        self.features[1] & INCOMPAT_RECOVER != 0
    }

    /// Whether the superblock and all metadata carry checksums.
    pub fn has_checksums(&self) -> bool {
        self.features[2] & RO_COMPAT_METADATA_CSUM != 0
    }

    /// Size of the file system in bytes, as it says of itself.
    pub fn size_bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_superblock_is_named() {
        assert_eq!(Superblock::decode(&[0; 1023]), Err(SuperblockError::Short { got: 1023 }));
        assert_eq!(Superblock::decode(&[0; 1024]), Err(SuperblockError::Magic { got: 0 }));
        let mut bytes = [0xFFu8; 1024];
        bytes[at::MAGIC].copy_from_slice(&MAGIC.to_le_bytes());
        assert_eq!(Superblock::decode(&bytes), Err(SuperblockError::BlockSize { got: u32::MAX }));
        bytes[at::LOG_BLOCK_SIZE].copy_from_slice(&2u32.to_le_bytes());
        assert_eq!(Superblock::decode(&bytes).unwrap().size_bytes(), u64::MAX);
    }
}
