//! The ext4 superblock, as far as the agent needs it: is it there, whose is it, is it in use.
//!
//! Read-only and by our own hand: a target must be recognised on nodes whose e2fsprogs doesn't know all of its features.
//! Layout: `struct ext4_super_block`, kernel documentation `filesystems/ext4/super.rst`.

use thiserror::Error;

mod at {
    use core::ops::Range;
    pub(super) const INODES: Range<usize> = 0x0..0x4;
    pub(super) const BLOCKS_LO: Range<usize> = 0x4..0x8;
    pub(super) const LOG_BLOCK_SIZE: Range<usize> = 0x18..0x1C;
    pub(super) const MAGIC: Range<usize> = 0x38..0x3A;
    pub(super) const STATE: Range<usize> = 0x3A..0x3C;
    pub(super) const FEATURE_COMPAT: Range<usize> = 0x5C..0x60;
    pub(super) const FEATURE_INCOMPAT: Range<usize> = 0x60..0x64;
    pub(super) const FEATURE_RO_COMPAT: Range<usize> = 0x64..0x68;
    pub(super) const UUID: Range<usize> = 0x68..0x78;
    pub(super) const VOLUME_NAME: Range<usize> = 0x78..0x88;
    pub(super) const INODE_SIZE: Range<usize> = 0x58..0x5A;
    pub(super) const BLOCKS_HI: Range<usize> = 0x150..0x154;
    pub(super) const LEN: usize = 1024;
}

/// Where on the device the superblock is, bytes.
pub const OFFSET: u64 = 1024;
/// Its size in bytes.
pub const LEN: usize = at::LEN;
const MAGIC: u16 = 0xEF53;
const STATE_VALID: u16 = 0x1;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
const RO_COMPAT_QUOTA: u32 = 0x100;
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
    /// Size of an inode in bytes.
    pub inode_bytes: u16,
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
        let blocks_hi = if features[1] & INCOMPAT_64BIT == 0 { 0 } else { word(at::BLOCKS_HI) };
        let label = &all[at::VOLUME_NAME];
        let label = &label[..label.iter().position(|byte| *byte == 0).unwrap_or(label.len())];
        let uuid: [u8; 16] = all[at::UUID].try_into().expect("16 bytes: layout above");
        Ok(Self {
            label: String::from_utf8_lossy(label).into_owned(),
            uuid: uuid::Uuid::from_bytes(uuid),
            block_bytes: 1024 << shift,
            blocks: u64::from(blocks_hi) << 32 | u64::from(word(at::BLOCKS_LO)),
            inodes: word(at::INODES),
            inode_bytes: half(at::INODE_SIZE),
            is_clean: half(at::STATE) & STATE_VALID != 0 && features[1] & INCOMPAT_RECOVER == 0,
            has_mmp: features[1] & INCOMPAT_MMP != 0,
            has_dirdata: features[1] & INCOMPAT_DIRDATA != 0,
            has_quota: features[2] & RO_COMPAT_QUOTA != 0,
            features,
        })
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
