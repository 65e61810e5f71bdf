//! Server-sent events, read. Source: HTML standard, section 9.2 (event streams).

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lustre_api::Problem;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

use super::{ClientError, chain};

/// Longest event that is taken, in bytes.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// Events of a server, as they happen.
pub struct EventStream<T> {
    url: String,
    chunks: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: Vec<u8>,
    event: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> EventStream<T> {
    pub(super) fn new(
        url: String,
        chunks: impl futures::Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self { url, chunks: chunks.boxed(), buffer: Vec::new(), event: PhantomData }
    }

    /// The next event with its id; `None` when the server ended the stream. Dropping the future loses nothing.
    /// Errors: the server's problem, a connection that broke, something that is no event.
    pub async fn next(&mut self) -> Result<Option<(String, T)>, ClientError> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = self.parse(&block)? {
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                return Err(self.strange("an event without end"));
            }
            match self.chunks.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(err)) => {
                    return Err(ClientError::Unreachable(format!("{} broke off: {}", self.url, chain(&err))));
                }
            }
        }
    }

    /// One block of lines; `None` for a comment (they keep the connection alive).
    fn parse(&self, block: &[u8]) -> Result<Option<(String, T)>, ClientError> {
        let text = std::str::from_utf8(block).map_err(|_| self.strange("an event that is not UTF-8"))?;
        let (mut id, mut kind, mut data) = (String::new(), "", None);
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = value.to_owned(),
                "event" => kind = value,
                "data" => data = Some(value),
                _ => {}
            }
        }
        let Some(data) = data else { return Ok(None) };
        if kind == "problem" {
            let problem: Problem = serde_json::from_str(data).map_err(|_| self.strange("an unreadable problem"))?;
            return Err(ClientError::Problem(problem));
        }
        let event = serde_json::from_str(data).map_err(|err| self.strange(&format!("an unreadable event: {err}")))?;
        Ok(Some((id, event)))
    }

    fn strange(&self, what: &str) -> ClientError {
        ClientError::NotUnderstood(format!("{} sent {what}", self.url))
    }
}
