//! What a device says whose format was begun and not finished.
//!
//! Two marks, so that no moment is without one. A text in the first sectors, written before `mke2fs` starts and again
//! when it was killed: `mke2fs` discards it, and its superblock comes last. And a volume label that is nobody's, with
//! which `mke2fs` makes the file system: the real label is the very last thing to be written.

use lustre_types::SvName;
use uuid::Uuid;

/// Volume label of a file system whose target isn't finished. No label of a target, and none that `mount.lustre` takes.
pub const UNFINISHED_LABEL: &str = "lustre-partial";
/// Bytes at the start of the device that the text takes; an ext4 superblock begins behind.
pub const MARKER_LEN: usize = 1024;

const TITLE: &str = "lustre-agent: unfinished format\n";

/// The text on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The target that was to be made.
    pub svname: SvName,
    /// The UUID that its file system was to have.
    pub uuid: Uuid,
}

impl Marker {
    /// The first bytes of the device.
    pub fn encode(&self) -> [u8; MARKER_LEN] {
        let text = format!("{TITLE}svname={}\nuuid={}\n", self.svname, self.uuid);
        let mut bytes = [0; MARKER_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// Reads the first bytes of a device; none where there is no such text.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..MARKER_LEN)?;
        let text = &bytes[..bytes.iter().position(|byte| *byte == 0)?];
        let mut lines = std::str::from_utf8(text).ok()?.strip_prefix(TITLE)?.lines();
        let svname = lines.next()?.strip_prefix("svname=")?.parse().ok()?;
        let uuid = lines.next()?.strip_prefix("uuid=")?.parse().ok()?;
        Some(Self { svname, uuid })
    }
}

/// Reads anything as a mark; for fuzzers.
pub fn fuzz_marker(data: &[u8]) {
    if let Some(marker) = Marker::decode(data) {
        assert_eq!(Marker::decode(&marker.encode()), Some(marker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::Label;

    #[test]
    fn a_marker_reads_back_and_nothing_else_is_one() {
        let marker = Marker { svname: "scratch-OST001f".parse().unwrap(), uuid: Uuid::new_v4() };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes), Some(marker));
        assert_eq!(Marker::decode(&bytes[..100]), None);
        assert_eq!(Marker::decode(&[0; MARKER_LEN]), None);
        let mut other = bytes;
        other[0] ^= 1;
        assert_eq!(Marker::decode(&other), None);
    }

    #[test]
    fn the_label_of_an_unfinished_target_is_no_label_of_a_target() {
        assert!(UNFINISHED_LABEL.len() <= 16);
        assert!(UNFINISHED_LABEL.parse::<Label>().is_err());
    }
}
