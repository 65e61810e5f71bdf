//! `struct lustre_cfg`: a command and its buffers.
//!
//! Layout: config-log specification, sections 2 and 3.

use super::record::FRAME;
use super::{CHUNK, MAX_RECORD_LEN, Record, RecordKind};
use crate::bytes::{Reader, WireError, Writer};

/// Most buffers of a command.
pub const MAX_BUFFERS: usize = 8;
const VERSION: u32 = 0x1CF6_0001;
const WHAT: &str = "lustre_cfg";

/// `lcfg_command`: what config logs hold. Buffer 0 names the device unless noted; `-` is an empty buffer.
pub mod command {
    /// device, type, uuid
    pub const ATTACH: u32 = 0x0CF001;
    /// device
    pub const DETACH: u32 = 0x0CF002;
    /// device, then up to four of its type's
    pub const SETUP: u32 = 0x0CF003;
    /// device
    pub const CLEANUP: u32 = 0x0CF004;
    /// -, node uuid; the NID is `nid`, or buffer 2 where it is no 8-byte NID
    pub const ADD_UUID: u32 = 0x0CF005;
    /// -, node uuid
    pub const DEL_UUID: u32 = 0x0CF006;
    /// -, profile, lov, lmv
    pub const MOUNTOPT: u32 = 0x0CF007;
    /// -, profile
    pub const DEL_MOUNTOPT: u32 = 0x0CF008;
    /// -, `sys.timeout=N`; `num` is N
    pub const SET_TIMEOUT: u32 = 0x0CF009;
    /// device, node uuid
    pub const ADD_CONN: u32 = 0x0CF00B;
    /// device, node uuid
    pub const DEL_CONN: u32 = 0x0CF00C;
    /// lov, ost uuid, index in decimal, generation
    pub const LOV_ADD_OBD: u32 = 0x0CF00D;
    /// lov, ost uuid, index in decimal, generation
    pub const LOV_DEL_OBD: u32 = 0x0CF00E;
    /// lov, ost uuid, index in decimal, generation
    pub const LOV_ADD_INA: u32 = 0x0CE013;
    /// device, `key=value`
    pub const PARAM: u32 = 0x0CF00F;
    /// -, [`crate::llog::Marker`]
    pub const MARKER: u32 = 0x0CF010;
    /// lmv or mdtlov, mdt uuid, index in decimal, generation, mdc uuid
    pub const ADD_MDC: u32 = 0x0CF014;
    /// as [`ADD_MDC`]
    pub const DEL_MDC: u32 = 0x0CF015;
    /// target or file system, rule
    pub const SPTLRPC_CONF: u32 = 0x0CE016;
    /// lov, fsname, pool
    pub const POOL_NEW: u32 = 0x0CE020;
    /// lov, fsname, pool, ost uuid
    pub const POOL_ADD: u32 = 0x0CE021;
    /// lov, fsname, pool, ost uuid
    pub const POOL_REM: u32 = 0x0CE022;
    /// lov, fsname, pool
    pub const POOL_DEL: u32 = 0x0CE023;
    /// -, `sys.ldlm_timeout=N`; `num` is N
    pub const SET_LDLM_TIMEOUT: u32 = 0x0CE030;
    /// target text, `key=value`, `lctl`
    pub const SET_PARAM: u32 = 0x0CE032;

    /// The name that `lctl llog_print` gives a command.
    pub fn name(command: u32) -> Option<&'static str> {
        Some(match command {
            ATTACH => "attach",
            DETACH => "detach",
            SETUP => "setup",
            CLEANUP => "cleanup",
            ADD_UUID => "add_uuid",
            DEL_UUID => "del_uuid",
            MOUNTOPT => "new_profile",
            DEL_MOUNTOPT => "del_mountopt",
            SET_TIMEOUT => "set_timeout",
            ADD_CONN => "add_conn",
            DEL_CONN => "del_conn",
            LOV_ADD_OBD => "add_osc",
            LOV_DEL_OBD => "del_osc",
            LOV_ADD_INA => "add_osc_inactive",
            PARAM => "conf_param",
            MARKER => "marker",
            ADD_MDC => "add_mdc",
            DEL_MDC => "del_mdc",
            SPTLRPC_CONF => "security",
            POOL_NEW => "new_pool",
            POOL_ADD => "add_pool",
            POOL_REM => "remove_pool",
            POOL_DEL => "del_pool",
            SET_LDLM_TIMEOUT => "set_ldlm_timeout",
            SET_PARAM => "set_param",
            _ => return None,
        })
    }
}

