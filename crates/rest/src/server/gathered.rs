//! Short pieces in one write: hyper hands over an answer's head, the length of a chunk, the chunk and its end apart, and the
//! kernel takes longer over a list of pieces than a copy takes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handover::Handover;

/// Bytes that are worth copying.
const SHORT: usize = 2048;

/// A connection that is written to in one piece where it can be.
pub(super) struct Gathered<S> {
    socket: S,
    /// Is told when all is written.
    handover: Handover,
}

impl<S> Gathered<S> {
    pub(super) fn new(socket: S, handover: Handover) -> Self {
        Self { socket, handover }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (mut gathered, mut len) = ([0; SHORT], 0);
        for piece in pieces {
            let Some(room) = gathered.get_mut(len..len + piece.len()) else {
                return Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
            };
            room.copy_from_slice(piece);
            len += piece.len();
        }
        Pin::new(&mut self.socket).poll_write(cx, &gathered[..len])
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.handover.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn short_pieces_and_long_ones_arrive_whole_and_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut ours = Gathered::new(ours, Handover::default());
        for pieces in [["2\r\n", "ok", "\r\n"], ["head", &"x".repeat(SHORT), "end"], ["", "", ""], ["", "a", ""]] {
            let sent = pieces.concat();
            let slices = pieces.map(|piece| IoSlice::new(piece.as_bytes()));
            let mut written = ours.write_vectored(&slices).await.unwrap();
            while written < sent.len() {
                written += ours.write(&sent.as_bytes()[written..]).await.unwrap();
            }
            let mut read = vec![0; sent.len()];
            theirs.read_exact(&mut read).await.unwrap();
            assert_eq!(read, sent.as_bytes());
        }
    }
}
