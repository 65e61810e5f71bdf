//! What waits for messages: handlers of portals, attached descriptors, and answers to what was sent.

use crate::{
    dispatch::Outbox,
    message::{Incoming, Lost, ProcessId},
    proxy::Posted,
};
use bytes::Bytes;
use lustre_wire::lnet::{WireHandle, WireNid};
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// Portals with handlers; Lustre's highest is 65.
const PORTALS: usize = 66;
/// Arrivals that one descriptor holds until they are taken.
const ARRIVALS: usize = 16;

/// Called for each PUT on a portal, in the task that read it: it must not block.
pub(crate) type Handler = Box<dyn Fn(&Incoming<'_>, &mut Outbox<'_>) + Send + Sync>;
pub(crate) type OnAck = Box<dyn FnOnce(Result<u32, Lost>, &mut Outbox<'_>) + Send>;
pub(crate) type OnReply = Box<dyn FnOnce(Result<Bytes, Lost>, &mut Outbox<'_>) + Send>;

/// Handlers by portal; set once, read without a lock.
pub(crate) struct Portals {
    handlers: [OnceLock<Handler>; PORTALS],
}

impl Portals {
    pub(crate) fn new() -> Self {
        Self { handlers: [const { OnceLock::new() }; PORTALS] }
    }

    pub(crate) fn register(&self, portal: u32, handler: Handler) {
        let slot = usize::try_from(portal).ok().and_then(|portal| self.handlers.get(portal));
        let slot = slot.expect("callers name portals of Lustre, all below 66");
        assert!(slot.set(handler).is_ok(), "portal {portal} has a handler already");
    }

    pub(crate) fn handler(&self, portal: u32) -> Option<&Handler> {
        self.handlers.get(usize::try_from(portal).ok()?)?.get()
    }

    /// Portals that have a handler.
    pub(crate) fn handled(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.handlers).filter(|(_, handler)| handler.get().is_some()).map(|(portal, _)| portal)
    }
}

/// A message that came for an attached descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent it.
    pub source: ProcessId,
    /// Offset in the header: tells an early reply (0) from the reply proper.
    pub offset: u32,
    /// The data of a PUT; empty for a GET that took the attached data.
    pub payload: Bytes,
}

enum Descriptor {
    Sink { max_len: usize },
    Source { data: Bytes },
}

struct Entry {
    number: u64,
    from: Option<WireNid>,
    descriptor: Descriptor,
    arrivals: mpsc::Sender<Result<Arrival, Lost>>,
}

/// Descriptors by portal and match bits.
#[derive(Default)]
pub(crate) struct Attachments {
    entries: Mutex<HashMap<(u32, u64), Entry>>,
    count: AtomicU64,
}

/// A descriptor that waits for PUTs or GETs on a portal and match bits; dropped, it waits no more.
pub struct Attached {
    at: (u32, u64),
    number: u64,
    home: Weak<Attachments>,
    arrivals: mpsc::Receiver<Result<Arrival, Lost>>,
    /// Takes the kernel's descriptor back when dropped.
    _post: Option<Posted>,
}

impl Attached {
    pub(crate) fn with_post(mut self, post: Posted) -> Self {
        self._post = Some(post);
        self
    }

    /// The next arrival. Errors: [`Lost::Disconnected`] when a connection to the node named at [`crate::Lnet::attach`]
    /// is gone, and with it perhaps what was awaited; later arrivals, over other connections, still come.
    pub async fn next(&mut self) -> Result<Arrival, Lost> {
        self.arrivals.recv().await.unwrap_or(Err(Lost::Disconnected))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut entries = home.entries.lock().expect("no code panics under this lock");
        // The same match bits may have been attached anew: a resend after a lost reply.
        if entries.get(&self.at).is_some_and(|entry| entry.number == self.number) {
            entries.remove(&self.at);
        }
    }
}

impl Attachments {
    fn attach(self: &Arc<Self>, at: (u32, u64), from: Option<WireNid>, descriptor: Descriptor) -> Attached {
        let (arrivals, receiver) = mpsc::channel(ARRIVALS);
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { number, from, descriptor, arrivals };
        self.entries.lock().expect("no code panics under this lock").insert(at, entry);
        Attached { at, number, home: Arc::downgrade(self), arrivals: receiver, _post: None }
    }

    pub(crate) fn sink(self: &Arc<Self>, portal: u32, bits: u64, from: Option<WireNid>, max_len: usize) -> Attached {
        self.attach((portal, bits), from, Descriptor::Sink { max_len })
    }

    pub(crate) fn source(self: &Arc<Self>, portal: u32, bits: u64, from: Option<WireNid>, data: Bytes) -> Attached {
        self.attach((portal, bits), from, Descriptor::Source { data })
    }