/// A command with its buffers.
///
/// Shape: a text buffer holds its closing NUL, an absent one is empty; `bufs` has no more than [`MAX_BUFFERS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LustreCfg {
    /// `lcfg_command`, see [`command`].
    pub command: u32,
    /// `lcfg_num`: a timeout; else 0.
    pub num: u32,
    /// `lcfg_flags`; 0.
    pub flags: u32,
    /// `lcfg_nid`: the 8-byte NID of `add_uuid`; else 0.
    pub nid: u64,
    /// `lcfg_nal`; 0.
    pub nal: u32,
    /// `lcfg_bufs`.
    pub bufs: Vec<Vec<u8>>,
}

impl LustreCfg {
    /// A command with text buffers; an empty text is an absent buffer.
    pub fn texts(command: u32, texts: &[&str]) -> Self {
        let buf = |text: &&str| match text.is_empty() {
            true => Vec::new(),
            false => [text.as_bytes(), b"\0"].concat(),
        };
        Self { command, bufs: texts.iter().map(buf).collect(), ..Self::default() }
    }

    /// The text of a buffer up to its NUL; empty when there is none. Bytes that are no UTF-8 are replaced.
    pub fn text(&self, buffer: usize) -> std::borrow::Cow<'_, str> {
        let bytes = self.bufs.get(buffer).map_or(&[][..], Vec::as_slice);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end])
    }

    /// Bytes of the encoded command.
    pub fn encoded_len(&self) -> usize {
        head_len(self.bufs.len()) + self.bufs.iter().map(|buf| buf.len().next_multiple_of(8)).sum::<usize>()
    }

    /// Whether it fits into a record and has no more than [`MAX_BUFFERS`].
    pub fn fits(&self) -> bool {
        self.bufs.len() <= MAX_BUFFERS && self.encoded_len() + FRAME <= MAX_RECORD_LEN
    }

    /// Reads a record's data. Bytes behind the last buffer are not looked at.
    /// Errors: cut, another version, more than [`MAX_BUFFERS`] buffers.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(WHAT, bytes);
        let version = r.u32("lcfg_version")?;
        if version != VERSION {
            return Err(r.refuse("lcfg_version", version, "is not 0x1cf60001"));
        }
        let command = r.u32("lcfg_command")?;
        let num = r.u32("lcfg_num")?;
        let flags = r.u32("lcfg_flags")?;
        let nid = r.u64("lcfg_nid")?;
        let nal = r.u32("lcfg_nal")?;
        let count = r.u32("lcfg_bufcount")?;
        if count as usize > MAX_BUFFERS {
            return Err(r.refuse("lcfg_bufcount", count, "is more than 8"));
        }
        let count = count as usize;
        let mut lens = Vec::with_capacity(count);
        for _ in 0..count {
            lens.push(r.u32("lcfg_buflens")? as usize);
        }
        r.bytes("padding", head_len(count) - (32 + 4 * count))?;
        let mut bufs = Vec::with_capacity(count);
        for len in lens {
            if len > CHUNK {
                return Err(r.refuse("lcfg_buflens", len as u64, "is more than a record holds"));
            }
            let padded = r.bytes("lcfg_bufs", len.next_multiple_of(8))?;
            bufs.push(padded[..len].to_vec());
        }
        Ok(Self { command, num, flags, nid, nal, bufs })
    }

    /// The data of a record.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        for word in [VERSION, self.command, self.num, self.flags] {
            bytes.put_u32(word);
        }
        bytes.put_u64(self.nid);
        bytes.put_u32(self.nal);
        bytes.put_u32(u32::try_from(self.bufs.len()).unwrap_or(u32::MAX));
        for buf in &self.bufs {
            bytes.put_u32(u32::try_from(buf.len()).unwrap_or(u32::MAX));
        }
        bytes.resize(head_len(self.bufs.len()), 0);
        for buf in &self.bufs {
            bytes.put_padded(buf, buf.len().next_multiple_of(8));
        }
        bytes
    }

    /// The record that holds it.
    pub fn record(&self, index: u32) -> Record {
        Record { index, kind: RecordKind::CONFIG, id: 0, data: self.encode() }
    }
}

fn head_len(bufs: usize) -> usize {
    (32 + 4 * bufs).next_multiple_of(8)
}
