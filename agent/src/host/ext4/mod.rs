//! ext4 by our own hand, without mounting: the superblock, files, and what quotas must say.
//!
//! A target must be recognised on nodes whose e2fsprogs doesn't know all of its features, and a process per look is what
//! a format spends its time on. Everything here reads; what is unusual is left to e2fsprogs by [`Ext4Error::Unusual`].
//! Layouts: kernel documentation, `filesystems/ext4`.

mod files;
mod quota;
mod superblock;
#[cfg(test)]
mod tests;

pub use files::{Ext4, Ext4Error, ReadAt};
pub use quota::{Patch, patches};
pub use superblock::{LABEL, LEN, OFFSET, Superblock, SuperblockError};

/// Runs the reader on anything as if it were a device; for fuzzers.
pub fn fuzz_ext4(data: &[u8]) {
    let Ok(fs) = Ext4::open(data) else { return };
    // What is read is bounded by what was asked for, whatever the device says of itself.
    if let Ok(Some(bytes)) = fs.read_path("CONFIGS/mountdata", 12289) {
        assert!(bytes.len() <= 12289);
    }
    if let Ok(patches) = patches(&fs) {
        assert!(patches.len() <= 6);
    }
}
