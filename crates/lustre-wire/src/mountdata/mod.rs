//! `CONFIGS/mountdata`: what an ldiskfs target says about itself, on its own disk.
//!
//! Written by `mkfs.lustre` and `tunefs.lustre`, read by `mount.lustre`. The volume label of the backing file system is
//! the other half of the truth and wins where both speak ([`Label`]): what state a target is in says the label alone.
//!
//! ```
//! use lustre_wire::mountdata::{Flags, Mountdata};
//! let mut on_disk = Mountdata::blank();
//! on_disk.flags = Flags::OST | Flags::VIRGIN;
//! on_disk.fsname.set("scratch")?;
//! let bytes = on_disk.encode();
//! assert_eq!(Mountdata::decode(&bytes)?, on_disk);
//! # Ok::<(), lustre_wire::mountdata::MountdataError>(())
//! ```

mod flags;
mod label;
mod mkfs;
mod params;
#[cfg(test)]
mod tests;
mod text;
mod tunefs;

pub use flags::Flags;
pub use label::{Label, LabelError, LabelState};
pub use mkfs::{Failover, Mkfs, MkfsError};
pub use params::{ParamEntry, Params, ParamsError};
pub use text::FixedText;
pub use tunefs::{Tunefs, TunefsError};

use thiserror::Error;

/// Where each field of `struct lustre_disk_data` lies. Host byte order, which is little endian on every server
/// platform that Lustre supports. 12288 bytes.
pub(crate) mod at {
    use core::ops::Range;
    pub(crate) const MAGIC: Range<usize> = 0..4;
    pub(crate) const FEATURE_COMPAT: Range<usize> = 4..8;
    pub(crate) const FEATURE_ROCOMPAT: Range<usize> = 8..12;
    pub(crate) const FEATURE_INCOMPAT: Range<usize> = 12..16;
    pub(crate) const CONFIG_VER: Range<usize> = 16..20;
    pub(crate) const FLAGS: Range<usize> = 20..24;
    pub(crate) const SVINDEX: Range<usize> = 24..28;
    pub(crate) const MOUNT_TYPE: Range<usize> = 28..32;
    pub(crate) const FSNAME: Range<usize> = 32..96;
    pub(crate) const SVNAME: Range<usize> = 96..160;
    pub(crate) const UUID: Range<usize> = 160..200;
    pub(crate) const USERDATA: Range<usize> = 200..1024;
    pub(crate) const PADDING: Range<usize> = 1024..4096;
    pub(crate) const MOUNT_OPTS: Range<usize> = 4096..8192;
    pub(crate) const PARAMS: Range<usize> = 8192..12288;
}

/// The file's size in bytes; no other size is valid.
pub const LEN: usize = 12288;
/// First word of the file (`LDD_MAGIC`).
pub const MAGIC: u32 = 0x1DD0_0001;
/// `ldd_svindex` of a target that has no index: a stand-alone MGS, or one made without `--index`.
pub const INDEX_UNASSIGNED: u32 = 0xFFFF;
/// Where `ldd_flags` is in the file, bytes.
pub const FLAGS_OFFSET: u64 = 20;
/// The file's path inside the backing file system.
pub const PATH: &str = "CONFIGS/mountdata";

/// `ldd_mount_type`: which kind of backing file system the target lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountType(pub u32);

impl MountType {
    /// ext3, on servers long gone.
    pub const EXT3: Self = Self(0);
    /// Lustre's ext4.
    pub const LDISKFS: Self = Self(1);
    /// ZFS. Never in a file: ZFS targets keep the same facts as properties of the dataset.
    pub const ZFS: Self = Self(5);
}

impl core::fmt::Display for MountType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => f.write_str("ext3"),
            1 => f.write_str("ldiskfs"),
            3 => f.write_str("reiserfs"),
            4 => f.write_str("ldiskfs2"),
            5 => f.write_str("zfs"),
            6 => f.write_str("wbcfs"),
            other => write!(f, "type {other}"),
        }
    }
}

