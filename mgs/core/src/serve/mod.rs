//! The MGS as Lustre's nodes see it: connections, locks, config logs, registrations, over RPCs.
//!
//! [`Service`] is a state machine: [`Incoming`] messages, commits and time go in, [`Effect`]s come out, in the order in which a
//! driver has to carry them out. What is configured is in the [`State`], which this only reads; who is connected and who
//! holds which lock belongs to this instance and is never stored. Nobody waits for a client: locks are granted at once, and
//! a revoked lock that isn't given back costs its holder the connection and nobody anything.
//!
//! Source: ptlrpc specification, MGS specification.

mod config_read;
mod connect;
mod effect;
mod errno;
mod export;
mod llog;
mod lock;
mod locking;
mod nodemap;
mod register;
mod reply;
mod request;
#[cfg(test)]
mod tests;
mod tick;
mod touched;
mod view;

use std::collections::HashMap;

use bytes::Bytes;
use lustre_wire::fixed::Fixed;
use lustre_wire::ptlrpc::{Body, BodyKind, Message, Opcode, portal};
use sha2::{Digest, Sha256};

pub use effect::{Effect, Incoming, Outgoing, ServeError, Ticket};
pub use errno::Errno;
pub use register::{Announcement, RegistrationOutcome, RegistrationRequest};
pub use touched::touched;
pub use view::{Counts, ExportView};

use crate::state::State;
use export::{Export, Exports};
use lock::Locks;
use request::Request;

/// How much strangers may take, and how long things may last.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connected clients.
    pub exports: usize,
    /// Connected clients of one node: a kernel has one for all its mounts and targets.
    pub exports_per_nid: usize,
    /// Locks of one client.
    pub locks_per_export: usize,
    /// Requests of one client that wait for something.
    pub pending_per_export: usize,
    /// Silence after which a client is taken for gone, in milliseconds: six of its pings.
    pub silence_ms: u64,
    /// How long a client that is otherwise silent may keep a lock that it was asked for, in milliseconds.
    pub revoke_ms: u64,
    /// How long any client may keep such a lock, in milliseconds.
    pub revoke_at_most_ms: u64,
    /// How long after the start nobody is told that imperative recovery works, in milliseconds: targets come back first.
    pub recovery_start_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exports: 200_000,
            exports_per_nid: 64,
            locks_per_export: 16_384,
            pending_per_export: 1024,
            silence_ms: 150_000,
            revoke_ms: 30_000,
            revoke_at_most_ms: 300_000,
            recovery_start_ms: 400_000,
        }
    }
}

/// Connected clients, their locks, and what waits for something.
pub struct Service {
    limits: Limits,
    exports: Exports,
    locks: Locks,
    pending: HashMap<Ticket, Pending>,
    tickets: u64,
    /// Makes handles that nobody can guess.
    secret: [u8; 32],
    handles: u64,
    /// Xid of our own requests.
    xid: u64,
    started_ms: u64,
    now_ms: u64,
    counts: Counts,
    zeros: Bytes,
    config_answers: config_read::Answers,
}

/// A request that is answered later.
struct Pending {
    request: Request,
    /// The connection that it came over.
    export: u64,
    arrived_ms: u64,
    what: Waiting,
    has_early_reply: bool,
}

/// What a request waits for.
enum Waiting {
    /// The client's acknowledgement of bulk data; then this reply.
    Bulk(Vec<u8>),
    /// A target's NIDs.
    Nids(Box<lustre_wire::mgs::Registration>),
    /// A commit.
    Commit(Box<lustre_wire::mgs::Registration>),
}

impl Service {
    /// Nobody is connected. `secret` is random; `unix_s` is the wall clock, from which xids count.
    pub fn new(limits: Limits, secret: [u8; 32], unix_s: u64, now_ms: u64) -> Self {
        Self {
            limits,
            exports: Exports::default(),
            locks: Locks::default(),
            pending: HashMap::new(),
            tickets: 0,
            secret,
            handles: 0,
            xid: unix_s << 20,
            started_ms: now_ms,
            now_ms,
            counts: Counts::default(),
            zeros: Bytes::from_static(&[0; lustre_wire::mgs::LOG_BLOCK_LEN]),
            config_answers: config_read::Answers::default(),
        }
    }