    /// Gives a PUT to its descriptor; true if one matched.
    pub(crate) fn put(&self, message: &Incoming<'_>) -> bool {
        let entries = self.entries.lock().expect("no code panics under this lock");
        let Some(entry) = entries.get(&(message.portal, message.match_bits)) else { return false };
        let Descriptor::Sink { max_len } = entry.descriptor else { return false };
        let is_from = entry.from.is_none_or(|from| from == message.source.nid);
        if !is_from || message.payload.len() > max_len {
            return false;
        }
        let payload = Bytes::copy_from_slice(message.payload);
        entry.arrivals.try_send(Ok(Arrival { source: message.source, offset: message.offset, payload })).is_ok()
    }

    /// The data that a GET asks for, if some is attached there.
    pub(crate) fn get(&self, source: ProcessId, portal: u32, bits: u64, offset: u32, length: u32) -> Option<Bytes> {
        let entries = self.entries.lock().expect("no code panics under this lock");
        let entry = entries.get(&(portal, bits))?;
        let Descriptor::Source { data } = &entry.descriptor else { return None };
        if entry.from.is_some_and(|from| from != source.nid) {
            return None;
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(data.len());
        let slice = data.slice(start..end);
        // That the data was fetched is news, not a duty: whoever doesn't listen loses nothing.
        let _ = entry.arrivals.try_send(Ok(Arrival { source, offset, payload: Bytes::new() }));
        Some(slice)
    }

    /// Tells everyone who waits for one of these nodes that a connection to it is gone.
    pub(crate) fn disconnected(&self, is_gone: impl Fn(&WireNid) -> bool) {
        let entries = self.entries.lock().expect("no code panics under this lock");
        for entry in entries.values().filter(|entry| entry.from.as_ref().is_some_and(&is_gone)) {
            let _ = entry.arrivals.try_send(Err(Lost::Disconnected));
        }
    }
}

/// What waits for an ACK or a REPLY.
pub(crate) enum Waiter {
    Ack(OnAck),
    Reply { then: OnReply, sink_length: u32 },
}

impl Waiter {
    pub(crate) fn fail(self, lost: Lost, out: &mut Outbox<'_>) {
        match self {
            Self::Ack(then) => then(Err(lost), out),
            Self::Reply { then, .. } => then(Err(lost), out),
        }
    }
}

struct Pending {
    to: WireNid,
    deadline_ms: u64,
    waiter: Waiter,
}

/// Answers that are awaited, by the handle that will come back.
pub(crate) struct Awaited {
    interface_cookie: u64,
    next: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
}

impl Awaited {
    pub(crate) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        // Handles name things of this start of the node only: a late ACK to a predecessor must not match.
        let interface_cookie = random();
        Self { interface_cookie, next: AtomicU64::new(random() >> 1), pending: Mutex::default() }
    }

    /// The handle of an answer that came with only its object's cookie: from the kernel, over its networks.
    pub(crate) fn handle(&self, object_cookie: u64) -> WireHandle {
        WireHandle { interface_cookie: self.interface_cookie, object_cookie }
    }

    pub(crate) fn expect(&self, to: WireNid, deadline_ms: u64, waiter: Waiter) -> WireHandle {
        let object_cookie = self.next.fetch_add(1, Ordering::Relaxed);
        let pending = Pending { to, deadline_ms, waiter };
        self.pending.lock().expect("no code panics under this lock").insert(object_cookie, pending);
        WireHandle { interface_cookie: self.interface_cookie, object_cookie }
    }

    /// The waiter of an answer from `from`, which is then no longer awaited. Answers of others are none.
    pub(crate) fn take(&self, handle: WireHandle, from: WireNid, is_ack: bool) -> Option<Waiter> {
        if handle.interface_cookie != self.interface_cookie {
            return None;
        }
        let mut pending = self.pending.lock().expect("no code panics under this lock");
        let found = pending.get(&handle.object_cookie)?;
        if found.to != from || matches!(found.waiter, Waiter::Ack(_)) != is_ack {
            return None;
        }
        pending.remove(&handle.object_cookie).map(|pending| pending.waiter)
    }

    /// Waiters whose time is over.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<Waiter> {
        self.drain(|pending| pending.deadline_ms <= now_ms)
    }

    /// Waiters for nodes whose last connection is gone.
    pub(crate) fn disconnected(&self, is_gone: impl Fn(&WireNid) -> bool) -> Vec<Waiter> {
        self.drain(|pending| is_gone(&pending.to))
    }

    fn drain(&self, over: impl Fn(&Pending) -> bool) -> Vec<Waiter> {
        let mut pending = self.pending.lock().expect("no code panics under this lock");
        pending.extract_if(|_, pending| over(pending)).map(|(_, pending)| pending.waiter).collect()
    }
}
