//! What was ever put on a device: every signature, known or not.
//!
//! `wipefs` finds what libblkid knows. A few formats whose loss would be the worst are looked for here as well, by their
//! magic alone: libblkid stays silent where a checksum is wrong, but a RAID member with a damaged superblock is still
//! somebody's data. Bytes that nobody recognises count too.

use super::{Device, HostError, tool};
use serde::Deserialize;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Child,
};

/// How much of either end of a device must be zero for it to count as blank, bytes.
const ENDS: u64 = 1 << 20;
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
    fn magic(kind: &str, offset: u64, magic_bytes: u64) -> Self {
        Self { kind: kind.to_owned(), offset, magic_bytes, uuid: None, label: None }
    }
}

/// Every signature on `device`, by offset; empty only if both of its ends are zero.
pub fn signatures(device: &Device) -> Result<Vec<Signature>, HostError> {
    // Looks in parallel with us.
    let wipefs = start_wipefs(&device.path)?;
    let own = read_own(device);
    let mut found = end_wipefs(wipefs, &device.path)?;
    let (own, first_byte) = own?;
    for own in own {
        if !found.iter().any(|known| known.offset == own.offset || same_thing(known, &own)) {
            found.push(own);
        }
    }
    if found.is_empty()
        && let Some(offset) = first_byte
    {
        found.push(Signature::magic(UNKNOWN_DATA, offset, 0));
    }
    found.sort_by_key(|signature| signature.offset);
    Ok(found)
}

/// What is recognised here, and where the first byte is that isn't zero within either end.
fn read_own(device: &Device) -> Result<(Vec<Signature>, Option<u64>), HostError> {
    let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
    let reader = Reader { file: &file, path: &device.path, size: device.size_bytes };
    Ok((by_magic(&reader)?, first_byte_set(&reader)?))
}

/// Members of RAID, LVM, ZFS and partition tables on `device`, by their magic alone and without a process.
pub fn members(device: &Device) -> Result<Vec<Signature>, HostError> {
    let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
    by_magic(&Reader { file: &file, path: &device.path, size: device.size_bytes })
}

/// Formats that leave several magics are listed once for each place by libblkid's reckoning, not ours.
fn same_thing(known: &Signature, own: &Signature) -> bool {
    known.kind == own.kind && matches!(own.kind.as_str(), "zfs_member" | "linux_raid_member")
}

#[derive(Deserialize)]
struct WipefsAnswer {
    signatures: Vec<WipefsSignature>,
}

#[derive(Deserialize)]
struct WipefsSignature {
    #[serde(rename = "type")]
    kind: Option<String>,
    offset: Option<String>,
    length: Option<u64>,
    uuid: Option<String>,
    label: Option<String>,
}

fn start_wipefs(path: &Path) -> Result<Child, HostError> {
    let args = ["--no-act", "--json", "--output", "TYPE,OFFSET,LENGTH,UUID,LABEL"];
    tool::start("wipefs", "util-linux", args.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]))
}

fn end_wipefs(wipefs: Child, path: &Path) -> Result<Vec<Signature>, HostError> {
    let output = wipefs.wait_with_output().map_err(HostError::io("have wipefs look at", path))?;
    if !output.status.success() {
        return Err(tool::failed("wipefs", path, &output));
    }
    parse_wipefs(&output.stdout).map_err(|detail| HostError::ToolAnswer {
        tool: "wipefs".to_owned(),
        device: path.to_owned(),
        detail,
    })
}

fn parse_wipefs(stdout: &[u8]) -> Result<Vec<Signature>, String> {
    // Versions before 2.37 print nothing at all for a blank device.
    if stdout.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let answer: WipefsAnswer = serde_json::from_slice(stdout).map_err(|error| error.to_string())?;
    answer
        .signatures
        .into_iter()
        .map(|row| {
            let text = row.offset.ok_or("a signature without an offset")?;
            let digits = text.strip_prefix("0x").ok_or_else(|| format!("offset {text:?}"))?;
            let offset = u64::from_str_radix(digits, 16).map_err(|_| format!("offset {text:?}"))?;
            Ok(Signature {
                kind: row.kind.unwrap_or_else(|| UNKNOWN_DATA.to_owned()),
                offset,
                magic_bytes: row.length.unwrap_or(0),
                uuid: row.uuid,
                label: row.label,
            })
        })
        .collect()
}

struct Reader<'a> {
    file: &'a File,
    path: &'a Path,
    size: u64,
}

impl Reader<'_> {
    /// `len` bytes at `offset`, or none where the device is too short for that.
    fn at(&self, offset: u64, len: usize) -> Result<Option<Vec<u8>>, HostError> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset).map_err(HostError::io("read", self.path))?;
        Ok(Some(bytes))
    }

    fn has(&self, magic: &[u8], offset: u64) -> Result<bool, HostError> {
        Ok(self.at(offset, magic.len())?.is_some_and(|bytes| bytes == magic))
    }
}

