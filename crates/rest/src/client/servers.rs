//! The servers that a client may ask, each as good as the other: instances of one MGS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, header};

use super::{ClientError, chain, http};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often all of them are tried when no connection can be made.
const ATTEMPTS: u32 = 3;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    http: reqwest::Client,
    /// As given, for messages.
    pub(super) url: String,
    /// What paths are appended to.
    base: String,
}

impl Server {
    fn new(url: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Url { url: url.to_owned() };
        let builder = http(url).connect_timeout(CONNECT_TIMEOUT);
        let (builder, base) = match url.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => (builder.unix_socket(path), "http://localhost".to_owned()),
            Some(_) => return Err(bad()),
            None => {
                let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
                if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
                    return Err(bad());
                }
                (builder, url.trim_end_matches('/').to_owned())
            }
        };
        let http = builder.build().map_err(|err| ClientError::Unreachable(chain(&err)))?;
        Ok(Self { http, url: url.to_owned(), base })
    }

    /// A request for what is at `path`, which begins with `/`.
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(super) fn unreachable(&self, err: &reqwest::Error) -> ClientError {
        let what = if err.is_timeout() { "does not answer" } else { "can't be reached" };
        ClientError::Unreachable(format!("{} {what}: {}", self.url, chain(err)))
    }
}

/// All of them, and which one answered last. Clones share that.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    all: Arc<[Arc<Server>]>,
    current: Arc<AtomicUsize>,
}

impl Servers {
    /// Of a list with commas. Errors: [`ClientError::Url`].
    pub(super) fn new(urls: &str) -> Result<Self, ClientError> {
        let all: Result<Vec<_>, _> = urls.split(',').map(|url| Server::new(url.trim()).map(Arc::new)).collect();
        Ok(Self { all: all?.into(), current: Arc::default() })
    }

    /// Asks the server that answered last, and the others where that may help: one that can't be connected to, that can't do
    /// it now, or whose answer may be old. What was perhaps done is asked for again only where it `is_read`.
    ///
    /// Gives the answer, whatever it is, and whose it is. Errors: nobody answered.
    pub(super) async fn ask(
        &self,
        is_read: bool,
        request: impl Fn(&Server) -> RequestBuilder,
    ) -> Result<(Response, Arc<Server>), ClientError> {
        let mut second_best = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let first = self.current.load(Ordering::Relaxed);
            let mut silent = Vec::new();
            for turn in 0..self.all.len() {
                let at = (first + turn) % self.all.len();
                let server = &self.all[at];
                match request(server).send().await {
                    Ok(answer) if self.all.len() > 1 && is_second_best(&answer) => {
                        second_best.get_or_insert((answer, server.clone()));
                    }
                    Ok(answer) => {
                        self.current.store(at, Ordering::Relaxed);
                        return Ok((answer, server.clone()));
                    }
                    // Nothing was sent: asking somebody else is safe whatever the call does.
                    Err(err) if err.is_connect() => silent.push(server.unreachable(&err).to_string()),
                    Err(err) => {
                        self.current.store((at + 1) % self.all.len(), Ordering::Relaxed);
                        if err.is_builder() {
                            return Err(ClientError::NotUnderstood(chain(&err)));
                        }
                        if !is_read || self.all.len() == 1 {
                            return Err(server.unreachable(&err));
                        }
                        silent.push(server.unreachable(&err).to_string());
                    }
                }
            }
            if let Some(answer) = second_best {
                return Ok(answer);
            }
            if attempt == ATTEMPTS {
                return Err(ClientError::Unreachable(silent.join("; ")));
            }
            tokio::time::sleep(Duration::from_millis(100) * attempt).await;
        }
    }
}

/// An instance that has lost its store refuses, or says with its answer that it may be old (RFC 7234, 5.5.1).
fn is_second_best(answer: &Response) -> bool {
    let is_old = || answer.headers().get(header::WARNING).is_some_and(|warning| warning.as_bytes().starts_with(b"110"));
    answer.status() == StatusCode::SERVICE_UNAVAILABLE || is_old()
}
