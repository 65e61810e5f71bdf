//! One established connection: what waits to be written, and its end.

use crate::{message::Payload, peer::Peer};
use bytes::Bytes;
use futures::task::AtomicWaker;
use lustre_wire::lnet::{ConnType, HelloVersion, NidForm};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::net::{TcpStream, tcp::OwnedWriteHalf};

/// Slices of one system call; a reply is one or two.
const SLICES: usize = 48;

/// Payload of its own from which on a frame takes it over instead of copying it behind its header.
const LARGE: usize = 16 << 10;
/// Frames that the queue of an idle connection has room for.
const IDLE_ROOM: usize = 4;

/// A frame on its way: bytes of its own, then bytes that others share.
#[derive(Debug)]
pub(crate) struct Frame {
    own: Vec<u8>,
    shared: Bytes,
}

impl Frame {
    /// A frame of these header bytes and this payload.
    pub(crate) fn new(mut head: Vec<u8>, payload: Payload) -> Self {
        let Payload { own, shared } = payload;
        if own.len() >= LARGE && shared.is_empty() {
            return Self { own: head, shared: own.into() };
        }
        // One slice less for each system call to look at.
        head.extend_from_slice(&own);
        Self { own: head, shared }
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    /// The parts that are left after `skip` bytes.
    fn slices(&self, mut skip: usize) -> impl Iterator<Item = &[u8]> {
        [&self.own[..], &self.shared].into_iter().filter_map(move |part| {
            let cut = skip.min(part.len());
            skip -= cut;
            Some(&part[cut..]).filter(|left| !left.is_empty())
        })
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written.
    written: usize,
}

impl Queue {
    fn advance(&mut self, mut bytes: usize) {
        while let Some(front) = self.frames.front() {
            let left = front.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.written = 0;
            self.frames.pop_front();
        }
    }
}

/// An established connection. Its reader task owns the other half of the socket.
pub(crate) struct Conn {
    pub(crate) peer: Arc<Peer>,
    /// As this end sees it.
    pub(crate) ctype: ConnType,
    pub(crate) version: HelloVersion,
    pub(crate) remote: SocketAddr,
    /// True if the peer dialled.
    pub(crate) is_passive: bool,
    /// A listener may have renamed a node that dialled from a port above 1023: what it sends then names another NID.
    pub(crate) takes_any_target: bool,
    write: OwnedWriteHalf,
    queue: Mutex<Queue>,
    /// True while the socket takes no more; the reader task then waits for it.
    is_blocked: AtomicBool,
    waker: AtomicWaker,
    closed: OnceLock<String>,
    /// Milliseconds of the node's clock: last byte read, first byte of an unfinished frame (0: none), last progress of
    /// a blocked write (0: not blocked), last write.
    pub(crate) read_at: AtomicU64,
    pub(crate) unfinished_since: AtomicU64,
    pub(crate) blocked_since: AtomicU64,
}

/// What the handshake settled.
pub(crate) struct Settled {
    pub(crate) ctype: ConnType,
    pub(crate) version: HelloVersion,
    pub(crate) remote: SocketAddr,
    pub(crate) is_passive: bool,
    pub(crate) takes_any_target: bool,
}

impl Conn {
    pub(crate) fn new(peer: Arc<Peer>, settled: Settled, write: OwnedWriteHalf, now: u64) -> Self {
        let Settled { ctype, version, remote, is_passive, takes_any_target } = settled;
        Self {
            peer,
            ctype,
            version,
            remote,
            is_passive,
            takes_any_target,
            write,
            queue: Mutex::default(),
            is_blocked: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            closed: OnceLock::new(),
            read_at: AtomicU64::new(now),
            unfinished_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
        }
    }

    pub(crate) fn form(&self) -> NidForm {
        self.version.nid_form()
    }

    /// Queues a frame; [`Conn::flush`] writes it. A closed connection swallows it, as one that dies a moment later would.
    pub(crate) fn push(&self, frame: Frame) {
        let mut queue = self.queue.lock().expect("no code panics under this lock");
        if self.closed.get().is_some() {
            return;
        }
        self.peer.queued.fetch_add(frame.len(), Ordering::Relaxed);
        queue.frames.push_back(frame);
    }

    /// Writes what the socket takes now; the reader task writes the rest when the socket takes more.
    pub(crate) fn flush(&self, now: u64) {
        let mut queue = self.queue.lock().expect("no code panics under this lock");
        while !queue.frames.is_empty() {
            if self.closed.get().is_some() {
                break;
            }
            match self.write_some(&queue) {
                Ok(bytes) => {
                    queue.advance(bytes);
                    self.peer.sent(bytes);
                    if self.is_blocked.load(Ordering::Relaxed) {
                        self.blocked_since.store(now, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.is_blocked.swap(true, Ordering::AcqRel) {
                        self.blocked_since.store(now, Ordering::Relaxed);
                    }
                    drop(queue);
                    self.waker.wake();
                    return;
                }
                Err(error) => {
                    drop(queue);
                    self.close(format!("can't write: {error}"));
                    return;
                }
            }
        }
        // An idle connection keeps next to nothing.
        if queue.frames.capacity() > IDLE_ROOM {
            queue.frames = VecDeque::new();
        }
        self.is_blocked.store(false, Ordering::Release);
        self.blocked_since.store(0, Ordering::Relaxed);
    }

    fn write_some(&self, queue: &Queue) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let mut skip = queue.written;
        for frame in &queue.frames {
            for part in frame.slices(std::mem::take(&mut skip)) {
                let Some(slot) = slices.get_mut(count) else { return self.write.try_write_vectored(&slices) };
                *slot = IoSlice::new(part);
                count += 1;
            }
        }
        match &slices[..count] {
            [only] => self.write.try_write(only),
            many => self.write.try_write_vectored(many),
        }
    }

    /// For the reader task, first thing when it is polled: whoever wakes it from now on has it polled again.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// For the reader task: writes what waits, or arranges to be woken when the socket takes more.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>, now: u64) {
        while self.is_blocked.load(Ordering::Acquire) && self.closed.get().is_none() {
            match self.stream().poll_write_ready(cx) {
                Poll::Ready(Ok(())) => self.flush(now),
                Poll::Ready(Err(error)) => self.close(format!("can't write: {error}")),
                Poll::Pending => return,
            }
        }
    }

    /// Ends the connection; the first reason counts. The reader task notices and cleans up.
    pub(crate) fn close(&self, reason: String) {
        if self.closed.set(reason).is_ok() {
            // It may be gone already.
            let _ = socket2::SockRef::from(self.stream()).shutdown(Shutdown::Both);
            self.waker.wake();
        }
    }

    /// Why the connection ended, if it has.
    pub(crate) fn closed(&self) -> Option<&str> {
        self.closed.get().map(String::as_str)
    }

    /// Wakes the reader task, which may read again.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Drops what was never written.
    pub(crate) fn discard(&self) {
        let mut queue = self.queue.lock().expect("no code panics under this lock");
        let bytes: usize = queue.frames.iter().map(Frame::len).sum::<usize>() - queue.written;
        queue.frames = VecDeque::new();
        queue.written = 0;
        drop(queue);
        self.peer.sent(bytes);
    }

    /// Bytes that the last look found waiting; for the choice between connections of one type.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    fn stream(&self) -> &TcpStream {
        self.write.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: &str, own: &str, shared: &'static str) -> Frame {
        let payload = Payload { own: own.into(), shared: Bytes::from_static(shared.as_bytes()) };
        Frame::new(head.into(), payload)
    }

    #[test]
    fn a_queue_written_in_any_portions_gives_the_same_bytes() {
        for portion in 1..20 {
            let mut queue = Queue::default();
            queue.frames.extend([frame("ab", "cd", "ef"), frame("g", "", ""), frame("h", "", "ij")]);
            let mut written = Vec::new();
            while let Some(front) = queue.frames.front() {
                let left: Vec<u8> = front.slices(queue.written).flatten().copied().collect();
                let all: Vec<u8> = left
                    .into_iter()
                    .chain(queue.frames.iter().skip(1).flat_map(|frame| frame.slices(0).flatten().copied()))
                    .collect();
                let bytes = portion.min(all.len());
                written.extend_from_slice(&all[..bytes]);
                queue.advance(bytes);
            }
            assert_eq!(written, b"abcdefghij", "portions of {portion}");
        }
    }
}
