//! A request and its reply, whatever happens between: loss, early replies, reconnects. Source: ptlrpc specification.

use crate::{
    client::{Shared, next_xid, random_up_to},
    connect::Link,
    error::{MgcError, status},
};
use bytes::Bytes;
use lnet::{Attached, Lost, Put};
use lustre_wire::{
    fixed::Fixed,
    ptlrpc::{
        Body, BodyKind, Message, MessageHeader, Opcode, body_flag, bulk_match_bits, connect_flag, connect_flag2,
        encode_message, is_early_reply, message_flag, message_len, portal, reply_match_bits, reply_offset,
    },
};
use std::{sync::Weak, time::Duration};
use tokio::time::Instant;
use tracing::debug;

/// In which the connections to a peer that died all end.
const SETTLE: Duration = Duration::from_millis(50);
/// Pause before a request is repeated that the MGS is still busy with.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// A request to send.
pub(crate) struct Request {
    pub(crate) opc: Opcode,
    /// Buffers behind the body.
    pub(crate) buffers: Vec<Vec<u8>>,
    /// Lengths of the reply's buffers behind the body: what room the reply gets.
    pub(crate) reply_lens: Vec<usize>,
    pub(crate) bulk: Bulk,
    /// Time for everything; the configured one if none.
    pub(crate) within: Option<Duration>,
    /// True for the request that ends the connection: it makes no new one.
    pub(crate) is_last: bool,
}

/// Data that goes beside a request.
#[derive(Clone)]
pub(crate) enum Bulk {
    None,
    /// The server writes at most so many bytes.
    Sink(usize),
    /// The server fetches these.
    Source(Bytes),
}

/// A reply whose status is the caller's to judge.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: i32,
    pub(crate) kind: BodyKind,
    /// The whole message.
    bytes: Bytes,
    /// What the server wrote beside it.
    pub(crate) bulk: Option<Bytes>,
    /// The beginning (see `Import::epoch`) that it belongs to.
    pub(crate) epoch: u64,
}

impl Reply {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.bytes).expect("decoded before: take_reply")
    }
}

impl Request {
    pub(crate) fn new(opc: Opcode) -> Self {
        let (buffers, reply_lens) = (Vec::new(), Vec::new());
        Self { opc, buffers, reply_lens, bulk: Bulk::None, within: None, is_last: false }
    }
}

/// How one try ended.
enum Outcome {
    Reply(Reply),
    /// The link is no good, or the reply lost.
    Again,
    /// The MGS is busy with this very request.
    Busy,
}

