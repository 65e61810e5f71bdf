//! Taking locks, giving them back, asking for them. Source: ptlrpc specification, section 9.

use lustre_wire::fixed::Fixed;
use lustre_wire::ldlm::{LockDesc, LockMode, LockReply, LockRequest, PLAIN, ResourceId};
use lustre_wire::ptlrpc::{
    Body, BodyKind, Message, MessageHeader, Opcode, body_flag, connect_flag, encode_message, message_flag, portal,
};

use crate::serve::lock::{Lock, Revoked};
use crate::serve::request::Request;
use crate::serve::{Effect, Errno, Incoming, Outgoing, ServeError, Service, reply};

/// What we say that a callback may take, in seconds.
const CALLBACK_TIMEOUT_S: u32 = 11;
/// Room that we have for the answer to a callback: a message with a body.
const CALLBACK_REPLY_LEN: u32 = 224;

impl Service {
    /// Grants a lock, at once: nobody ever holds one that conflicts.
    pub(super) fn enqueue(
        &mut self,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = LockRequest::decode(message.need(1, "ldlm_request", 0)?)?;
        let client = asked.handle(0)?;
        if asked.desc.kind != PLAIN || asked.desc.requested != LockMode::CR {
            out.push(self.refuse(request, Errno::FAULT));
            return Ok(());
        }
        let Some(export) = self.exports.get(request.handle) else { return Ok(()) };
        let again = (request.body_flags & body_flag::RESENT != 0)
            .then(|| export.locks.iter().filter_map(|lock| self.locks.get(*lock)).find(|lock| lock.client == client))
            .flatten()
            .map(|lock| lock.handle);
        let handle = match again {
            Some(handle) => handle,
            None if export.locks.len() >= self.limits.locks_per_export => {
                out.push(self.refuse(request, Errno::NOMEM));
                return Ok(());
            }
            None => self.grant(request.handle, client, asked.desc.resource),
        };
        let desc = LockDesc::plain(asked.desc.resource, LockMode::CR, LockMode::CR);
        let granted = LockReply { flags: 0, desc, handle, policy_res: [0; 2] };
        // The last buffer, for what is kept in a lock, is empty.
        let mut reply = reply::begin(request, 0, 2, LockReply::LEN);
        reply.put(|out| granted.write(out));
        out.push(reply::send(request, reply.finish(), bytes::Bytes::new()));
        Ok(())
    }

    fn grant(&mut self, export: u64, client: u64, resource: ResourceId) -> u64 {
        let handle = self.handle();
        self.locks.insert(Lock { handle, client, export, resource, revoked: None });
        if let Some(export) = self.exports.get_mut(export) {
            export.locks.insert(handle);
        }
        handle
    }

    /// Takes locks back. Handles of others, or of nobody, are left alone.
    pub(super) fn cancel(
        &mut self,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = LockRequest::decode(message.need(1, "ldlm_request", 0)?)?;
        let mut found = false;
        for handle in asked.cancelled()? {
            let is_own = self.locks.get(*handle).is_some_and(|lock| lock.export == request.handle);
            if is_own {
                self.drop_lock(*handle);
                found = true;
            }
        }
        // A cancel that arrives twice is answered as the first time.
        let is_resent = request.body_flags & body_flag::RESENT != 0;
        let status = if found || is_resent { 0 } else { Errno::STALE.status() };
        out.push(reply::with(request, status, &[]));
        Ok(())
    }

    fn drop_lock(&mut self, handle: u64) {
        if let Some(lock) = self.locks.remove(handle)
            && let Some(export) = self.exports.get_mut(lock.export)
        {
            export.locks.remove(&handle);
        }
    }

    /// Asks for every lock on a resource: what it guards has changed. Doesn't wait for anybody.
    pub fn revoke(&mut self, now_ms: u64, resource: &ResourceId, out: &mut Vec<Effect>) {
        self.revoke_some(now_ms, resource, usize::MAX, out);
    }

