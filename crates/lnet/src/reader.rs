//! The task of a connection: reads frames, has them handled, writes what waits.
//!
//! A thread's connections share one read buffer; a connection holds memory of its own only while a frame is unfinished.
//! So an idle connection costs a task of a few hundred bytes, and a request that fits the buffer one `read`.

use crate::{
    conn::{Conn, Frame},
    dispatch::Outbox,
    lnet::Inner,
    message::Payload,
    share::Share,
};
use lustre_wire::{
    bytes::{Reader as Fields, WireError},
    lnet::{FrameHeader, FrameKind, Header, checksum},
};
use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::OwnedReadHalf,
};

/// Bytes of the read buffer that a thread has.
const BUFFER: usize = 64 << 10;

/// Bytes of an unfinished frame that is no larger than a request to an MGS may be.
const SMALL: usize = 8 << 10;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// The reader task of a connection; ends when the connection does.
pub(crate) struct Reader {
    lnet: Arc<Inner>,
    conn: Arc<Conn>,
    read: OwnedReadHalf,
    /// What has come of a frame that isn't whole yet; empty when idle.
    unfinished: Vec<u8>,
    /// True while that may hold whole frames: behind the HELLO, or left alone because too much waits for the peer.
    is_held: bool,
    _permit: Share,
}

/// How far the frames of a read were handled.
struct Taken {
    bytes: usize,
    /// True if frames were left alone because too much waits for the peer.
    is_held: bool,
}

/// Why a connection is closed by this side while it reads.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Malformed(#[from] WireError),
    #[error("message for {0}, which is not here")]
    NotHere(lustre_wire::lnet::WireNid),
    #[error("checksum of a frame is {found:#010x}, its bytes give {right:#010x}")]
    Checksum { found: u32, right: u32 },
    #[error("unfinished frames of all peers fill {0} bytes, which is the limit")]
    Unfinished(usize),
}

impl Reader {
    /// `unfinished` is what came behind the HELLO.
    pub(crate) fn new(
        lnet: Arc<Inner>,
        conn: Arc<Conn>,
        read: OwnedReadHalf,
        unfinished: Vec<u8>,
        permit: Share,
    ) -> Self {
        lnet.unfinished.fetch_add(unfinished.len(), Ordering::Relaxed);
        Self { lnet, conn, read, unfinished, is_held: true, _permit: permit }
    }

