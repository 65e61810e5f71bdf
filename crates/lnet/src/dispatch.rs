//! What a message does when it arrives, and what leaves in answer.

use crate::{
    conn::{Conn, Frame},
    lnet::Inner,
    message::{Get, Incoming, Lost, Payload, ProcessId, Put},
    peer::{Peer, PeerKey},
    portal::Waiter,
};
use bytes::Bytes;
use lustre_wire::lnet::{
    Body, FrameHeader, Header, MAX_PAYLOAD, PID_LUSTRE, PING_MATCH_BITS, PingInfo, RESERVED_PORTAL, WireHandle, WireNid,
};
use std::{sync::Arc, time::Duration};
use tracing::{debug, error};

/// Answers from so many bytes of payload on don't go back the way the request came, but over the bulk connection: what
/// follows them should not have to wait. The longest answer of an RPC has 9 KiB; more is bulk data.
const SAME_WAY: usize = 16 << 10;

/// Messages that leave together: collected while messages that arrived together are handled, then written at once.
pub struct Outbox<'a> {
    lnet: &'a Arc<Inner>,
    /// The connection whose message is being handled, and who sent it: answers go back the way it came.
    current: Option<(&'a Arc<Conn>, WireNid)>,
    /// Connections with something to write; mostly one, for which nothing is allocated.
    touched: Option<Arc<Conn>>,
    touched_too: Vec<Arc<Conn>>,
}

impl<'a> Outbox<'a> {
    pub(crate) fn new(lnet: &'a Arc<Inner>, conn: Option<&'a Arc<Conn>>) -> Self {
        Self { lnet, current: conn.map(|conn| (conn, conn.peer.key.remote)), touched: None, touched_too: Vec::new() }
    }

    /// Sends a PUT that wants no ACK.
    ///
    /// Without a connection to the receiver the node dials it; that it can't be reached is then only in the log.
    pub fn put(&mut self, put: Put) {
        self.send_put(put, WireHandle::NONE);
    }

    /// Sends a PUT and calls `then` with the bytes that the receiver stored, in the task that reads the ACK.
    pub fn put_acked(
        &mut self,
        put: Put,
        within: Duration,
        then: impl FnOnce(Result<u32, Lost>, &mut Outbox<'_>) + Send + 'static,
    ) {
        let deadline = self.lnet.deadline_ms(within);
        let wmd = self.lnet.awaited.expect(put.to.nid, deadline, Waiter::Ack(Box::new(then)));
        self.send_put(put, wmd);
    }

    /// Sends a GET and calls `then` with the data, in the task that reads the REPLY.
    pub fn get(
        &mut self,
        get: Get,
        within: Duration,
        then: impl FnOnce(Result<Bytes, Lost>, &mut Outbox<'_>) + Send + 'static,
    ) {
        let deadline = self.lnet.deadline_ms(within);
        let waiter = Waiter::Reply { then: Box::new(then), sink_length: get.sink_length };
        let return_wmd = self.lnet.awaited.expect(get.to.nid, deadline, waiter);
        let Get { to, from, portal, match_bits, sink_length } = get;
        let body = Body::Get { return_wmd, match_bits, portal, src_offset: 0, sink_length };
        self.send(Message { to, from, body, payload: Payload::default() });
    }

    fn send_put(&mut self, put: Put, ack_wmd: WireHandle) {
        let Put { to, from, portal, match_bits, hdr_data, offset, payload } = put;
        let body = Body::Put { ack_wmd, match_bits, hdr_data, portal, offset };
        self.send(Message { to, from, body, payload });
    }

    fn send(&mut self, message: Message) {
        if let Some(proxy) = self.lnet.proxy_of(message.from) {
            proxy.send(message);
            return;
        }
        let conn = match self.current {
            Some((conn, source)) if conn.peer.key.local == message.from && message.to.nid == source => {
                self.lnet.way_back(conn, &message)
            }
            _ => {
                let peer = self.lnet.route(PeerKey { local: message.from, remote: message.to.nid });
                peer.and_then(|peer| self.lnet.connection_for(&peer, &message))
            }
        };
        match conn {
            Some(conn) => self.push(conn, message),
            None => self.lnet.dial_and_send(message),
        }
    }

    pub(crate) fn push(&mut self, conn: Arc<Conn>, message: Message) {
        self.lnet.push(&conn, message);
        self.touch(conn);
    }

    fn touch(&mut self, conn: Arc<Conn>) {
        match &self.touched {
            None => self.touched = Some(conn),
            Some(first) if Arc::ptr_eq(first, &conn) => {}
            Some(_) if self.touched_too.iter().any(|touched| Arc::ptr_eq(touched, &conn)) => {}
            Some(_) => self.touched_too.push(conn),
        }
    }

    /// Writes what was collected.
    pub(crate) fn flush(&mut self, now: u64) {
        for conn in self.touched.take().into_iter().chain(self.touched_too.drain(..)) {
            conn.flush(now);
        }
    }
}

/// A message before it has a connection, and with it a form.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) to: ProcessId,
    pub(crate) from: WireNid,
    pub(crate) body: Body,
    pub(crate) payload: Payload,
}

impl Inner {
    /// The connection that carries a message to that peer, if there is one.
    pub(crate) fn connection_for(&self, peer: &Peer, message: &Message) -> Option<Arc<Conn>> {
        // The form of NIDs is not known yet; what a frame of 1,000 bytes misses by 48 doesn't matter.
        peer.connection_for(FrameHeader::LEN + 72 + message.payload.len())
    }

