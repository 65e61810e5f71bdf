//! Messages over networks that only the kernel drives: through the kernel proxy instead of connections.
//!
//! Above this nothing knows the difference. The kernel matches, acknowledges and answers pings by itself, so a message
//! here is one frame. What awaits an answer is named to the kernel by the cookie of its handle. The device may go, with the
//! module, and come back: that is a network that was away, over which everything under way was lost.

use crate::{
    config::KernelProxy,
    dispatch::{Message, Outbox},
    lnet::Inner,
    message::{Incoming, Lost, ProcessId},
    portal::Waiter,
};
use bytes::Bytes;
use kproxy::{Command, Device, DeviceError, Event, Flags, Frame, Process, Role, portal};
use lustre_wire::lnet::{Body, WireHandle, WireNid};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

/// Frames that wait for the device. What goes beyond is lost, as on a network: whoever sent it asks again.
const QUEUE: usize = 65_536;
/// Bytes of a buffer for the answer to a lock callback.
const CALLBACK_ANSWER_LEN: u32 = 4096;
/// Nobody answers a lock callback later: clients that don't are evicted before.
const CALLBACK_ANSWER_WITHIN: Duration = Duration::from_secs(100);

/// How often it is looked whether the device is there again.
const REOPEN: Duration = Duration::from_secs(1);

/// Why the kernel proxy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Something else in this kernel has the portals.
    #[error("{0}")]
    Occupied(String),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The kernel proxy of a node.
pub(crate) struct Proxy {
    config: KernelProxy,
    frames: mpsc::Sender<Frame>,
    /// As the device said that was open last.
    nids: RwLock<Arc<[WireNid]>>,
    is_open: AtomicBool,
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
    pub(crate) fn new(config: KernelProxy) -> (Self, mpsc::Receiver<Frame>) {
        let (frames, to_kernel) = mpsc::channel(QUEUE);
        let (nids, is_open) = (RwLock::new(Arc::default()), AtomicBool::new(false));
        (
            Self { config, frames, nids, is_open, posts: AtomicU64::new(1), callback_answers: Mutex::default() },
            to_kernel,
        )
    }

    /// The own NIDs on the kernel's networks; none before the device was open for the first time.
    pub(crate) fn nids(&self) -> Arc<[WireNid]> {
        Arc::clone(&self.nids.read().expect("no code panics under this lock"))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    async fn open(&self) -> Result<Device, ProxyError> {
        (self.config.may_open)().map_err(ProxyError::Occupied)?;
        let device = Device::open(&self.config.path, self.config.role).await?;
        let names: Vec<String> = device.nids().iter().map(ToString::to_string).collect();
        info!(device = %self.config.path.display(), transport = device.limits().transport, nids = ?names, "kernel proxy open");
        *self.nids.write().expect("no code panics under this lock") = device.nids().into();
        self.is_open.store(true, Ordering::Release);
        Ok(device)
    }

    /// Opens the device, if there is one yet. Errors: there is, and it can't be used.
    pub(crate) async fn open_first(&self) -> Result<Option<Device>, ProxyError> {
        match self.open().await {
            Ok(device) => Ok(Some(device)),
            Err(ProxyError::Device(absent)) if absent.is_absence() => {
                warn!(error = %absent, "no kernel proxy yet: it is used once it is there");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the device as soon as that is possible.
    async fn open_again(&self) -> Device {
        let mut last = String::new();
        loop {
            tokio::time::sleep(REOPEN).await;
            let error = match self.open().await {
                Ok(device) => return device,
                Err(error) => error.to_string(),
            };
            if error != last {
                warn!(error, "waiting for the kernel proxy");
            }
            last = error;
        }
    }

    fn queue(&self, frame: Frame) {
        if !self.is_open() {
            debug!("a message is lost: the kernel proxy is away");
        } else if let Err(refused) = self.frames.try_send(frame) {
            warn!(error = %refused, "the kernel proxy doesn't keep up, a message is lost");
        }
    }

    /// Takes every message of a portal, where that is allowed; elsewhere each is posted for.
    pub(crate) fn attach(&self, portal: u32) {
        if self.config.role.attaches(portal) {
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

/// Starts to carry frames, until the node is shut down. Without a device it waits for one.
pub(crate) fn run(lnet: &Arc<Inner>, to_kernel: mpsc::Receiver<Frame>, device: Option<Device>) {
    tokio::spawn(serve(Arc::clone(lnet), to_kernel, device));
}

async fn serve(lnet: Arc<Inner>, to_kernel: mpsc::Receiver<Frame>, mut first: Option<Device>) {
    let Some(proxy) = &lnet.proxy else { return };
    let to_kernel = Arc::new(tokio::sync::Mutex::new(to_kernel));
    loop {
        let device = match first.take() {
            Some(device) => device,
            None => match until_shutdown(&lnet, proxy.open_again()).await {
                Some(device) => device,
                None => return,
            },
        };
        // Handlers that come after this ask for their portal themselves; twice is refused, and does no harm.
        lnet.portals.handled().for_each(|portal| proxy.attach(portal));
        let device = Arc::new(device);
        let writer = tokio::spawn(write(Arc::clone(&device), Arc::clone(&to_kernel)));
        let ended = until_shutdown(&lnet, read(&device, &lnet)).await;
        proxy.is_open.store(false, Ordering::Release);
        writer.abort();
        // The device is closed, and the module can go, once both have let go of it.
        let _ = writer.await;
        drop(device);
        let Some(error) = ended else { return };
        error!(%error, "the kernel proxy is gone: nodes on the kernel's networks can't reach this one until it is back");
        while to_kernel.lock().await.try_recv().is_ok() {}
        lnet.lose_kernel_networks(&proxy.nids());
    }
}

/// What the future gives, or nothing once the node is shut down.
async fn until_shutdown<T>(lnet: &Inner, future: impl Future<Output = T>) -> Option<T> {
    let shutdown = lnet.shutdown.notified();
    if lnet.is_shut_down.load(Ordering::Acquire) {
        return None;
    }
    tokio::select! {
        value = future => Some(value),
        () = shutdown => None,
    }
}

async fn write(device: Arc<Device>, frames: Arc<tokio::sync::Mutex<mpsc::Receiver<Frame>>>) {
    let mut frames = frames.lock().await;
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

/// Reads frames until the device fails.
async fn read(device: &Device, lnet: &Arc<Inner>) -> DeviceError {
    loop {
        let frame = match device.recv().await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let mut out = Outbox::new(lnet, None);
        lnet.take_event(frame, &mut out);
        out.flush(lnet.now_ms());
    }
}

impl Inner {
    /// What was under way over the kernel's networks is lost: whoever waits for it may ask again.
    fn lose_kernel_networks(self: &Arc<Self>, kernel: &[WireNid]) {
        let is_gone = |nid: &WireNid| {
            let on = |nids: &[WireNid]| nids.iter().any(|own| own.net() == nid.net());
            on(kernel) && !on(&self.nids)
        };
        self.attachments.disconnected(is_gone);
        let mut out = Outbox::new(self, None);
        for waiter in self.awaited.disconnected(is_gone) {
            waiter.fail(Lost::Disconnected, &mut out);
        }
        out.flush(self.now_ms());
    }

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
        let Some(proxy) = self.proxy.as_ref().filter(|proxy| proxy.config.role == Role::Node) else { return };
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