/// Why bytes are no mountdata, or a text doesn't fit into it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MountdataError {
    /// The file is cut off.
    #[error("mountdata has {got} bytes, {LEN} are needed")]
    Short {
        /// Bytes that there were.
        got: usize,
    },
    /// The file is longer than the format.
    #[error("mountdata has {got} bytes, {LEN} is all that the format has")]
    Long {
        /// Bytes that there were.
        got: usize,
    },
    /// The first word says that this is something else.
    #[error("mountdata starts with {got:#010x}, not {MAGIC:#010x}: not written by Lustre, or damaged")]
    Magic {
        /// The word found.
        got: u32,
    },
    /// A text runs to the end of its room without a NUL: a C reader would run on into the next field.
    #[error("{field} in mountdata has no end")]
    Unterminated {
        /// C name of the field.
        field: &'static str,
    },
    /// A text to store is too long for its field.
    #[error("{field} is {got} bytes long, mountdata has room for {max}")]
    TooLong {
        /// C name of the field.
        field: &'static str,
        /// Length wanted, bytes.
        got: usize,
        /// Room in the field without the closing NUL, bytes.
        max: usize,
    },
    /// A text to store has a NUL inside.
    #[error("{field} has a NUL byte in it")]
    Nul {
        /// C name of the field.
        field: &'static str,
    },
}

/// The whole file (`struct lustre_disk_data`).
///
/// Shape: nine words, then texts; a text is what stands before its first NUL, but the bytes behind it are kept too,
/// because `tunefs --erase-params` leaves old text there and a file must survive reading and writing unchanged.
/// Source: lustre_disk.h; checked against files of `mkfs.lustre` and `tunefs.lustre` 2.17.57.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountdata {
    /// `ldd_feature_compat`; 0 from mkfs (the target's own feature words live in `last_rcvd`).
    pub feature_compat: u32,
    /// `ldd_feature_rocompat`; 0 from mkfs.
    pub feature_rocompat: u32,
    /// `ldd_feature_incompat`; 0 from mkfs.
    pub feature_incompat: u32,
    /// `ldd_config_ver`; 1 from mkfs.
    pub config_ver: u32,
    /// `ldd_flags`.
    pub flags: Flags,
    /// `ldd_svindex`, [`INDEX_UNASSIGNED`] where there is none.
    pub svindex: u32,
    /// `ldd_mount_type`.
    pub mount_type: MountType,
    /// `ldd_fsname`; empty on a stand-alone MGS.
    pub fsname: FixedText<64>,
    /// `ldd_svname`: the label as mkfs wrote it. Readers take the volume label instead.
    pub svname: FixedText<64>,
    /// `ldd_uuid`; empty.
    pub uuid: FixedText<40>,
    /// `ldd_userdata`: the administrator's comment.
    pub userdata: FixedText<824>,
    /// `ldd_padding`: zeroes, kept as found.
    pub padding: FixedText<3072>,
    /// `ldd_mount_opts`: comma list for the backing file system.
    pub mount_opts: FixedText<4096>,
    /// `ldd_params`; see [`Params`].
    pub params: FixedText<4096>,
}

impl Mountdata {
    /// A file with nothing in it but magic, version 1, ldiskfs and "no index".
    pub fn blank() -> Self {
        Self {
            feature_compat: 0,
            feature_rocompat: 0,
            feature_incompat: 0,
            config_ver: 1,
            flags: Flags::default(),
            svindex: INDEX_UNASSIGNED,
            mount_type: MountType::LDISKFS,
            fsname: FixedText::empty("ldd_fsname"),
            svname: FixedText::empty("ldd_svname"),
            uuid: FixedText::empty("ldd_uuid"),
            userdata: FixedText::empty("ldd_userdata"),
            padding: FixedText::empty("ldd_padding"),
            mount_opts: FixedText::empty("ldd_mount_opts"),
            params: FixedText::empty("ldd_params"),
        }
    }

