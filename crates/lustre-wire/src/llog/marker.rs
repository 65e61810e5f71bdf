//! `struct cfg_marker`: where a section begins and ends, whom it concerns, and whether it still counts.
//!
//! Layout: config-log specification, section 4.

use super::cfg::{LustreCfg, command};
use crate::bytes::{Reader, WireError, Writer};

const WHAT: &str = "cfg_marker";
const TEXT: usize = 64;

/// `cm_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MarkerFlags(pub u32);

impl MarkerFlags {
    /// A section begins.
    pub const START: Self = Self(0x01);
    /// A section ends.
    pub const END: Self = Self(0x02);
    /// The section does not count any more.
    pub const SKIP: Self = Self(0x04);
    /// Written by an upgrade from 1.4.6.
    pub const UPGRADE146: Self = Self(0x08);
    /// The section's target is inactive.
    pub const EXCLUDE: Self = Self(0x10);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for MarkerFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A marker: 160 bytes, buffer 1 of a `marker` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// `cm_step`: counts the sections of a file system.
    pub step: u32,
    /// `cm_flags`.
    pub flags: MarkerFlags,
    /// `cm_vers`: version code of the MGS that wrote it.
    pub version: u32,
    /// The word behind it; 0.
    pub padding: u32,
    /// `cm_createtime`, seconds since 1970.
    pub created: u64,
    /// `cm_canceltime`, seconds since 1970; 0 while it counts.
    pub canceled: u64,
    /// `cm_tgtname` with its NULs.
    pub target: [u8; TEXT],
    /// `cm_comment` with its NULs.
    pub comment: [u8; TEXT],
}

impl Marker {
    /// Bytes of a marker.
    pub const LEN: usize = 160;
    /// Most bytes of the name and of the comment.
    pub const MAX_TEXT: usize = TEXT - 1;

    /// A marker; `None` when a text is too long for it or has a NUL inside.
    pub fn new(step: u32, flags: MarkerFlags, version: u32, created: u64, target: &str, comment: &str) -> Option<Self> {
        let (target, comment) = (text_field(target)?, text_field(comment)?);
        Some(Self { step, flags, version, padding: 0, created, canceled: 0, target, comment })
    }

    /// The name, up to its NUL.
    pub fn target(&self) -> std::borrow::Cow<'_, str> {
        text_of(&self.target)
    }

    /// The comment, up to its NUL.
    pub fn comment(&self) -> std::borrow::Cow<'_, str> {
        text_of(&self.comment)
    }

    /// Reads buffer 1 of a `marker` record. Errors: short.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(WHAT, bytes);
        Ok(Self {
            step: r.u32("cm_step")?,
            flags: MarkerFlags(r.u32("cm_flags")?),
            version: r.u32("cm_vers")?,
            padding: r.u32("cm_padding")?,
            created: r.u64("cm_createtime")?,
            canceled: r.u64("cm_canceltime")?,
            target: r.array("cm_tgtname")?,
            comment: r.array("cm_comment")?,
        })
    }

    /// The marker of a `marker` record; `None` for another command. Errors: short.
    pub fn of(cfg: &LustreCfg) -> Option<Result<Self, WireError>> {
        let bytes = cfg.bufs.get(1).map_or(&[][..], Vec::as_slice);
        (cfg.command == command::MARKER).then(|| Self::decode(bytes))
    }

    /// The [`Marker::LEN`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        for word in [self.step, self.flags.0, self.version, self.padding] {
            bytes.put_u32(word);
        }
        bytes.put_u64(self.created);
        bytes.put_u64(self.canceled);
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(&self.comment);
        bytes
    }

    /// The command that holds it.
    pub fn cfg(&self) -> LustreCfg {
        LustreCfg { command: command::MARKER, bufs: vec![Vec::new(), self.encode()], ..LustreCfg::default() }
    }
}

fn text_field(text: &str) -> Option<[u8; TEXT]> {
    let mut field = [0; TEXT];
    let fits = text.len() < TEXT && !text.contains('\0');
    field.get_mut(..text.len()).filter(|_| fits)?.copy_from_slice(text.as_bytes());
    Some(field)
}

fn text_of(field: &[u8]) -> std::borrow::Cow<'_, str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end])
}

/// For the fuzzer: whatever decodes as a command encodes to bytes that decode to the same, and so does its marker.
pub fn fuzz_lustre_cfg(data: &[u8]) {
    let Ok(cfg) = LustreCfg::decode(data) else { return };
    assert_eq!(LustreCfg::decode(&cfg.encode()).as_ref(), Ok(&cfg));
    assert_eq!(cfg.encode().len(), cfg.encoded_len());
    if let Some(Ok(marker)) = Marker::of(&cfg) {
        assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
    }
}