impl Shared {
    /// Sends a request until it is answered. The status of the reply is the caller's to judge.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, MgcError> {
        let deadline = request.within.map_or_else(|| self.deadline(), |within| Instant::now() + within);
        let mut sent: Option<(u64, u64)> = None;
        loop {
            if self.import().is_closed {
                return Err(MgcError::Network(lnet::SendError::ShutDown));
            }
            let link = match (self.link(), request.is_last) {
                (Some(link), _) => link,
                (None, false) => self.connected(deadline).await?,
                (None, true) => return Err(self.timed_out(request.opc)),
            };
            // After a new beginning the MGS knows nothing of what was sent before: it is a new request then.
            let (xid, is_resent) = match sent {
                Some((xid, epoch)) if epoch == link.epoch => (xid, true),
                _ => (next_xid(), false),
            };
            sent = Some((xid, link.epoch));
            self.outstanding.lock().expect("no code panics under this lock").insert(xid);
            let outcome = self.attempt(&request, &link, xid, is_resent, deadline).await;
            self.outstanding.lock().expect("no code panics under this lock").remove(&xid);
            match outcome? {
                Outcome::Reply(reply) => return Ok(reply),
                Outcome::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                Outcome::Again => self.is_down(&link),
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out(request.opc));
            }
        }
    }

    fn timed_out(&self, opc: Opcode) -> MgcError {
        MgcError::TimedOut { nid: self.mgs_name(), opc }
    }

    async fn attempt(
        &self,
        request: &Request,
        link: &Link,
        xid: u64,
        is_resent: bool,
        deadline: Instant,
    ) -> Result<Outcome, MgcError> {
        let granted = &link.granted;
        let mbits = if is_resent { next_xid() } else { xid };
        let has_at = granted.has(connect_flag::AT);
        let flags = if has_at { message_flag::AT_SUPPORT | message_flag::CKSUM_INCOMPAT18 } else { 0 };
        let lens = std::iter::once(Body::LEN).chain(request.reply_lens.iter().copied()).collect::<Vec<_>>();
        let repsize = message_len(lens.into_iter());
        let to_portal = portal::of(request.opc);
        let reply_portal = portal::reply_to(to_portal).expect("every portal that requests go to has one for replies");
        let rep_mbits = granted.has2(connect_flag2::REP_MBITS);
        let reply_bits = reply_match_bits(request.opc, xid, mbits, rep_mbits);
        let room = repsize + usize::try_from(reply_offset(flags)).expect("224 at most");
        let mut replies = self.lnet.attach(reply_portal, reply_bits, Some(link.to.nid), room);
        let bulk_bits = bulk_match_bits(xid, mbits, granted.has(connect_flag::BULK_MBITS));
        let mut bulk = match &request.bulk {
            Bulk::None => None,
            Bulk::Sink(len) => Some(self.lnet.attach(portal::MGS_BULK, bulk_bits, Some(link.to.nid), *len)),
            Bulk::Source(data) => Some(self.lnet.offer(portal::MGS_BULK, bulk_bits, Some(link.to.nid), data.clone())),
        };
        let attempt = self.config.attempt;
        let body = Body {
            handle: link.handle,
            last_xid: self.answered_up_to(),
            flags: body_flag::PACK_UID_GID | if is_resent { body_flag::RESENT } else { 0 },
            conn_cnt: link.conn_cnt,
            timeout_s: u32::try_from(attempt.as_secs()).unwrap_or(u32::MAX).max(1),
            mbits,
            status: i32::try_from(std::process::id()).unwrap_or(0),
            ..Body::request(request.opc)
        };
        let header = MessageHeader {
            flags,
            repsize: u32::try_from(repsize).unwrap_or(u32::MAX),
            ..MessageHeader::new(self.config.part)
        };
        let body = body.encode();
        let buffers: Vec<&[u8]> = std::iter::once(&body[..]).chain(request.buffers.iter().map(Vec::as_slice)).collect();
        let payload = encode_message(&header, &buffers).into();
        let put =
            Put { to: link.to, from: link.from, portal: to_portal, match_bits: xid, hdr_data: 0, offset: 0, payload };
        let sent_at = Instant::now();
        if let Err(error) = self.lnet.put(put).await {
            debug!(opc = %request.opc, %error, "request not sent");
            return Ok(Outcome::Again);
        }
        let mut until = (sent_at + attempt).min(deadline.max(sent_at + Duration::from_millis(100)));
        let reply = loop {
            let arrival = match tokio::time::timeout_at(until, replies.next()).await {
                Ok(Ok(arrival)) => arrival,
                Ok(Err(Lost::Disconnected | Lost::TimedOut)) | Err(_) => return Ok(Outcome::Again),
            };
            let malformed = |source| MgcError::Malformed { nid: self.mgs_name(), opc: request.opc, source };
            let message = Message::decode(&arrival.payload).map_err(malformed)?;
            let body = Body::decode(message.buffer(0).unwrap_or_default()).map_err(malformed)?;
            if has_at && arrival.offset != reply_offset(flags) {
                // Still at work: it says how long we should have patience, from when we sent.
                if is_early_reply(&message) {
                    until = sent_at + Duration::from_secs(u64::from(body.timeout_s)) + Duration::from_secs(1);
                }
                continue;
            }
            break Reply {
                status: body.status,
                kind: body.kind,
                bytes: arrival.payload,
                bulk: None,
                epoch: link.epoch,
            };
        };
        match reply.status {
            status::ENOTCONN => return Ok(Outcome::Again),
            status::EINPROGRESS => return Ok(Outcome::Busy),
            _ => {}
        }
        if let (Bulk::Sink(_), Some(bulk), 0..) = (&request.bulk, &mut bulk, reply.status) {
            // Data and reply travel on different connections, and either may be first.
            return Ok(match bulk_data(bulk, until).await {
                Some(data) => Outcome::Reply(Reply { bulk: Some(data), ..reply }),
                None => Outcome::Again,
            });
        }
        Ok(Outcome::Reply(reply))
    }

    /// All requests up to this number have been answered.
    fn answered_up_to(&self) -> u64 {
        let outstanding = self.outstanding.lock().expect("no code panics under this lock");
        outstanding.first().map_or(0, |oldest| oldest - 1)
    }

    /// The error for a status that means "no".
    pub(crate) fn refused(&self, what: impl Into<String>, status: i32) -> MgcError {
        MgcError::Refused { nid: self.mgs_name(), what: what.into(), status }
    }
}

async fn bulk_data(bulk: &mut Attached, until: Instant) -> Option<Bytes> {
    loop {
        match tokio::time::timeout_at(until, bulk.next()).await {
            Ok(Ok(arrival)) => return Some(arrival.payload),
            // It may have arrived before that connection was lost.
            Ok(Err(_)) => {}
            Err(_) => return None,
        }
    }
}

/// Pings the MGS while the client lives, and at once when a connection to it is lost: so it learns of a restart.
pub(crate) async fn ping_while_alive(client: Weak<Shared>) {
    loop {
        let (mut watch, interval) = {
            let Some(client) = client.upgrade() else { return };
            if client.import().is_closed {
                return;
            }
            let nid = client.link().map(|link| link.to.nid);
            // No PUT ever has these bits: what arrives is the loss of a connection.
            (client.lnet.attach(portal::MGC_REPLY, client.conn, nid, 0), client.config.ping_interval)
        };
        let was_lost = tokio::time::timeout(interval, watch.next()).await.is_ok();
        drop(watch);
        let Some(client) = client.upgrade() else { return };
        if was_lost {
            // The other connections of the same peer follow within moments. And when an MGS restarts, its thousands of
            // clients must not all come back in one: over a second, where they ping every 25.
            tokio::time::sleep(SETTLE + random_up_to(interval / 25)).await;
        }
        if let Err(error) = client.call(Request::new(Opcode::OBD_PING)).await {
            debug!(%error, "the MGS doesn't answer pings");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
