//! Server-sent events, read. Source: HTML standard, section 9.2 (event streams).

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lustre_api::Problem;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::{ClientError, chain};

/// Longest event that is taken, in bytes.
const MAX_EVENT_BYTES: usize = 16 << 20;
/// After so long without a byte the server's machine is taken for gone: servers show every 15 s that a stream lives.
const SILENCE: Duration = Duration::from_secs(45);

/// Events of a server, as they happen.
pub struct EventStream<T> {
    url: String,
    chunks: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: Vec<u8>,
    /// When anything came last.
    heard: Instant,
    event: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> EventStream<T> {
    pub(super) fn new(
        url: String,
        chunks: impl futures::Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self { url, chunks: chunks.boxed(), buffer: Vec::new(), heard: Instant::now(), event: PhantomData }
    }

    /// The next event with its id; `None` when the server ended the stream. Dropping the future loses nothing.
    /// Errors: the server's problem, a connection that broke or fell silent, something that is no event.
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
            match timeout_at(self.heard + SILENCE, self.chunks.next()).await {
                Err(_) => {
                    let silence = SILENCE.as_secs();
                    return Err(ClientError::Unreachable(format!("{} has been silent for {silence} s", self.url)));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Ok(chunk))) => {
                    self.heard = Instant::now();
                    self.buffer.extend_from_slice(&chunk);
                }
                Ok(Some(Err(err))) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_is_gone_and_one_that_shows_that_it_lives_is_not() {
        let sent = [(40, ":\n\n"), (40, "id: 7\ndata: 1\n\n")].map(|(after_s, text)| async move {
            tokio::time::sleep(Duration::from_secs(after_s)).await;
            Ok(Bytes::from(text))
        });
        let chunks = futures::stream::iter(sent).then(|chunk| chunk).chain(futures::stream::pending());
        let mut events = EventStream::<u32>::new("http://10.0.0.1:7070".into(), chunks);
        assert_eq!(events.next().await.unwrap(), Some(("7".into(), 1)));
        let begun = Instant::now();
        // Who looks up in between, as a select does, still notices.
        let err = loop {
            if let Ok(next) = tokio::time::timeout(Duration::from_secs(7), events.next()).await {
                break next.unwrap_err();
            }
        };
        assert!(matches!(&err, ClientError::Unreachable(said) if said.contains("10.0.0.1:7070")), "{err}");
        assert_eq!(begun.elapsed(), SILENCE);
    }
}
