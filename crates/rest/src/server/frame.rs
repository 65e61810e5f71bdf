//! Server-sent events, written. Source: HTML standard, section 9.2 (event streams).

use std::convert::Infallible;
use std::fmt::Write;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use lustre_api::Problem;
use serde::Serialize;

/// How often a comment shows that a stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event of a stream, written out. Clones share the text: what a thousand connections are told is written once.
#[derive(Debug)]
pub struct Frame<T> {
    bytes: Bytes,
    event: PhantomData<fn() -> T>,
}

impl<T> Clone for Frame<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), event: PhantomData }
    }
}

impl<T: Serialize> Frame<T> {
    /// An event with the id to begin again after.
    pub fn new(id: u64, event: &T) -> Self {
        Self { bytes: text(&format!("id: {id}"), event), event: PhantomData }
    }

    /// An event of a stream that can't be begun again in the middle.
    pub fn without_id(event: &T) -> Self {
        Self { bytes: text("", event), event: PhantomData }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

fn text<T: Serialize>(head: &str, event: &T) -> Bytes {
    // serde_json writes no line breaks, so the text is one data line.
    let json = serde_json::to_string(event).unwrap_or_else(|_| "null".into());
    let mut text = String::with_capacity(head.len() + json.len() + 16);
    if !head.is_empty() {
        let _ = writeln!(text, "{head}");
    }
    let _ = write!(text, "data: {json}\n\n");
    text.into()
}

/// A stream of events as an answer. A problem is an event named `problem`, and the last one.
pub(super) fn answer<T: 'static>(
    events: impl Stream<Item = Result<Frame<T>, Problem>> + Send + Unpin + 'static,
) -> Response {
    // Not begun anew with each event: that would cost a timer for each event of each connection.
    let begin = tokio::time::Instant::now() + KEEP_ALIVE;
    let beat = tokio::time::interval_at(begin, KEEP_ALIVE);
    let body = futures::stream::unfold(Some((events, beat)), |place| async move {
        let (mut events, mut beat) = place?;
        let next = tokio::select! {
            biased;
            next = events.next() => next?,
            _ = beat.tick() => return Some((Ok(Bytes::from_static(b":\n\n")), Some((events, beat)))),
        };
        Some(match next {
            Ok(frame) => (Ok::<_, Infallible>(frame.bytes), Some((events, beat))),
            Err(problem) => (Ok(text("event: problem", &problem)), None),
        })
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_behind_its_id() {
        assert_eq!(Frame::new(7, &"a\nb").bytes, "id: 7\ndata: \"a\\nb\"\n\n");
        assert_eq!(Frame::without_id(&1).bytes, "data: 1\n\n");
    }
}