    /// Takes in a request. Errors: what no sane peer sends; the sender should lose its connection.
    pub fn request(
        &mut self,
        state: &State,
        now_ms: u64,
        incoming: &Incoming<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        self.now_ms = self.now_ms.max(now_ms);
        let message = Message::decode(incoming.payload)?;
        let body = Body::decode(message.need(0, "ptlrpc_body", 0)?)?;
        if body.kind != BodyKind::Request {
            return Err(ServeError::NotARequest(body.kind));
        }
        let reply_portal = portal::reply_to(incoming.portal).ok_or(ServeError::Portal(incoming.portal))?;
        let request = Request::new(incoming, &message, &body, reply_portal);
        self.counts.requests += 1;
        if !message.header.is_null_flavor() {
            out.push(self.refuse(&request, Errno::OPNOTSUPP));
            return Ok(());
        }
        if body.opc == Opcode::MGS_CONNECT {
            return self.connect(&request, &message, out);
        }
        let Some(export) = self.exports.get_mut(body.handle) else {
            out.push(self.refuse(&request, Errno::NOTCONN));
            return Ok(());
        };
        // What an older incarnation of the connection sent is nobody's any more.
        if body.conn_cnt < export.conn_cnt {
            return Ok(());
        }
        export.heard_ms = self.now_ms;
        export.requests += 1;
        let request = request.of(export);
        if let Some(again) = export.replies.again(&request) {
            out.push(again);
            return Ok(());
        }
        if export.replies.is_under_way(&request) {
            self.redirect(&request);
            return Ok(());
        }
        match body.opc {
            Opcode::OBD_PING => out.push(reply::empty(&request)),
            Opcode::LDLM_ENQUEUE => self.enqueue(&request, &message, out)?,
            Opcode::LDLM_CANCEL => self.cancel(&request, &message, out)?,
            Opcode::LLOG_OPEN => self.llog_open(state, &request, &message, out)?,
            Opcode::LLOG_READ_HEADER => self.llog_header(state, &request, &message, out)?,
            Opcode::LLOG_NEXT_BLOCK => self.llog_block(state, &request, &message, false, out)?,
            Opcode::LLOG_PREV_BLOCK => self.llog_block(state, &request, &message, true, out)?,
            Opcode::MGS_CONFIG_READ => self.config_read(state, &request, &message, out)?,
            Opcode::MGS_TARGET_REG => self.target_reg(&request, &message, out)?,
            Opcode::MGS_TARGET_DEL | Opcode::MGS_EXCEPTION => out.push(reply::empty(&request)),
            Opcode::MGS_SET_INFO => self.set_info(&request, &message, out)?,
            Opcode::MGS_DISCONNECT => self.disconnect(&request, out),
            _ => out.push(self.refuse(&request, Errno::OPNOTSUPP)),
        }
        Ok(())
    }

    /// How many clients and locks there are, and what was done.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        (counts.exports, counts.locks) = (self.exports.len(), self.locks.len());
        counts.pending = self.pending.len();
        counts
    }

    fn refuse(&mut self, request: &Request, errno: Errno) -> Effect {
        self.counts.refused += 1;
        reply::error(request, errno)
    }

    /// A handle that no client can guess from its own, never 0.
    fn handle(&mut self) -> u64 {
        loop {
            self.handles += 1;
            let digest = Sha256::new().chain_update(self.secret).chain_update(self.handles.to_le_bytes()).finalize();
            let handle = u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"));
            if handle != 0 && self.exports.get(handle).is_none() && !self.locks.contains(handle) {
                return handle;
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Lets a request wait. `false`: the client has too many of them.
    fn wait(&mut self, ticket: Ticket, request: &Request, what: Waiting) -> bool {
        let Some(export) = self.exports.get_mut(request.handle) else { return false };
        if export.pending >= self.limits.pending_per_export {
            return false;
        }
        export.pending += 1;
        export.replies.begin(request);
        let (arrived_ms, export) = (self.now_ms, request.handle);
        let pending = Pending { request: request.clone(), export, arrived_ms, what, has_early_reply: false };
        self.pending.insert(ticket, pending);
        true
    }

    /// Takes back a request that waited; `None` when its client is gone meanwhile.
    fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        let export = self.exports.get_mut(pending.export)?;
        export.pending = export.pending.saturating_sub(1);
        export.replies.end(&pending.request);
        Some(pending)
    }

    /// A request that is under way was sent again: its reply goes to where the new one wants it.
    fn redirect(&mut self, request: &Request) {
        let waiting = self
            .pending
            .values_mut()
            .find(|waiting| waiting.export == request.handle && waiting.request.xid == request.xid);
        if let Some(waiting) = waiting {
            waiting.request = request.clone();
        }
    }

    /// Forgets a client and gives back its locks.
    fn remove(&mut self, handle: u64) -> Option<Export> {
        let export = self.exports.remove(handle)?;
        for lock in &export.locks {
            self.locks.remove(*lock);
        }
        self.pending.retain(|_, pending| pending.export != handle);
        Some(export)
    }
}
