//! A connection whose answer is a stream of events, once that has begun: HTTP has nothing more to do there, and a thousand of
//! them are told of a change at once. What is left is a task that writes each chunk as it is shared by all of them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::Chunk;

/// The last chunk of an answer (RFC 9112, 7.1).
const LAST: &[u8] = b"0\r\n\r\n";

/// What is told on a connection.
pub(super) trait Chunks: Send {
    /// The next chunk; none at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>>;
}

/// Passes the answer that is written out by HTTP up to its head to the one who writes the rest. One for each connection.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Passing>);

#[derive(Default)]
struct Passing {
    chunks: Mutex<Option<Box<dyn Chunks>>>,
    /// The head is in HTTP's hands: `chunks` are there.
    is_begun: AtomicBool,
    /// The head has been written to the socket.
    is_head_written: AtomicBool,
}

impl Handover {
    /// An answer's body that is handed over.
    pub(super) fn body(self, chunks: Box<dyn Chunks>) -> Body {
        Body::new(Waiting { chunks: Some(chunks), handover: self })
    }

    /// All that HTTP had to write is written.
    pub(super) fn flushed(&self) {
        if self.0.is_begun.load(Ordering::Acquire) {
            self.0.is_head_written.store(true, Ordering::Release);
        }
    }

    /// Polls HTTP: its end, or what is to be told where it has written the head of a stream.
    pub(super) fn poll<F>(
        &self,
        http: &mut F,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Box<dyn Chunks>>, hyper::Error>>
    where
        F: Future<Output = Result<(), hyper::Error>> + Unpin,
    {
        if let Poll::Ready(ended) = Pin::new(http).poll(cx) {
            return Poll::Ready(ended.map(|()| None));
        }
        if !self.0.is_head_written.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        match self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(chunks) => Poll::Ready(Ok(Some(chunks))),
            None => Poll::Pending,
        }
    }
}

/// The body as HTTP sees it: it asks for the first piece when it has the head, and gets none.
struct Waiting {
    chunks: Option<Box<dyn Chunks>>,
    handover: Handover,
}

impl HttpBody for Waiting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(chunks) = this.chunks.take() {
            let passing = &this.handover.0;
            *passing.chunks.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunks);
            passing.is_begun.store(true, Ordering::Release);
        }
        Poll::Pending
    }
}

/// Tells a connection until there is nothing more to tell, or the other end has gone; then closes it. Errors: the socket's.
pub(super) struct Telling<S> {
    socket: S,
    /// None: the last chunk is on its way.
    chunks: Option<Box<dyn Chunks>>,
    /// What the socket has not taken yet.
    owed: Bytes,
}

impl<S> Telling<S> {
    pub(super) fn new(socket: S, chunks: Box<dyn Chunks>) -> Self {
        Self { socket, chunks: Some(chunks), owed: Bytes::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Telling<S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut is_told = false;
        loop {
            while !this.owed.is_empty() {
                let written = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.owed))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                drop(this.owed.split_to(written));
                is_told = true;
            }
            let Some(chunks) = &mut this.chunks else { return Pin::new(&mut this.socket).poll_shutdown(cx) };
            match chunks.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => this.owed = chunk.framed(),
                Poll::Ready(None) => (this.chunks, this.owed) = (None, Bytes::from_static(LAST)),
                // Who was woken to tell something need not look whether somebody is still there: a write fails where nobody
                // is, at the latest that of the next beat.
                Poll::Pending if is_told => return Poll::Pending,
                Poll::Pending => return poll_gone(&mut this.socket, cx),
            }
        }
    }
}

/// Waits for the end of what the other side sends; whatever comes before means nothing any more.
fn poll_gone(socket: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut bytes = [0; 256];
    loop {
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *socket).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;

    /// Tells so many chunks, and then nothing, or the end.
    struct Few {
        left: usize,
        is_endless: bool,
    }

    impl Chunks for Few {
        fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Chunk>> {
            if self.left == 0 {
                return if self.is_endless { Poll::Pending } else { Poll::Ready(None) };
            }
            self.left -= 1;
            Poll::Ready(Some(Chunk::new(&"x".repeat(self.left))))
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_every_chunk_whole_and_the_end() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let telling = tokio::spawn(Telling::new(ours, Box::new(Few { left: 20, is_endless: false })));
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        let chunks = (0..20).rev().map(|n| format!("{n:x}\r\n{}\r\n", "x".repeat(n))).collect::<String>();
        assert_eq!(read, chunks + "0\r\n\r\n");
        telling.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_goes_away_is_noticed_while_there_is_nothing_to_tell_and_when_there_is() {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let silent = tokio::spawn(Telling::new(ours, Box::new(Few { left: 0, is_endless: true })));
        let (ours, mut busy_theirs) = tokio::io::duplex(64);
        let busy = tokio::spawn(Telling::new(ours, Box::new(Few { left: 1000, is_endless: true })));
        busy_theirs.read_exact(&mut [0; 64]).await.unwrap();
        drop((theirs, busy_theirs));
        let soon = Duration::from_secs(10);
        tokio::time::timeout(soon, silent).await.expect("it ends").unwrap().unwrap();
        tokio::time::timeout(soon, busy).await.expect("it ends").unwrap().unwrap_err();
    }

    #[test]
    fn nothing_is_handed_over_before_the_head_is_written() {
        let handover = Handover::default();
        let mut body = handover.clone().body(Box::new(Few { left: 1, is_endless: true }));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut is_given = || {
            let mut http = std::future::pending();
            matches!(handover.poll(&mut http, &mut cx), Poll::Ready(Ok(Some(_))))
        };
        handover.flushed();
        assert!(!is_given(), "another answer was written");
        assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        assert!(!is_given(), "the head waits for its turn");
        handover.flushed();
        assert!(is_given());
        assert!(!is_given(), "once");
    }
}