    /// Handles what `bytes` adds to the frame that has begun.
    fn take(&mut self, bytes: &[u8], now: u64) -> Result<(), Refusal> {
        // Borrowed, not cloned: counting references to what all threads share would have them wait for each other.
        let Self { lnet, conn, unfinished, is_held, .. } = self;
        conn.read_at.store(now, Ordering::Relaxed);
        let mut out = Outbox::new(lnet, Some(conn));
        let taken = if unfinished.is_empty() {
            let taken = frames(lnet, conn, bytes, &mut out);
            taken.inspect(|taken| unfinished.extend_from_slice(&bytes[taken.bytes..]))
        } else {
            let mut whole = std::mem::take(unfinished);
            lnet.unfinished.fetch_sub(whole.len(), Ordering::Relaxed);
            whole.extend_from_slice(bytes);
            let taken = frames(lnet, conn, &whole, &mut out);
            if let Ok(taken) = &taken {
                whole.drain(..taken.bytes);
                // An idle connection keeps no buffer.
                *unfinished = if whole.is_empty() { Vec::new() } else { whole };
            }
            taken
        };
        out.flush(now);
        let taken = taken?;
        *is_held = taken.is_held;
        if unfinished.is_empty() {
            conn.unfinished_since.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let total = lnet.unfinished.fetch_add(unfinished.len(), Ordering::Relaxed) + unfinished.len();
        if taken.is_held {
            conn.unfinished_since.store(0, Ordering::Relaxed);
        } else if taken.bytes > 0 || conn.unfinished_since.load(Ordering::Relaxed) == 0 {
            conn.unfinished_since.store(now, Ordering::Relaxed);
        }
        // Large ones go first: a request cut in two by the network must not suffer from what others send.
        let limit = lnet.config.limits.unfinished;
        let limit = if unfinished.len() <= SMALL { limit.saturating_mul(2) } else { limit };
        if total > limit { Err(Refusal::Unfinished(limit)) } else { Ok(()) }
    }

    /// One read into the thread's buffer, and the handling of what came.
    fn poll_once(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<io::Result<usize>> {
        SHARED.with_borrow_mut(|shared| {
            let mut buffer = ReadBuf::new(shared);
            // Not try_read: a short poll_read tells tokio that the socket is empty, which saves the read that would say so.
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            if !bytes.is_empty() {
                self.take_or_close(bytes, now);
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }

    fn take_or_close(&mut self, bytes: &[u8], now: u64) {
        if let Err(refusal) = self.take(bytes, now) {
            self.lnet.refusals.closed(&self.conn, &refusal);
            self.conn.close(refusal.to_string());
        }
    }
}

/// Handles the whole frames at the front of `bytes`, until too much waits for the peer.
fn frames(lnet: &Arc<Inner>, conn: &Arc<Conn>, bytes: &[u8], out: &mut Outbox<'_>) -> Result<Taken, Refusal> {
    let form = conn.form();
    let mut taken = 0;
    loop {
        let rest = &bytes[taken..];
        let is_held = conn.peer.is_congested();
        if rest.len() < FrameHeader::LEN || is_held {
            return Ok(Taken { bytes: taken, is_held });
        }
        let mut fields = Fields::new("frame", rest);
        let frame = FrameHeader::decode(&mut fields)?;
        if frame.kind == FrameKind::Noop {
            // Keepalives need no answer, and this side never asks for the acknowledgements that others carry.
            taken += FrameHeader::LEN;
            lnet.counters.frame_in(FrameHeader::LEN);
            continue;
        }
        let head_len = FrameHeader::LEN + Header::len(form);
        if rest.len() < head_len {
            return Ok(Taken { bytes: taken, is_held: false });
        }
        let header = Header::decode(&mut fields, form)?;
        if !conn.takes_any_target && !lnet.nids.contains(&header.dest_nid) {
            return Err(Refusal::NotHere(header.dest_nid));
        }
        let frame_len = head_len + usize::try_from(header.payload_length).expect("at most 1 MiB: Header::decode");
        let Some(whole) = rest.get(..frame_len) else { return Ok(Taken { bytes: taken, is_held: false }) };
        if frame.csum != 0 {
            let right = checksum(&[&whole[..4], &[0; 4], &whole[8..]]);
            if right != frame.csum {
                return Err(Refusal::Checksum { found: frame.csum, right });
            }
        }
        lnet.counters.frame_in(frame_len);
        lnet.dispatch(conn, &header, &whole[head_len..], out);
        if frame.zc_request != 0 {
            acknowledge(lnet, conn, frame.zc_request);
        }
        taken += frame_len;
    }
}

/// Hands a zero-copy cookie back, once: the kernel closes the connection at a second time.
fn acknowledge(lnet: &Inner, conn: &Arc<Conn>, cookie: u64) {
    let conn = conn.peer.connection_for_noop().unwrap_or_else(|| Arc::clone(conn));
    let mut head = Vec::with_capacity(FrameHeader::LEN);
    FrameHeader::acknowledge(cookie).encode(&mut head);
    lnet.push_frame(&conn, Frame::new(head, Payload::default()));
    conn.flush(lnet.now_ms());
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let reader = self.get_mut();
        // Once for all that is done now, as is the clock.
        reader.conn.register(cx);
        let now = reader.lnet.now_ms();
        loop {
            reader.conn.poll_flush(cx, now);
            if reader.conn.closed().is_some() {
                return Poll::Ready(());
            }
            if reader.conn.peer.is_congested() {
                return Poll::Pending;
            }
            if std::mem::take(&mut reader.is_held) && !reader.unfinished.is_empty() {
                reader.take_or_close(&[], now);
                continue;
            }
            match ready!(reader.poll_once(cx, now)) {
                Ok(0) if reader.unfinished.is_empty() => reader.conn.close("the peer closed it".into()),
                Ok(0) => reader.conn.close("the peer closed it in the middle of a frame".into()),
                Ok(_) => {}
                Err(error) => reader.conn.close(format!("can't read: {error}")),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.lnet.unfinished.fetch_sub(self.unfinished.len(), Ordering::Relaxed);
        self.conn.close("its task ended".into());
        self.lnet.forget(&self.conn);
    }
}