/// Linux MD: `a92b4efc` little endian. Version 1 superblocks are at 0, 4 KiB and near the end; version 0.90 in the last
/// 64 KiB block but one, in the byte order of its host.
const MD_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
/// ZFS uberblock magic.
const ZFS_UBERBLOCK: u64 = 0x00ba_b10c;
/// A ZFS label is 256 KiB, its second half is the ring of uberblocks.
const ZFS_LABEL: u64 = 256 << 10;

fn by_magic(reader: &Reader<'_>) -> Result<Vec<Signature>, HostError> {
    let size = reader.size;
    let mut found = Vec::new();
    let mut probe = |kind: &str, magic: &[u8], offset: Option<u64>| -> Result<(), HostError> {
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

fn uberblock(reader: &Reader<'_>, label: u64) -> Result<Option<u64>, HostError> {
    let ring = label + ZFS_LABEL / 2;
    let Some(bytes) = reader.at(ring, 128 << 10)? else { return Ok(None) };
    let is_magic = |word: &[u8]| word == ZFS_UBERBLOCK.to_le_bytes() || word == ZFS_UBERBLOCK.to_be_bytes();
    // Uberblocks are 1 KiB or larger, always at multiples of their size.
    let at = bytes.chunks(1024).position(|block| block.get(..8).is_some_and(is_magic));
    Ok(at.map(|block| ring + block as u64 * 1024))
}

/// Offset of the first byte that isn't zero within either end of the device.
fn first_byte_set(reader: &Reader<'_>) -> Result<Option<u64>, HostError> {
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

/// Overwrites the magics of `signatures` with zeroes, so that nothing of the old contents is recognised next to the new:
/// `mke2fs` doesn't reach a RAID superblock or a second GPT at the device's end.
pub fn erase(path: &Path, file: &File, size_bytes: u64, signatures: &[Signature]) -> Result<(), HostError> {
    for signature in signatures {
        let zeroes = vec![0; usize::try_from(signature.magic_bytes.min(64)).expect("64 at most")];
        if signature.offset.checked_add(zeroes.len() as u64).is_some_and(|end| end <= size_bytes) {
            file.write_all_at(&zeroes, signature.offset).map_err(HostError::io("write", path))?;
        }
    }
    Ok(())
}

/// What `blkid` says of the same device, for tests that compare; ambivalent devices say nothing.
#[doc(hidden)]
pub fn blkid_type(path: &Path) -> Option<String> {
    let args: [PathBuf; 5] =
        ["--probe".into(), "--match-tag".into(), "TYPE".into(), "--output=value".into(), path.to_owned()];
    let output = tool::run("blkid", "util-linux", args).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::DeviceKind;

    fn image(dir: &tempfile::TempDir, size: u64, pokes: &[(u64, &[u8])]) -> Device {
        let path = dir.path().join("disk.img");
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in pokes {
            file.write_all_at(bytes, *offset).unwrap();
        }
        Device::plain(path, "disk.img", DeviceKind::Image, size)
    }

    fn kinds(device: &Device) -> Vec<String> {
        signatures(device).unwrap().into_iter().map(|signature| signature.kind).collect()
    }

    #[test]
    fn a_blank_device_has_no_signature_and_a_byte_at_either_end_is_data() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(kinds(&image(&dir, 8 << 20, &[])), Vec::<String>::new());
        assert_eq!(kinds(&image(&dir, 8 << 20, &[(700_000, b"x")])), [UNKNOWN_DATA]);
        assert_eq!(kinds(&image(&dir, 8 << 20, &[((8 << 20) - 1, b"x")])), [UNKNOWN_DATA]);
        assert_eq!(kinds(&image(&dir, 0, &[])), Vec::<String>::new());
    }

    #[test]
    fn damaged_members_of_raid_lvm_gpt_and_zfs_are_seen_by_their_magic() {
        let dir = tempfile::tempdir().unwrap();
        let size: u64 = 64 << 20;
        for offset in [0, 4096, size - 8192, size - (64 << 10)] {
            assert_eq!(kinds(&image(&dir, size, &[(offset, &MD_MAGIC)])), ["linux_raid_member"], "{offset}");
        }
        assert_eq!(kinds(&image(&dir, size, &[(1024, b"LABELONE")])), ["LVM2_member"]);
        assert_eq!(kinds(&image(&dir, size, &[(size - 512, b"EFI PART")])), ["gpt"]);
        let magic = ZFS_UBERBLOCK.to_le_bytes();
        assert_eq!(kinds(&image(&dir, size, &[((128 << 10) + 4096, &magic)])), ["zfs_member"]);
        assert_eq!(kinds(&image(&dir, size, &[(size - (128 << 10), &magic)])), ["zfs_member"]);
    }

    #[test]
    fn an_answer_of_wipefs_that_is_no_json_is_an_error_and_silence_is_blank() {
        assert!(parse_wipefs(b"wipefs: usage").is_err());
        assert!(parse_wipefs(br#"{"signatures":[{"type":"xfs","offset":"12"}]}"#).is_err());
        assert_eq!(parse_wipefs(b"").unwrap(), []);
    }
}
