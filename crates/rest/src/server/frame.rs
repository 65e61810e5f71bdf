//! Server-sent events, written. Source: HTML standard, section 9.2 (event streams).

use std::convert::Infallible;
use std::fmt::Write;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use lustre_api::Problem;
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep_until};

use super::handover::{Chunks, Handover};

/// How often a comment shows that a stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event of a stream, written out. Clones share the text: what a thousand connections are told is written once.
#[derive(Debug)]
pub struct Frame<T> {
    text: Chunk,
    event: PhantomData<fn() -> T>,
}

impl<T> Clone for Frame<T> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), event: PhantomData }
    }
}

impl<T: Serialize> Frame<T> {
    /// An event with the id to begin again after.
    pub fn new(id: u64, event: &T) -> Self {
        Self { text: text(&format!("id: {id}"), event), event: PhantomData }
    }

    /// An event of a stream that can't be begun again in the middle.
    pub fn without_id(event: &T) -> Self {
        Self { text: text("", event), event: PhantomData }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.framed.len()
    }
}

/// A piece of an answer, with what HTTP writes around it when the answer's length is not known (RFC 9112, 7.1).
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    framed: Bytes,
    /// Where the text begins, behind its length; it ends before the last line's end.
    begin: usize,
}

impl Chunk {
    pub(super) fn new(text: &str) -> Self {
        let length = format!("{:x}\r\n", text.len());
        Self { begin: length.len(), framed: [&length, text, "\r\n"].concat().into() }
    }

    /// As it is on the wire.
    pub(super) fn framed(self) -> Bytes {
        self.framed
    }

    fn text(&self) -> Bytes {
        self.framed.slice(self.begin..self.framed.len() - 2)
    }
}

fn text<T: Serialize>(head: &str, event: &T) -> Chunk {
    // serde_json writes no line breaks, so the text is one data line.
    let json = serde_json::to_string(event).unwrap_or_else(|_| "null".into());
    let mut text = String::with_capacity(head.len() + json.len() + 16);
    if !head.is_empty() {
        let _ = writeln!(text, "{head}");
    }
    let _ = write!(text, "data: {json}\n\n");
    Chunk::new(&text)
}

/// A stream of events as an answer. A problem is an event named `problem`, and the last one. Where there is a connection that
/// can be handed over, it is.
pub(super) fn answer<T: 'static>(
    events: impl Stream<Item = Result<Frame<T>, Problem>> + Send + Unpin + 'static,
    connection: Option<Handover>,
) -> Response {
    let text = Text { events: Some(events), beat: Beat::new() };
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    match connection {
        // Nothing comes behind the stream.
        Some(handover) => (headers, [(header::CONNECTION, "close")], handover.body(Box::new(text))).into_response(),
        None => (headers, Body::new(text)).into_response(),
    }
}

/// The text of a stream of events. Thousands of them have the same event to tell at once, so it is no more than it has to be.
struct Text<S> {
    events: Option<S>,
    beat: Beat,
}

impl<T, S> Chunks for Text<S>
where
    S: Stream<Item = Result<Frame<T>, Problem>> + Send + Unpin,
{
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        Poll::Ready(match events.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(frame))) => Some(frame.text),
            Poll::Ready(Some(Err(problem))) => {
                self.events = None;
                Some(text("event: problem", &problem))
            }
            Poll::Ready(None) => {
                self.events = None;
                None
            }
            Poll::Pending => {
                ready!(self.beat.poll(cx));
                Some(Chunk::new(":\n\n"))
            }
        })
    }
}

impl<T, S> HttpBody for Text<S>
where
    S: Stream<Item = Result<Frame<T>, Problem>> + Send + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let chunk = ready!(self.get_mut().poll_chunk(cx));
        Poll::Ready(chunk.map(|chunk| Ok(hyper::body::Frame::data(chunk.text()))))
    }
}

/// Beats every [`KEEP_ALIVE`]; not begun anew with each event, which would cost a timer for each event of each connection.
struct Beat {
    timer: Pin<Box<Sleep>>,
    due: Instant,
    /// Whom the timer wakes.
    waker: Option<Waker>,
}

impl Beat {
    fn new() -> Self {
        let due = Instant::now() + KEEP_ALIVE;
        Self { timer: Box::pin(sleep_until(due)), due, waker: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        // The timer is not touched where it is known to wake this task later on.
        if now < self.due && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        ready!(self.timer.as_mut().poll(cx));
        (self.due, self.waker) = (now + KEEP_ALIVE, None);
        self.timer.as_mut().reset(self.due);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_behind_its_id() {
        assert_eq!(Frame::new(7, &"a\nb").text.text(), "id: 7\ndata: \"a\\nb\"\n\n");
        assert_eq!(Frame::without_id(&1).text.text(), "data: 1\n\n");
        assert_eq!(Frame::without_id(&"0123456789").text.framed(), "14\r\ndata: \"0123456789\"\n\n\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_lives_shows_it_every_15_seconds_also_between_events() {
        let begun = Instant::now();
        let events = futures::stream::iter([20, 45]).then(move |at_s| async move {
            tokio::time::sleep_until(begun + Duration::from_secs(at_s)).await;
            Ok(Frame::without_id(&at_s))
        });
        let mut body = answer(events.boxed(), None).into_body().into_data_stream();
        let mut told = Vec::new();
        while let Some(text) = body.next().await {
            told.push((begun.elapsed().as_secs(), String::from_utf8(text.unwrap().to_vec()).unwrap()));
        }
        let beat = |at_s| (at_s, ":\n\n".to_owned());
        let event = |at_s| (at_s, format!("data: {at_s}\n\n"));
        // The one at 45 s is an event: that it lives is seen.
        assert!(told.starts_with(&[beat(15), event(20), beat(30)]), "{told:?}");
        assert_eq!(told.iter().filter(|line| line.1 != ":\n\n").count(), 2, "{told:?}");
    }

    #[tokio::test]
    async fn a_problem_is_the_last_that_is_told() {
        let events = [Ok(Frame::new(1, &1)), Err(Problem::invalid("no more")), Ok(Frame::new(2, &2))];
        let body = answer(futures::stream::iter(events), None).into_body();
        let text = axum::body::to_bytes(body, 1000).await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.starts_with("id: 1\ndata: 1\n\nevent: problem\ndata: {"), "{text}");
        assert!(text.ends_with("}\n\n") && !text.contains("id: 2"), "{text}");
    }
}