    /// Reads the file's bytes. Errors: [`MountdataError`] says which field is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, MountdataError> {
        let all: &[u8; LEN] = bytes.first_chunk().ok_or(MountdataError::Short { got: bytes.len() })?;
        if bytes.len() > LEN {
            return Err(MountdataError::Long { got: bytes.len() });
        }
        let magic = word(all, at::MAGIC);
        if magic != MAGIC {
            return Err(MountdataError::Magic { got: magic });
        }
        Ok(Self {
            feature_compat: word(all, at::FEATURE_COMPAT),
            feature_rocompat: word(all, at::FEATURE_ROCOMPAT),
            feature_incompat: word(all, at::FEATURE_INCOMPAT),
            config_ver: word(all, at::CONFIG_VER),
            flags: Flags(word(all, at::FLAGS)),
            svindex: word(all, at::SVINDEX),
            mount_type: MountType(word(all, at::MOUNT_TYPE)),
            fsname: FixedText::decode("ldd_fsname", &all[at::FSNAME])?,
            svname: FixedText::decode("ldd_svname", &all[at::SVNAME])?,
            uuid: FixedText::decode("ldd_uuid", &all[at::UUID])?,
            userdata: FixedText::decode("ldd_userdata", &all[at::USERDATA])?,
            padding: FixedText::keep("ldd_padding", &all[at::PADDING]),
            mount_opts: FixedText::decode("ldd_mount_opts", &all[at::MOUNT_OPTS])?,
            params: FixedText::decode("ldd_params", &all[at::PARAMS])?,
        })
    }

    /// The file's bytes, [`LEN`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut all = vec![0u8; LEN];
        let words = [
            (at::MAGIC, MAGIC),
            (at::FEATURE_COMPAT, self.feature_compat),
            (at::FEATURE_ROCOMPAT, self.feature_rocompat),
            (at::FEATURE_INCOMPAT, self.feature_incompat),
            (at::CONFIG_VER, self.config_ver),
            (at::FLAGS, self.flags.0),
            (at::SVINDEX, self.svindex),
            (at::MOUNT_TYPE, self.mount_type.0),
        ];
        for (range, value) in words {
            all[range].copy_from_slice(&value.to_le_bytes());
        }
        self.fsname.write_to(&mut all[at::FSNAME]);
        self.svname.write_to(&mut all[at::SVNAME]);
        self.uuid.write_to(&mut all[at::UUID]);
        self.userdata.write_to(&mut all[at::USERDATA]);
        self.padding.write_to(&mut all[at::PADDING]);
        self.mount_opts.write_to(&mut all[at::MOUNT_OPTS]);
        self.params.write_to(&mut all[at::PARAMS]);
        all
    }
}

fn word(all: &[u8; LEN], range: core::ops::Range<usize>) -> u32 {
    u32::from_le_bytes(all[range].try_into().expect("the ranges of words have four bytes: layout table"))
}

/// Runs the decoder on anything; for fuzzers and property tests.
///
/// What decodes must encode to the same bytes, and its label and params must be readable without a panic.
pub fn fuzz_mountdata(data: &[u8]) {
    if let Ok(decoded) = Mountdata::decode(data) {
        assert_eq!(decoded.encode(), data, "a decoded mountdata encodes to other bytes");
        let params = Params::parse(&decoded.params.to_string_lossy());
        if let Ok(params) = params {
            assert_eq!(Params::parse(&params.to_string()).as_ref(), Ok(&params), "params change when written");
        }
        let _ = decoded.svname.to_string_lossy().parse::<Label>();
    }
    if let Ok(text) = core::str::from_utf8(data) {
        let _ = Params::parse(text);
        if let Ok(label) = text.parse::<Label>() {
            assert_eq!(label.to_string().parse::<Label>().as_ref(), Ok(&label), "label changes when written");
        }
    }
}
