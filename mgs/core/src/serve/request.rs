//! What of a request its reply needs.

use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::{
    Body, Message, Opcode, bulk_match_bits, connect_flag, connect_flag2, reply_match_bits, reply_offset,
};

use crate::serve::Incoming;
use crate::serve::export::Export;

/// A request, without what it asks for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) source: WireNid,
    pub(super) pid: u32,
    pub(super) target: WireNid,
    pub(super) xid: u64,
    pub(super) mbits: u64,
    pub(super) opc: Opcode,
    /// The export's handle; what the client sent, until [`Request::of`].
    pub(super) handle: u64,
    pub(super) last_xid: u64,
    pub(super) message_flags: u32,
    pub(super) body_flags: u32,
    pub(super) timeout_s: u32,
    pub(super) reply_portal: u32,
    /// Where the reply goes.
    pub(super) reply_bits: u64,
    /// Where bulk data goes.
    pub(super) bulk_bits: u64,
}

impl Request {
    pub(super) fn new(incoming: &Incoming<'_>, message: &Message<'_>, body: &Body, reply_portal: u32) -> Self {
        Self {
            source: incoming.source,
            pid: incoming.pid,
            target: incoming.target,
            xid: incoming.match_bits,
            mbits: body.mbits,
            opc: body.opc,
            handle: body.handle,
            last_xid: body.last_xid,
            message_flags: message.header.flags,
            body_flags: body.flags,
            timeout_s: body.timeout_s,
            reply_portal,
            // A client that we don't know (any more) sends match bits only if it was granted them.
            reply_bits: reply_match_bits(body.opc, incoming.match_bits, body.mbits, true),
            bulk_bits: incoming.match_bits,
        }
    }

    /// The request of a connected client: where its answers go depends on what was agreed.
    pub(super) fn of(mut self, export: &Export) -> Self {
        let rep_mbits = export.data.has2(connect_flag2::REP_MBITS);
        self.reply_bits = reply_match_bits(self.opc, self.xid, self.mbits, rep_mbits);
        self.bulk_bits = bulk_match_bits(self.xid, self.mbits, export.data.has(connect_flag::BULK_MBITS));
        self
    }

    /// Where in the client's buffer the reply goes.
    pub(super) fn reply_offset(&self) -> u32 {
        reply_offset(self.message_flags)
    }
}