    /// The connection for an answer to a message that came over `conn`: that one itself, unless the answer is long or the
    /// connection is shared by the nodes behind a router.
    ///
    /// TCP acknowledges the request with the answer then, and the answer with the next request. On two connections, as
    /// kernels choose them by size, each is acknowledged by a packet of its own: half as many again.
    fn way_back(&self, conn: &Arc<Conn>, message: &Message) -> Option<Arc<Conn>> {
        let is_direct = message.to.nid == conn.peer.key.remote;
        if is_direct && message.payload.len() < SAME_WAY && conn.closed().is_none() && !conn.is_blocked() {
            return Some(Arc::clone(conn));
        }
        self.connection_for(&conn.peer, message)
    }

    /// Queues a message on a connection.
    pub(crate) fn push(&self, conn: &Conn, message: Message) {
        let Message { to, from, body, payload } = message;
        let Some(payload_length) = u32::try_from(payload.len()).ok().filter(|len| *len <= MAX_PAYLOAD) else {
            error!(peer = %to, bytes = payload.len(), "message of more than 1 MiB not sent: a fault of this program");
            return;
        };
        let header =
            Header { dest_nid: to.nid, src_nid: from, dest_pid: to.pid, src_pid: PID_LUSTRE, payload_length, body };
        let mut head = Vec::with_capacity(FrameHeader::LEN + Header::len(conn.form()) + payload.own.len());
        FrameHeader::PLAIN.encode(&mut head);
        header.encode(&mut head, conn.form());
        self.push_frame(conn, Frame::new(head, payload));
    }

    pub(crate) fn push_frame(&self, conn: &Conn, frame: Frame) {
        let queued = conn.peer.queued.load(std::sync::atomic::Ordering::Relaxed);
        if queued + frame.len() > self.config.limits.queued {
            conn.close(format!("the peer doesn't take what is sent to it: {queued} bytes wait"));
            return;
        }
        self.counters.frames_out(frame.len());
        conn.push(frame);
    }

    /// A message that arrived whole.
    pub(crate) fn dispatch(self: &Arc<Self>, conn: &Arc<Conn>, header: &Header, payload: &[u8], out: &mut Outbox<'_>) {
        let source = ProcessId { nid: header.src_nid, pid: header.src_pid };
        let target = if conn.takes_any_target { conn.peer.key.local } else { header.dest_nid };
        if source.nid != conn.peer.key.remote {
            self.learn_route(PeerKey { local: target, remote: source.nid }, &conn.peer);
        }
        if let Some((_, current)) = &mut out.current {
            *current = source.nid;
        }
        let answer = |body, payload| Message { to: source, from: target, body, payload };
        match header.body {
            Body::Put { ack_wmd, match_bits, hdr_data, portal, offset } => {
                let message = Incoming { source, target, portal, match_bits, hdr_data, offset, payload };
                let handler = self.portals.handler(portal);
                let is_push = portal == RESERVED_PORTAL && match_bits == PING_MATCH_BITS;
                if is_push {
                    self.pushed(source, payload);
                } else if handler.is_none() && !self.attachments.put(&message) {
                    debug!(peer = %source, portal, match_bits, "no one waits for this PUT");
                    return;
                }
                if !ack_wmd.is_none() {
                    let ack = Body::Ack { dst_wmd: ack_wmd, match_bits, mlength: header.payload_length };
                    self.answer(conn, answer(ack, Payload::default()), out);
                }
                if let Some(handler) = handler {
                    handler(&message, out);
                }
            }
            Body::Get { return_wmd, match_bits, portal, src_offset, sink_length } => {
                let is_ping = portal == RESERVED_PORTAL && match_bits == PING_MATCH_BITS;
                let data = match is_ping {
                    true => Some(self.ping_info_for(target, sink_length)),
                    false => self.attachments.get(source, portal, match_bits, src_offset, sink_length),
                };
                match data {
                    Some(data) => self.answer(conn, answer(Body::Reply { dst_wmd: return_wmd }, data.into()), out),
                    None => debug!(peer = %source, portal, match_bits, "no one has the data of this GET"),
                }
            }
            Body::Ack { dst_wmd, mlength, .. } => match self.awaited.take(dst_wmd, source.nid, true) {
                Some(Waiter::Ack(then)) => then(Ok(mlength), out),
                _ => debug!(peer = %source, "ACK for nothing that waits"),
            },
            Body::Reply { dst_wmd } => match self.awaited.take(dst_wmd, source.nid, false) {
                Some(Waiter::Reply { then, sink_length }) => {
                    let taken = payload.len().min(usize::try_from(sink_length).unwrap_or(usize::MAX));
                    then(Ok(Bytes::copy_from_slice(&payload[..taken])), out);
                }
                _ => debug!(peer = %source, "REPLY for nothing that waits"),
            },
        }
    }

    /// Answers over the peer that asked: behind a router, that is the router.
    fn answer(&self, conn: &Arc<Conn>, message: Message, out: &mut Outbox<'_>) {
        let chosen = self.way_back(conn, &message).unwrap_or_else(|| Arc::clone(conn));
        out.push(chosen, message);
    }

    /// Our ping info, cut to the asker's sink.
    fn ping_info_for(&self, target: WireNid, sink_length: u32) -> Bytes {
        let info = &self.ping_info;
        let end = info.len().min(usize::try_from(sink_length).unwrap_or(usize::MAX));
        debug!(%target, "pinged");
        info.slice(..end)
    }

    /// A peer pushed its NIDs. They are not used: requests are answered to where they come from.
    fn pushed(&self, source: ProcessId, payload: &[u8]) {
        match PingInfo::decode(payload) {
            Ok(info) => debug!(peer = %source, nids = ?info.nids(), "peer says which NIDs it has"),
            Err(reason) => debug!(peer = %source, %reason, "push that can't be read"),
        }
    }
}
