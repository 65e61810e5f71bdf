//! Buffer 0 of every message. Source: `struct ptlrpc_body_v3`; ptlrpc specification, section 3.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;
use crate::ptlrpc::{Opcode, Service};

/// Size of the text that names a job.
pub const JOBID_LEN: usize = 32;
/// The version of the body itself, in the low bits of `pb_version`.
const VERSION: u32 = 3;
const VERSION_MASK: u32 = 0x0000_FFFF;

/// Bits of `pb_flags`.
pub mod body_flag {
    /// The request was sent before, with the same xid.
    pub const RESENT: u32 = 0x2;
    /// The request is replayed after a server's restart.
    pub const REPLAY: u32 = 0x4;
    /// uid and gid are filled in.
    pub const PACK_UID_GID: u32 = 0x200;
}

/// Bits of `pb_op_flags` in a connect request and its reply.
pub mod connect_op {
    /// Reply: the server's targets recover. Never of an MGS.
    pub const RECOVERING: u32 = 0x1;
    /// Reply: the server knew this client, or this was not its first attempt.
    pub const RECONNECT: u32 = 0x2;
    /// Request: first connect of this import.
    pub const INITIAL: u32 = 0x20;
    /// Request: `ocd_transno` is valid.
    pub const TRANSNO: u32 = 0x100;
}

/// What kind of message it is: `pb_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A request.
    Request,
    /// A reply, with its buffers whatever the status.
    Reply,
    /// A refusal; only the status means anything.
    Error,
    /// What this code doesn't know.
    Unknown(u32),
}

impl BodyKind {
    fn of(value: u32) -> Self {
        match value {
            4711 => Self::Request,
            4713 => Self::Reply,
            4712 => Self::Error,
            unknown => Self::Unknown(unknown),
        }
    }

    fn value(self) -> u32 {
        match self {
            Self::Request => 4711,
            Self::Reply => 4713,
            Self::Error => 4712,
            Self::Unknown(value) => value,
        }
    }
}

/// The body of a message. Fields are named as in `struct ptlrpc_body_v3`, without their prefix; what no configuration server
/// or client sets (`pb_pre_versions`, padding) is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The receiver's handle of the connection: the export's in requests, the client's `conn` in callbacks.
    pub handle: u64,
    /// Request, reply or error.
    pub kind: BodyKind,
    /// The service in the upper half, 3 in the lower.
    pub version: u32,
    /// What is asked for.
    pub opc: Opcode,
    /// Reply: 0 or a negative errno. Request: a process id.
    pub status: i32,
    /// All requests up to this xid have been answered.
    pub last_xid: u64,
    /// Slot of a modifying request; 0 here.
    pub tag: u16,
    /// Project id (2.17).
    pub projid: u32,
    /// Last committed transaction; 0 of an MGS.
    pub last_committed: u64,
    /// Transaction of this request; 0 here.
    pub transno: u64,
    /// See [`body_flag`].
    pub flags: u32,
    /// See [`connect_op`].
    pub op_flags: u32,
    /// Counts the client's connects, from 1.
    pub conn_cnt: u32,
    /// Request: seconds that the sender waits. Reply: the server's estimate in seconds, 1 at least.
    pub timeout_s: u32,
    /// Reply: seconds that the request took, 1 at least.
    pub service_time_s: u32,
    /// Lock limit; 0 here.
    pub limit: u32,
    /// Lock volume; 0 here.
    pub slv: u64,
    /// Match bits of bulk and reply.
    pub mbits: u64,
    /// Who runs the process (2.16).
    pub uid: u32,
    /// Its group (2.16).
    pub gid: u32,
    /// Job id as sent; zeros in version 2.
    pub jobid: [u8; JOBID_LEN],
}

impl Default for Body {
    fn default() -> Self {
        Self {
            handle: 0,
            kind: BodyKind::Request,
            version: VERSION,
            opc: Opcode(0),
            status: 0,
            last_xid: 0,
            tag: 0,
            projid: 0,
            last_committed: 0,
            transno: 0,
            flags: 0,
            op_flags: 0,
            conn_cnt: 0,
            timeout_s: 0,
            service_time_s: 0,
            limit: 0,
            slv: 0,
            mbits: 0,
            uid: 0,
            gid: 0,
            jobid: [0; JOBID_LEN],
        }
    }
}

impl Body {
    /// The body of a request.
    pub fn request(opc: Opcode) -> Self {
        let service = opc.service().map_or(0, Service::version);
        Self { version: VERSION | service, opc, ..Self::default() }
    }

    /// The body of a reply with a status, 0 or a negative errno.
    pub fn reply(opc: Opcode, status: i32) -> Self {
        Self { kind: BodyKind::Reply, opc, status, timeout_s: 1, service_time_s: 1, ..Self::default() }
    }

    /// The body of a refusal with a negative errno.
    pub fn error(opc: Opcode, status: i32) -> Self {
        Self { kind: BodyKind::Error, opc, status, ..Self::default() }
    }

    /// The service part of the version.
    pub fn service_version(&self) -> u32 {
        self.version & !VERSION_MASK
    }
}

