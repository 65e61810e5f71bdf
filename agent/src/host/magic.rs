//! Formats whose loss would be the worst, known by their magic alone; and whether a device is blank.

use super::ext4::ReadAt;
use std::io;

/// How much of either end of a blank device must be zero, bytes.
pub(super) const ENDS: u64 = 1 << 20;

const ZEROES: [u8; 4096] = [0; 4096];
/// The kind given to bytes that nobody recognises.
pub const UNKNOWN_DATA: &str = "data";

/// Something recognised on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// In libblkid's words: `ext4`, `xfs`, `LVM2_member`, `linux_raid_member`, `gpt`, `zfs_member`; or [`UNKNOWN_DATA`].
    pub kind: String,
    /// Where its magic is, in bytes.
    pub offset: u64,
    /// Bytes of the magic.
    pub magic_bytes: u64,
    /// UUID, where the format has one.
    pub uuid: Option<String>,
    /// Label, where the format has one.
    pub label: Option<String>,
}

impl Signature {
    /// A ZFS dataset, which has a name and maybe an id of its own.
    pub(crate) fn of_dataset(name: &str, guid: Option<String>) -> Self {
        Self { uuid: guid, label: Some(name.to_owned()), ..Self::magic("zfs_dataset", 0, 0) }
    }

    pub(super) fn magic(kind: &str, offset: u64, magic_bytes: u64) -> Self {
        Self { kind: kind.to_owned(), offset, magic_bytes, uuid: None, label: None }
    }
}

/// A device that is looked at.
#[derive(Debug)]
pub struct Reader<'a, R: ?Sized> {
    /// Its bytes.
    pub device: &'a R,
    /// How many there are.
    pub size: u64,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// `len` bytes at `offset`, or none where the device is too short for that.
    fn at(&self, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        self.device.read_exact_at(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    fn has(&self, magic: &[u8], offset: u64) -> io::Result<bool> {
        Ok(self.at(offset, magic.len())?.is_some_and(|bytes| bytes == magic))
    }
}

/// Linux MD: `a92b4efc` little endian. Version 1 superblocks are at 0, 4 KiB and near the end; version 0.90 in the last
/// 64 KiB block but one, in the byte order of its host.
pub(super) const MD_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
/// ZFS uberblock magic.
pub(super) const ZFS_UBERBLOCK: u64 = 0x00ba_b10c;
/// A ZFS label is 256 KiB, its second half is the ring of uberblocks.
const ZFS_LABEL: u64 = 256 << 10;

/// Members of RAID, LVM and ZFS, and partition tables, by their magic alone.
pub fn by_magic<R: ReadAt + ?Sized>(reader: &Reader<'_, R>) -> io::Result<Vec<Signature>> {
    let size = reader.size;
    let mut found = Vec::new();
    let mut probe = |kind: &str, magic: &[u8], offset: Option<u64>| -> io::Result<()> {
        if let Some(offset) = offset
            && reader.has(magic, offset)?
        {
            found.push(Signature::magic(kind, offset, magic.len() as u64));
        }
        Ok(())
    };
    let v0_90 = (size & !0xFFFF).checked_sub(64 << 10);
    let v1_0 = (size / 512).checked_sub(16).map(|sector| (sector & !7) * 512);
    for offset in [Some(0), Some(4096), v1_0, v0_90] {
        probe("linux_raid_member", &MD_MAGIC, offset)?;
    }
    probe("linux_raid_member", &0xa92b_4efc_u32.to_be_bytes(), v0_90)?;
    for sector in 0..4 {
        probe("LVM2_member", b"LABELONE", Some(sector * 512))?;
    }
    for sector in [512, 4096] {
        probe("gpt", b"EFI PART", Some(sector))?;
        probe("gpt", b"EFI PART", (size / sector * sector).checked_sub(sector))?;
    }
    for label in zfs_labels(size) {
        if let Some(offset) = uberblock(reader, label)? {
            found.push(Signature::magic("zfs_member", offset, 8));
        }
    }
    Ok(found)
}

/// Two labels at the front, two at the end.
fn zfs_labels(size: u64) -> Vec<u64> {
    let aligned = size / ZFS_LABEL * ZFS_LABEL;
    if aligned < 4 * ZFS_LABEL {
        return Vec::new();
    }
    vec![0, ZFS_LABEL, aligned - 2 * ZFS_LABEL, aligned - ZFS_LABEL]
}

fn uberblock<R: ReadAt + ?Sized>(reader: &Reader<'_, R>, label: u64) -> io::Result<Option<u64>> {
    let ring = label + ZFS_LABEL / 2;
    let Some(bytes) = reader.at(ring, 128 << 10)? else { return Ok(None) };
    let is_magic = |word: &[u8]| word == ZFS_UBERBLOCK.to_le_bytes() || word == ZFS_UBERBLOCK.to_be_bytes();
    // Uberblocks are 1 KiB or larger, always at multiples of their size.
    let at = bytes.chunks(1024).position(|block| block.get(..8).is_some_and(is_magic));
    Ok(at.map(|block| ring + block as u64 * 1024))
}

/// Offset of the first byte that isn't zero within either end of the device.
pub fn first_byte_set<R: ReadAt + ?Sized>(reader: &Reader<'_, R>) -> io::Result<Option<u64>> {
    let len = reader.size.min(ENDS);
    for start in [0, reader.size - len] {
        let room = usize::try_from(len).expect("1 MiB at most");
        let bytes = reader.at(start, room)?.unwrap_or_default();
        // Block by block against zeroes: byte by byte, this took as long as all the rest of a look.
        let Some(block) = bytes.chunks(ZEROES.len()).position(|block| *block != ZEROES[..block.len()]) else {
            continue;
        };
        let begin = block * ZEROES.len();
        let within = bytes[begin..].iter().position(|byte| *byte != 0).unwrap_or(0);
        return Ok(Some(start + (begin + within) as u64));
    }
    Ok(None)
}

/// Looks at anything as if it were a device; for fuzzers.
pub fn fuzz_signatures(data: &[u8]) {
    let reader = Reader { device: data, size: data.len() as u64 };
    for found in by_magic(&reader).expect("bytes in memory can be read") {
        assert!(found.offset + found.magic_bytes <= reader.size, "{found:?}");
    }
    let first = first_byte_set(&reader).expect("bytes in memory can be read");
    if let Some(at) = first {
        assert_ne!(data[usize::try_from(at).expect("an offset in memory")], 0);
    }
}
