//! Messages over networks that only the kernel drives: through the kernel proxy instead of connections.
//!
//! Above this nothing knows the difference. The kernel matches, acknowledges and answers pings by itself, so a message
//! here is one frame. What awaits an answer is named to the kernel by the cookie of its handle.

use crate::{
    dispatch::{Message, Outbox},
    lnet::Inner,
    message::{Incoming, Lost, ProcessId},
    portal::Waiter,
};
use bytes::Bytes;
use kproxy::{Command, Device, Event, Flags, Frame, Process, Role, portal};
use lustre_wire::lnet::{Body, WireHandle, WireNid};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

/// Frames that wait for the device. What goes beyond is lost, as on a network: whoever sent it asks again.
const QUEUE: usize = 65_536;
/// Bytes of a buffer for the answer to a lock callback.
const CALLBACK_ANSWER_LEN: u32 = 4096;
/// Nobody answers a lock callback later: clients that don't are evicted before.
const CALLBACK_ANSWER_WITHIN: Duration = Duration::from_secs(100);

/// The kernel proxy of a node.
pub(crate) struct Proxy {
    device: Arc<Device>,
    frames: mpsc::Sender<Frame>,
    posts: AtomicU64,
    callback_answers: Mutex<VecDeque<(Instant, Posted)>>,
}

/// A buffer in the kernel that waits for one message; taken back when dropped.
pub(crate) struct Posted {
    frames: mpsc::Sender<Frame>,
    cookie: u64,
}

impl Drop for Posted {
    fn drop(&mut self) {
        // The message may have come: then there is nothing to take back, and the kernel says so.
        let _ = self.frames.try_send(Frame { cookie: self.cookie, ..Frame::command(Command::Unlink) });
    }
}

impl Proxy {
    /// The proxy, and the frames that [`run`] is to send.
    pub(crate) fn new(device: Arc<Device>) -> (Self, mpsc::Receiver<Frame>) {
        let (frames, to_kernel) = mpsc::channel(QUEUE);
        (Self { device, frames, posts: AtomicU64::new(1), callback_answers: Mutex::default() }, to_kernel)
    }

    pub(crate) fn nids(&self) -> &[WireNid] {
        self.device.nids()
    }

    fn queue(&self, frame: Frame) {
        if let Err(refused) = self.frames.try_send(frame) {
            warn!(error = %refused, "the kernel proxy doesn't keep up, a message is lost");
        }
    }

    /// Takes every message of a portal, where that is allowed; elsewhere each is posted for.
    pub(crate) fn attach(&self, portal: u32) {
        if self.device.role().attaches(portal) {
            self.queue(Frame { portal, ..Frame::command(Command::Attach) });
        }
    }

    fn post(&self, frame: Frame) -> Posted {
        let cookie = self.posts.fetch_add(1, Ordering::Relaxed);
        self.queue(Frame { cookie, ..frame });
        Posted { frames: self.frames.clone(), cookie }
    }

    pub(crate) fn post_sink(&self, portal: u32, match_bits: u64, from: WireNid, max_len: usize) -> Posted {
        let rlength = u32::try_from(max_len.min(kproxy::MAX_PAYLOAD)).expect("1 MiB fits");
        let peer = Process { nid: from, pid: 0 };
        self.post(Frame { portal, match_bits, peer, rlength, ..Frame::command(Command::Post) })
    }

    pub(crate) fn post_source(&self, portal: u32, match_bits: u64, from: WireNid, data: &Bytes) -> Posted {
        let (peer, payload) = (Process { nid: from, pid: 0 }, data.to_vec());
        self.post(Frame { portal, match_bits, peer, payload, flags: Flags::READABLE, ..Frame::command(Command::Post) })
    }

    /// Posts a buffer for the answer to a lock callback, and takes back those that nobody used.
    fn await_callback_answer(&self, from: WireNid, match_bits: u64) {
        let (portal, rlength, peer) = (portal::CALLBACK_ANSWER, CALLBACK_ANSWER_LEN, Process { nid: from, pid: 0 });
        let post = self.post(Frame { portal, match_bits, peer, rlength, ..Frame::command(Command::Post) });
        let mut awaited = self.callback_answers.lock().expect("no code panics under this lock");
        while awaited.front().is_some_and(|(since, _)| since.elapsed() > CALLBACK_ANSWER_WITHIN) {
            awaited.pop_front();
        }
        awaited.push_back((Instant::now(), post));
    }

