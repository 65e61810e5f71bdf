//! Endpoints as calls.

mod events;
mod plan;

use std::time::Duration;

use lustre_api::{Endpoint, Method, Problem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::openapi::is_nothing;
pub use events::EventStream;
pub use plan::Made;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take; long polls wait up to 60 s on the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a call is tried when no connection can be made.
const ATTEMPTS: u32 = 3;
/// What stands as it is in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// As given, for messages.
    url: String,
    /// What paths are appended to.
    base: String,
    token: Option<String>,
}

/// Why a call has no answer.
#[derive(Clone, Debug, Error)]
pub enum ClientError {
    /// The server refused, and says why.
    #[error(transparent)]
    Problem(Problem),
    /// The server can't be reached, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// Something answered that is not such a server.
    #[error("{0}")]
    NotUnderstood(String),
    /// The URL is not one.
    #[error("{url:?} is no address of a server; use one like http://10.0.0.1:7070 or unix:///run/lustre-mgs/api.sock")]
    Url {
        /// As given.
        url: String,
    },
}

/// How a connection to `url` is made: to there, through no proxy. The system's certificates are asked for where they are
/// needed only: a node without any must reach `http://` and `unix://`.
pub fn http(url: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().no_proxy();
    #[cfg(feature = "tls")]
    let builder = if url.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
    #[cfg(not(feature = "tls"))]
    let _ = url;
    builder
}

impl Client {
    /// A client for `http://host:port`, `https://host:port` or `unix:///path`; `token` goes along with every call.
    /// Nothing is connected yet. Errors: [`ClientError::Url`].
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
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
        Ok(Self { http, url: url.to_owned(), base, token: token.map(str::to_owned) })
    }

    /// The server's address, as given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of what the same server offers below a path, as in `/mgs`, under which an agent passes calls on to the MGS.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { base: format!("{}{path}", self.base), ..self.clone() }
    }

    /// Calls an endpoint. A connection that can't be made is tried again a few times; nothing else is.
    /// Errors: [`ClientError`] tells a refusal from silence.
    pub async fn call<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Reply, ClientError> {
        let response = self.send::<E>(path, query, body, Some(ANSWER_TIMEOUT)).await?;
        let bytes = response.bytes().await.map_err(|err| self.unreachable(&err))?;
        serde_json::from_slice(&bytes).map_err(|err| {
            ClientError::NotUnderstood(format!("{} answered {} with something else: {err}", self.url, E::NAME))
        })
    }

    /// Calls an endpoint for an answer that is not JSON: its bytes. Errors: as [`Client::call`].
    pub async fn bytes<E: Endpoint>(&self, path: &E::Path, query: &E::Query) -> Result<Vec<u8>, ClientError>
    where
        E::Body: Default,
    {
        let response = self.send::<E>(path, query, &E::Body::default(), Some(ANSWER_TIMEOUT)).await?;
        response.bytes().await.map(Into::into).map_err(|err| self.unreachable(&err))
    }

    /// Calls an endpoint that streams events, until the stream is dropped or ends. Errors: as [`Client::call`].
    pub async fn stream<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
    ) -> Result<EventStream<E::Reply>, ClientError>
    where
        E::Body: Default,
    {
        let response = self.send::<E>(path, query, &E::Body::default(), None).await?;
        Ok(EventStream::new(self.url.clone(), response.bytes_stream()))
    }

    async fn send<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
        timeout: Option<Duration>,
    ) -> Result<reqwest::Response, ClientError> {
        let url = format!("{}{}", self.base, fill(E::PATH, path));
        let method = match E::METHOD {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self.http.request(method, url).query(query);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !is_nothing::<E::Body>() {
            request = request.json(body);
        }
        let request = request.build().map_err(|err| ClientError::NotUnderstood(chain(&err)))?;
        let response = self.execute(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, ClientError> {
        for attempt in 1..ATTEMPTS {
            let Some(copy) = request.try_clone() else { break };
            match self.http.execute(copy).await {
                // Nothing was sent: asking again is safe whatever the call does.
                Err(err) if err.is_connect() => tokio::time::sleep(Duration::from_millis(100) * attempt).await,
                result => return result.map_err(|err| self.unreachable(&err)),
            }
        }
        self.http.execute(request).await.map_err(|err| self.unreachable(&err))
    }

    async fn refusal(&self, response: reqwest::Response) -> ClientError {
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(problem),
            Err(_) => ClientError::NotUnderstood(format!("{} answered {status}, not as such a server does", self.url)),
        }
    }

    fn unreachable(&self, err: &reqwest::Error) -> ClientError {
        let what = if err.is_timeout() { "does not answer" } else { "can't be reached" };
        ClientError::Unreachable(format!("{} {what}: {}", self.url, chain(err)))
    }
}

/// The error's causes, without the URL that messages name anyway.
fn chain(err: &dyn std::error::Error) -> String {
    let mut last = err;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// A path with its variables filled in.
fn fill<P: Serialize>(template: &str, path: &P) -> String {
    let variables = serde_json::to_value(path).unwrap_or(Value::Null);
    let part = |part: &str| match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => match &variables[name] {
            Value::String(text) => utf8_percent_encode(text, PLAIN).to_string(),
            other => other.to_string(),
        },
        None => part.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_can_not_leave_its_part_of_the_path() {
        let path = serde_json::json!({ "fsname": "*", "name": "../a b?x=1" });
        assert_eq!(fill("/v1/params/{fsname}/{name}/x", &path), "/v1/params/%2A/..%2Fa%20b%3Fx%3D1/x");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_an_example() {
        for url in ["", "localhost:7070", "ftp://x", "unix://run/x", "http://"] {
            let err = Client::new(url, None).unwrap_err();
            assert!(matches!(err, ClientError::Url { .. }), "{url}");
            assert!(err.to_string().contains("http://10.0.0.1:7070"), "{err}");
        }
    }
}
