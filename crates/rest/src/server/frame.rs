//! Server-sent events, written. Source: HTML standard, section 9.2 (event streams).

use std::fmt::Write;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use lustre_api::Problem;
use serde::Serialize;

/// How long a stream may be silent before a comment shows that it lives.
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
    let body = futures::stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        let (bytes, rest) = match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
            Err(_) => (Bytes::from_static(b":\n\n"), Some(events)),
            Ok(None) => return None,
            Ok(Some(Ok(frame))) => (frame.bytes, Some(events)),
            Ok(Some(Err(problem))) => (text("event: problem", &problem), None),
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), rest))
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