    pub(crate) fn send(&self, message: Message) {
        let Message { to, from, body, payload } = message;
        let (peer, local) = (Process { nid: to.nid, pid: to.pid }, Process { nid: from, pid: 0 });
        match body {
            Body::Put { ack_wmd, match_bits, hdr_data, portal, offset } => {
                if portal == portal::CALLBACK {
                    self.await_callback_answer(to.nid, match_bits);
                }
                let (flags, cookie) = match ack_wmd.is_none() {
                    true => (Flags::default(), 0),
                    false => (Flags::ACK, ack_wmd.object_cookie),
                };
                let payload = [payload.own.as_slice(), &payload.shared].concat();
                let put = Frame::command(Command::Put);
                self.queue(Frame { cookie, flags, match_bits, hdr_data, portal, offset, peer, local, payload, ..put });
            }
            Body::Get { return_wmd, match_bits, portal, src_offset, sink_length } => {
                let (cookie, offset, rlength) = (return_wmd.object_cookie, src_offset, sink_length);
                let get = Frame::command(Command::Get);
                self.queue(Frame { cookie, match_bits, portal, offset, rlength, peer, local, ..get });
            }
            Body::Ack { .. } | Body::Reply { .. } => error!("the kernel answers by itself: a fault of this program"),
        }
    }
}

/// Starts to carry frames, until the node is shut down or the device fails.
pub(crate) fn run(lnet: &Arc<Inner>, to_kernel: mpsc::Receiver<Frame>) {
    let Some(proxy) = &lnet.proxy else { return };
    tokio::spawn(write(Arc::clone(&proxy.device), to_kernel));
    tokio::spawn(read(Arc::clone(&proxy.device), Arc::downgrade(lnet)));
}

async fn write(device: Arc<Device>, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if let Err(refused) = device.send(&frame, name(&frame)).await {
            // UNLINK of what was used meanwhile is the usual one.
            debug!(error = %refused, "frame refused");
        }
    }
}

fn name(frame: &Frame) -> &'static str {
    match frame.kind {
        kind if kind == Command::Put as u16 => "PUT",
        kind if kind == Command::Get as u16 => "GET",
        kind if kind == Command::Post as u16 => "POST",
        kind if kind == Command::Unlink as u16 => "UNLINK",
        _ => "a command",
    }
}

async fn read(device: Arc<Device>, lnet: Weak<Inner>) {
    loop {
        let frame = match device.recv().await {
            Ok(frame) => frame,
            Err(error) => {
                error!(%error, "the kernel proxy failed; nodes on its networks can't reach this one until it is started anew");
                return;
            }
        };
        let Some(lnet) = lnet.upgrade().filter(|lnet| !lnet.is_shut_down.load(Ordering::Acquire)) else { return };
        let mut out = Outbox::new(&lnet, None);
        lnet.take_event(frame, &mut out);
        out.flush(lnet.now_ms());
    }
}

impl Inner {
    fn take_event(&self, frame: Frame, out: &mut Outbox<'_>) {
        let source = ProcessId { nid: frame.peer.nid, pid: frame.peer.pid };
        let Frame { portal, match_bits, .. } = frame;
        match frame.event() {
            Some(Event::Put) => {
                let Frame { hdr_data, offset, ref payload, .. } = frame;
                let target = frame.local.nid;
                let message = Incoming { source, target, portal, match_bits, hdr_data, offset, payload };
                match self.portals.handler(portal) {
                    Some(handler) => handler(&message, out),
                    None if self.attachments.put(&message) => self.post_again(&frame),
                    None => debug!(peer = %source, portal, match_bits, "no one waits for this PUT"),
                }
            }
            Some(Event::Ack) => {
                if let Some(Waiter::Ack(then)) = self.awaited.take(self.awaited_handle(&frame), source.nid, true) {
                    then(outcome(&frame, frame.rlength), out);
                }
            }
            Some(Event::Reply) => {
                if let Some(Waiter::Reply { then, .. }) =
                    self.awaited.take(self.awaited_handle(&frame), source.nid, false)
                {
                    then(outcome(&frame, Bytes::copy_from_slice(&frame.payload)), out);
                }
            }
            Some(Event::Done) if frame.status == 0 => {
                self.attachments.get(source, portal, match_bits, 0, 0);
            }
            Some(Event::Done | Event::Nids | Event::Hello) | None => {}
        }
    }

    fn awaited_handle(&self, frame: &Frame) -> WireHandle {
        self.awaited.handle(frame.cookie)
    }

    /// An early reply used up the buffer of the reply proper.
    fn post_again(&self, frame: &Frame) {
        let Some(proxy) = self.proxy.as_ref().filter(|proxy| proxy.device.role() == Role::Node) else { return };
        if frame.portal == portal::REPLY && frame.offset == 0 {
            let Frame { cookie, portal, match_bits, .. } = *frame;
            let peer = Process { pid: 0, ..frame.peer };
            let rlength = u32::try_from(kproxy::MAX_PAYLOAD).expect("1 MiB fits");
            proxy.queue(Frame { cookie, portal, match_bits, peer, rlength, ..Frame::command(Command::Post) });
        }
    }
}

fn outcome<T>(frame: &Frame, value: T) -> Result<T, Lost> {
    match frame.status {
        0 => Ok(value),
        _ => Err(Lost::TimedOut),
    }
}
