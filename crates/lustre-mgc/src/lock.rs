//! Config locks: taken to be told when what they guard changes. Source: ptlrpc specification, section 9.

use crate::{
    call::Request,
    client::{Mgc, Shared, random},
    error::MgcError,
};
use lnet::{Incoming, Outbox};
use lustre_wire::{
    fixed::Fixed,
    ldlm::{LockDesc, LockMode, LockReply, LockRequest, ResourceId},
    ptlrpc::{Body, Message, MessageHeader, Opcode, body_flag, encode_message, portal, reply_match_bits, reply_offset},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;
use tracing::{debug, warn};

const EINVAL: i32 = -22;
const ENOTCONN: i32 = -107;
const EPROTO: i32 = -71;
/// Time to give a lock back.
const CANCEL: Duration = Duration::from_secs(30);

/// The locks of a client, by the handle that it gave them.
#[derive(Default)]
pub(crate) struct Locks {
    held: Mutex<HashMap<u64, Held>>,
}

struct Held {
    resource: ResourceId,
    /// The server's handle; none before it is granted.
    server: Option<u64>,
    /// Set to true when the lock is lost.
    lost: watch::Sender<bool>,
}

/// A lock that this client holds. Dropped, it is given back.
pub struct Lock {
    handle: u64,
    shared: Arc<Shared>,
    lost: watch::Receiver<bool>,
}

impl Locks {
    fn add(&self, resource: ResourceId) -> (u64, watch::Receiver<bool>) {
        let (lost, receiver) = watch::channel(false);
        let handle = random();
        self.lock().insert(handle, Held { resource, server: None, lost });
        (handle, receiver)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().expect("no code panics under this lock")
    }

    /// True if the lock is still wanted: it was not revoked while it was being granted.
    fn granted(&self, handle: u64, server: u64) -> bool {
        self.lock().get_mut(&handle).map(|held| held.server = Some(server)).is_some()
    }

    /// Takes a lock out and tells its holder.
    fn lose(&self, handle: u64) -> Option<Held> {
        let held = self.lock().remove(&handle)?;
        held.lost.send_replace(true);
        Some(held)
    }

    /// The MGS knows nothing of any lock any more.
    pub(crate) fn lose_all(&self) {
        for (_, held) in self.lock().drain() {
            held.lost.send_replace(true);
        }
    }
}

impl Lock {
    /// Waits until the lock is revoked, because what it guards changes, or the MGS began anew.
    pub async fn lost(&mut self) {
        // An error would say that the table is gone, and with it the lock.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// True once it was revoked.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Some(held) = self.shared.locks.lose(self.handle) else { return };
        if let (Some(server), Ok(runtime)) = (held.server, tokio::runtime::Handle::try_current()) {
            runtime.spawn(cancel(Arc::clone(&self.shared), server, held.resource));
        }
    }
}

impl Mgc {
    /// Takes a lock that is revoked when what it guards changes.
    ///
    /// Errors: the MGS refuses, or isn't there.
    pub async fn lock(&self, resource: ResourceId) -> Result<Lock, MgcError> {
        let shared = self.shared();
        let (handle, lost) = shared.locks.add(resource);
        // From here on it is given back whatever happens.
        let lock = Lock { handle, shared: Arc::clone(shared), lost };
        let desc = LockDesc::plain(resource, LockMode::CR, LockMode::NONE);
        let enqueue = LockRequest { desc, handles: vec![handle, 0], ..LockRequest::default() };
        let request = Request {
            buffers: vec![enqueue.encode()],
            reply_lens: vec![LockReply::LEN, 0],
            ..Request::new(Opcode::LDLM_ENQUEUE)
        };
        let reply = shared.call(request).await?;
        if reply.status != 0 {
            return Err(shared.refused(format!("a lock on {resource}"), reply.status));
        }
        let malformed = |source| MgcError::Malformed { nid: shared.mgs_name(), opc: Opcode::LDLM_ENQUEUE, source };
        let message = reply.message();
        let granted = LockReply::decode(message.need(1, "ldlm_reply", LockReply::LEN).map_err(malformed)?);
        let granted = granted.map_err(malformed)?;
        // A lock that isn't granted yet guards as well: it is revoked, or granted by a callback, later.
        if !shared.locks.granted(handle, granted.handle) {
            debug!(%resource, "lock revoked while it was granted");
            tokio::spawn(cancel(Arc::clone(shared), granted.handle, resource));
        }
        Ok(lock)
    }
}

/// Gives a lock back to the server.
async fn cancel(shared: Arc<Shared>, server: u64, resource: ResourceId) {
    let cancel = LockRequest { count: 1, handles: vec![server, 0], ..LockRequest::default() };
    let request = Request { buffers: vec![cancel.encode()], within: Some(CANCEL), ..Request::new(Opcode::LDLM_CANCEL) };
    if let Err(error) = shared.call(request).await {
        warn!(%resource, %error, "lock not given back; the MGS will take it");
    }
}

/// A request of a server: "give this lock back", "it is granted now". Answered in the task that read it.
pub(crate) fn callback(request: &Incoming<'_>, out: &mut Outbox<'_>, client: impl Fn(u64) -> Option<Arc<Shared>>) {
    let Ok(message) = Message::decode(request.payload) else {
        debug!(peer = %request.source, "callback that can't be read");
        return;
    };
    let Some(body) = message.buffer(0).and_then(|body| Body::decode(body).ok()) else {
        debug!(peer = %request.source, "callback without a body");
        return;
    };
    let client = client(body.handle);
    // An answer goes to the bits that the server put into the body where that was agreed on.
    let status = match (&client, body.opc) {
        (None, _) => ENOTCONN,
        (Some(shared), Opcode::LDLM_BL_CALLBACK) => revoked(shared, &message),
        (Some(_), Opcode::LDLM_CP_CALLBACK) => 0,
        (Some(_), _) => EPROTO,
    };
    let reply = Body { flags: body.flags & !body_flag::RESENT, ..Body::reply(body.opc, status) };
    let payload = encode_message(&MessageHeader::default(), &[&reply.encode()]);
    let bits = reply_match_bits(body.opc, request.match_bits, body.mbits, client.is_some());
    out.put(request.answer(portal::LDLM_CB_REPLY, bits, reply_offset(message.header.flags), payload));
}

fn revoked(shared: &Arc<Shared>, message: &Message<'_>) -> i32 {
    let request = message.buffer(1).map(LockRequest::decode);
    let Some(Ok(request)) = request else { return EPROTO };
    let (Ok(own), Ok(server)) = (request.handle(0), request.handle(1)) else { return EPROTO };
    match shared.locks.lose(own) {
        Some(held) => {
            // The server's handle stands in the callback: the reply that grants the lock may still be under way.
            tokio::spawn(cancel(Arc::clone(shared), server, held.resource));
            0
        }
        None => EINVAL,
    }
}
