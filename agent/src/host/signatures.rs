//! What was ever put on a device: every signature, known or not.
//!
//! `wipefs` finds what libblkid knows. A few formats whose loss would be the worst are looked for here as well, by their
//! magic alone: libblkid stays silent where a checksum is wrong, but a RAID member with a damaged superblock is still
//! somebody's data. Bytes that nobody recognises count too.

pub use super::magic::{Signature, UNKNOWN_DATA};
use super::{
    Device, HostError,
    magic::{Reader, by_magic, first_byte_set},
    tool,
};
use serde::Deserialize;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Child,
};

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
    let reader = Reader { device: &file, size: device.size_bytes };
    let read = by_magic(&reader).and_then(|found| Ok((found, first_byte_set(&reader)?)));
    read.map_err(HostError::io("read", &device.path))
}

/// Members of RAID, LVM, ZFS and partition tables on `device`, by their magic alone and without a process.
pub fn members(device: &Device) -> Result<Vec<Signature>, HostError> {
    let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
    by_magic(&Reader { device: &file, size: device.size_bytes }).map_err(HostError::io("read", &device.path))
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
    use crate::host::{
        DeviceKind,
        magic::{MD_MAGIC, ZFS_UBERBLOCK},
    };

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