    /// Asks for some of the locks on a resource; true while there are more.
    pub fn revoke_some(&mut self, now_ms: u64, resource: &ResourceId, at_most: usize, out: &mut Vec<Effect>) -> bool {
        self.now_ms = self.now_ms.max(now_ms);
        let (some, are_there_more) = self.locks.to_revoke(resource, at_most);
        for handle in some {
            self.xid += 1 << 7;
            let revoked = Revoked { xid: self.xid, since_ms: self.now_ms, is_answered: false };
            self.locks.revoke(handle, revoked);
            self.counts.callbacks += 1;
            out.extend(self.callback(handle, false));
        }
        are_there_more
    }

    /// The callback that asks for a lock.
    fn callback(&self, handle: u64, again: bool) -> Option<Effect> {
        let lock = self.locks.get(handle)?;
        let revoked = lock.revoked?;
        let export = self.exports.get(lock.export)?;
        let request = LockRequest {
            flags: 0,
            count: 0,
            desc: LockDesc::plain(lock.resource, LockMode::EX, LockMode::NONE),
            handles: vec![lock.client, lock.handle],
        };
        let body = Body {
            handle: export.conn,
            last_xid: revoked.xid - 1,
            timeout_s: CALLBACK_TIMEOUT_S,
            flags: if again { body_flag::RESENT } else { 0 },
            mbits: revoked.xid,
            ..Body::request(Opcode::LDLM_BL_CALLBACK)
        };
        let speaks_at = export.data.has(connect_flag::AT);
        let flags = if speaks_at { message_flag::AT_SUPPORT | message_flag::CKSUM_INCOMPAT18 } else { 0 };
        let header = MessageHeader { repsize: CALLBACK_REPLY_LEN, flags, ..MessageHeader::default() };
        Some(Effect::Send(Outgoing {
            to: export.nid,
            pid: export.pid,
            from: export.target,
            portal: portal::LDLM_CB_REQUEST,
            match_bits: revoked.xid,
            offset: 0,
            own: encode_message(&header, &[&body.encode(), &request.encode()]),
            shared: bytes::Bytes::new(),
        }))
    }

    /// Asks again for what a client was asked for and has not answered: after it came back.
    pub(super) fn ask_again(&mut self, export: u64, out: &mut Vec<Effect>) {
        let Some(export) = self.exports.get(export) else { return };
        let unanswered = export.locks.iter().filter(|lock| {
            self.locks.get(**lock).and_then(|lock| lock.revoked).is_some_and(|revoked| !revoked.is_answered)
        });
        let again: Vec<Effect> = unanswered.filter_map(|lock| self.callback(*lock, true)).collect();
        out.extend(again);
    }

    /// Takes in the answer to a callback. Errors: bytes that are no reply.
    pub fn callback_answered(&mut self, now_ms: u64, incoming: &Incoming<'_>) -> Result<(), ServeError> {
        self.now_ms = self.now_ms.max(now_ms);
        let message = Message::decode(incoming.payload)?;
        let body = Body::decode(message.need(0, "ptlrpc_body", 0)?)?;
        if !matches!(body.kind, BodyKind::Reply | BodyKind::Error) {
            return Err(ServeError::NotARequest(body.kind));
        }
        let Some(lock) = self.locks.of_callback(incoming.match_bits) else { return Ok(()) };
        let Some(export) = self.exports.get_mut(lock.export).filter(|export| export.nid == incoming.source) else {
            return Ok(());
        };
        export.heard_ms = self.now_ms;
        if let Some(revoked) = &mut lock.revoked {
            revoked.is_answered = true;
        }
        // It doesn't know the lock, or us: there is nothing that it could give back.
        if body.status != 0 || body.kind == BodyKind::Error {
            let handle = lock.handle;
            self.drop_lock(handle);
        }
        Ok(())
    }
}
