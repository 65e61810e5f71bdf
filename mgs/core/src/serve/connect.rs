//! Connecting and leaving. Source: ptlrpc specification, section 8.

use std::collections::BTreeSet;

use lustre_wire::fixed::Fixed;
use lustre_wire::ptlrpc::{
    ConnectData, ConnectRequest, Message, connect_flag, connect_flag2, connect_op, decode_connect,
};

use crate::configlog::LUSTRE_VERSION;
use crate::serve::export::{Export, Replies};
use crate::serve::request::Request;
use crate::serve::{Effect, Errno, ServeError, Service, reply};

/// What is granted to who asks for it. Not: lock value types (no MGS does), write barriers (there are none here).
const GRANTED: u64 = connect_flag::VERSION
    | connect_flag::MGS_NIDLIST
    | connect_flag::AT
    | connect_flag::FULL20
    | connect_flag::IMP_RECOV
    | connect_flag::BULK_MBITS
    | connect_flag::FLAGS2;
const GRANTED2: u64 = connect_flag2::REP_MBITS | connect_flag2::LARGE_NID;
/// The uuid that every MGS answers to.
const MGS_UUID: &str = "MGS";
/// Longest uuid of a client.
const UUID_MAX: usize = 39;

impl Service {
    pub(super) fn connect(
        &mut self,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = decode_connect(message)?;
        let body = lustre_wire::ptlrpc::Body::decode(message.need(0, "ptlrpc_body", 0)?)?;
        match self.connected(request, &asked, body.op_flags, body.conn_cnt, out) {
            Ok((handle, op_flags)) => {
                let Some(export) = self.exports.get(handle) else { return Ok(()) };
                let body = lustre_wire::ptlrpc::Body { handle, op_flags, ..reply::body(request, 0) };
                let data = reply_data(&export.data, asked.data.flags);
                out.push(reply::send(request, reply::encode(&body, &[&data]), bytes::Bytes::new()));
                self.ask_again(handle, out);
            }
            Err(errno) => out.push(self.refuse(request, errno)),
        }
        Ok(())
    }

    /// Makes or finds the export. Gives its handle and the flags of the reply.
    fn connected(
        &mut self,
        request: &Request,
        asked: &ConnectRequest<'_>,
        op_flags: u32,
        conn_cnt: u32,
        out: &mut Vec<Effect>,
    ) -> Result<(u64, u32), Errno> {
        if asked.target_uuid != MGS_UUID {
            return Err(Errno::NODEV);
        }
        if asked.client_uuid.is_empty() || asked.client_uuid.len() > UUID_MAX {
            return Err(Errno::INVAL);
        }
        if !asked.data.has(connect_flag::FULL20) {
            return Err(Errno::PROTO);
        }
        let data = granted(&asked.data);
        let is_initial = op_flags & connect_op::INITIAL != 0;
        let known = self
            .exports
            .by_uuid(asked.client_uuid)
            .map(|export| (export.handle, export.nid, export.conn_cnt, export.connect_xid, export.pending));
        if let Some((handle, nid, last_cnt, last_xid, pending)) = known {
            if request.xid == last_xid && nid == request.source {
                // The network delivered it twice.
                return Ok((handle, reply_flags(true, conn_cnt)));
            }
            if (is_initial && (nid != request.source || conn_cnt <= 1)) || conn_cnt <= last_cnt {
                return Err(Errno::ALREADY);
            }
            if is_initial && pending > 0 {
                return Err(Errno::BUSY);
            }
            let is_same = !is_initial && request.handle == handle;
            if is_same {
                self.exports.moved(handle, request.source);
                if let Some(export) = self.exports.get_mut(handle) {
                    (export.pid, export.target, export.conn) = (request.pid, request.target, asked.conn);
                    (export.conn_cnt, export.connect_xid) = (conn_cnt, request.xid);
                    (export.data, export.heard_ms) = (data, self.now_ms);
                    out.push(client("client reconnected", export));
                }
                return Ok((handle, connect_op::RECONNECT));
            }
            // It never learned of that connection, or forgot it: it holds none of its locks.
            self.remove(handle);
        }
        let is_full = self.exports.len() >= self.limits.exports
            || self.exports.of_nid(&request.source) >= self.limits.exports_per_nid;
        if is_full {
            return Err(Errno::NOMEM);
        }
        let export = Export {
            handle: self.handle(),
            uuid: asked.client_uuid.to_owned(),
            conn: asked.conn,
            nid: request.source,
            pid: request.pid,
            target: request.target,
            conn_cnt,
            connect_xid: request.xid,
            data,
            connected_ms: self.now_ms,
            heard_ms: self.now_ms,
            requests: 0,
            pending: 0,
            locks: BTreeSet::new(),
            filesystems: BTreeSet::new(),
            replies: Replies::default(),
        };
        let handle = export.handle;
        self.counts.connects += 1;
        out.push(client("client connected", &export));
        self.exports.insert(export);
        Ok((handle, reply_flags(known.is_some(), conn_cnt)))
    }

    pub(super) fn disconnect(&mut self, request: &Request, out: &mut Vec<Effect>) {
        if let Some(export) = self.remove(request.handle) {
            out.push(client("client disconnected", &export));
        }
        out.push(reply::empty(request));
    }
}

/// For the log.
pub(super) fn client(what: &'static str, export: &Export) -> Effect {
    Effect::Client { what, nid: export.nid, uuid: export.uuid.clone() }
}

/// A client whose connection is not its first takes a new handle for an eviction only if it is told of a reconnect.
fn reply_flags(is_known: bool, conn_cnt: u32) -> u32 {
    if is_known || conn_cnt > 1 { connect_op::RECONNECT } else { 0 }
}

/// What a client asked for and gets; its own version is kept.
fn granted(asked: &ConnectData) -> ConnectData {
    let flags = asked.flags & GRANTED;
    let flags2 = if flags & connect_flag::FLAGS2 != 0 { asked.flags2 & GRANTED2 } else { 0 };
    ConnectData { flags, flags2, ..asked.clone() }
}

/// What the client is told.
fn reply_data(granted: &ConnectData, asked_flags: u64) -> Vec<u8> {
    // A flag that was not asked for makes the client give up.
    debug_assert_eq!(granted.flags & !asked_flags, 0);
    ConnectData { version: LUSTRE_VERSION, ..granted.clone() }.encode()
}