impl Fixed for Body {
    const WHAT: &'static str = "ptlrpc_body";
    const LEN: usize = 184;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let handle = r.u64("pb_handle")?;
        let kind = BodyKind::of(r.u32("pb_type")?);
        let version = r.u32("pb_version")?;
        let opc = Opcode(r.u32("pb_opc")?);
        let status = i32::from_le_bytes(r.array("pb_status")?);
        let last_xid = r.u64("pb_last_xid")?;
        let tag = r.u16("pb_tag")?;
        r.u16("pb_padding0")?;
        let projid = r.u32("pb_projid")?;
        let last_committed = r.u64("pb_last_committed")?;
        let transno = r.u64("pb_transno")?;
        let flags = r.u32("pb_flags")?;
        let op_flags = r.u32("pb_op_flags")?;
        let conn_cnt = r.u32("pb_conn_cnt")?;
        let timeout_s = r.u32("pb_timeout")?;
        let service_time_s = r.u32("pb_service_time")?;
        let limit = r.u32("pb_limit")?;
        let slv = r.u64("pb_slv")?;
        r.bytes("pb_pre_versions", 32)?;
        let mbits = r.u64("pb_mbits")?;
        r.bytes("pb_padding64", 16)?;
        let uid = r.u32("pb_uid")?;
        let gid = r.u32("pb_gid")?;
        let jobid = if r.rest().is_empty() { [0; JOBID_LEN] } else { r.array("pb_jobid")? };
        Ok(Self {
            handle,
            kind,
            version,
            opc,
            status,
            last_xid,
            tag,
            projid,
            last_committed,
            transno,
            flags,
            op_flags,
            conn_cnt,
            timeout_s,
            service_time_s,
            limit,
            slv,
            mbits,
            uid,
            gid,
            jobid,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.handle);
        out.put_u32(self.kind.value());
        out.put_u32(self.version);
        out.put_u32(self.opc.0);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.put_u64(self.last_xid);
        out.put_u16(self.tag);
        out.put_u16(0);
        out.put_u32(self.projid);
        out.put_u64(self.last_committed);
        out.put_u64(self.transno);
        out.put_u32(self.flags);
        out.put_u32(self.op_flags);
        out.put_u32(self.conn_cnt);
        out.put_u32(self.timeout_s);
        out.put_u32(self.service_time_s);
        out.put_u32(self.limit);
        out.put_u64(self.slv);
        out.put_zeros(32);
        out.put_u64(self.mbits);
        out.put_zeros(16);
        out.put_u32(self.uid);
        out.put_u32(self.gid);
        out.extend_from_slice(&self.jobid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, recorded};
    use crate::ptlrpc::Message;
    use proptest::prelude::*;

    /// Size of version 2, which has no job id: the least that is accepted.
    const V2_LEN: usize = 152;

    fn of(text: &str) -> (Body, Vec<u8>) {
        let bytes = recorded(text);
        let buffer = Message::decode(&bytes).unwrap().buffer(0).unwrap().to_vec();
        (Body::decode(&buffer).unwrap(), buffer)
    }

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<Body>;
        at("pb_handle", 0, 8, |b| b.handle = !0);
        at("pb_type", 8, 4, |b| b.kind = BodyKind::Unknown(0xAAAA_AAAA));
        at("pb_version", 12, 4, |b| b.version = 0xAAAA_AAAA);
        at("pb_opc", 16, 4, |b| b.opc = Opcode(!0));
        at("pb_status", 20, 4, |b| b.status = -1);
        at("pb_last_xid", 24, 8, |b| b.last_xid = !0);
        at("pb_tag", 32, 2, |b| b.tag = !0);
        at("pb_projid", 36, 4, |b| b.projid = !0);
        at("pb_last_committed", 40, 8, |b| b.last_committed = !0);
        at("pb_transno", 48, 8, |b| b.transno = !0);
        at("pb_flags", 56, 4, |b| b.flags = !0);
        at("pb_op_flags", 60, 4, |b| b.op_flags = !0);
        at("pb_conn_cnt", 64, 4, |b| b.conn_cnt = !0);
        at("pb_timeout", 68, 4, |b| b.timeout_s = !0);
        at("pb_service_time", 72, 4, |b| b.service_time_s = !0);
        at("pb_limit", 76, 4, |b| b.limit = !0);
        at("pb_slv", 80, 8, |b| b.slv = !0);
        at("pb_mbits", 120, 8, |b| b.mbits = !0);
        at("pb_uid", 144, 4, |b| b.uid = !0);
        at("pb_gid", 148, 4, |b| b.gid = !0);
        at("pb_jobid", 152, 32, |b| b.jobid = [0xFF; 32]);
    }

    #[test]
    fn recorded_bodies_say_what_the_capture_shows() {
        let (request, bytes) = of(include_str!("../../testdata/ptlrpc/connect-request.hex"));
        assert_eq!(request.encode(), bytes);
        assert_eq!((request.kind, request.opc), (BodyKind::Request, Opcode::MGS_CONNECT));
        assert_eq!((request.op_flags, request.conn_cnt), (connect_op::INITIAL, 1));
        assert_eq!(request.service_version(), Service::Obd.version());
        let (stale, bytes) = of(include_str!("../../testdata/ptlrpc/ping-stale-reply.hex"));
        assert_eq!(stale.encode(), bytes);
        assert_eq!((stale.kind, stale.status, stale.timeout_s), (BodyKind::Error, -107, 0));
    }

    #[test]
    fn version_2_ends_before_the_job_id_and_a_shorter_one_is_cut() {
        let bytes = Body { uid: 7, ..Body::default() }.encode();
        assert_eq!(Body::decode(&bytes[..V2_LEN]).unwrap().uid, 7);
        for cut in (0..V2_LEN).chain(V2_LEN + 1..Body::LEN) {
            assert!(matches!(Body::decode(&bytes[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 140..190)) {
            crate::ptlrpc::fuzz_body(&data);
        }
    }
}
