//! Endpoints as calls.

mod events;
mod plan;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use lustre_api::{Endpoint, Method, Problem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::openapi::is_nothing;
pub use events::EventStream;
pub use plan::Made;
use servers::{Server, Servers};

/// How long an answer may take; long polls wait up to 60 s on the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// What stands as it is in a part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A client of one server, or of several that are as good as each other. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    servers: Servers,
    /// As given, for messages.
    url: String,
    /// What every path begins with.
    below: String,
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
    #[error(
        "{url:?} is no address of a server; use one like http://10.0.0.1:7070 or unix:///run/lustre-mgs/api.sock, or several \
         with commas between"
    )]
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
    /// A client for `http://host:port`, `https://host:port` or `unix:///path`; `token` goes along with every call. Of several,
    /// with commas between, the one that answered last is asked, and the next where it doesn't.
    /// Nothing is connected yet. Errors: [`ClientError::Url`].
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let token = token.map(str::to_owned);
        Ok(Self { servers: Servers::new(url)?, url: url.to_owned(), below: String::new(), token })
    }

    /// The server's address, as given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of what the same server offers below a path, as in `/mgs`, under which an agent passes calls on to the MGS.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { below: format!("{}{path}", self.below), ..self.clone() }
    }

    /// Calls an endpoint. What could not be sent is sent again a few times, and to every server; what perhaps arrived only if
    /// it changes nothing, or a server said that it can't do it now.
    /// Errors: [`ClientError`] tells a refusal from silence.
    pub async fn call<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Reply, ClientError> {
        self.call_within::<E>(ANSWER_TIMEOUT, path, query, body).await
    }

    /// As [`Client::call`], with no more time for each server's answer.
    pub async fn call_within<E: Endpoint>(
        &self,
        timeout: Duration,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Reply, ClientError> {
        let (response, server) = self.send::<E>(path, query, body, Some(timeout)).await?;
        let bytes = response.bytes().await.map_err(|err| server.unreachable(&err))?;
        serde_json::from_slice(&bytes).map_err(|err| {
            ClientError::NotUnderstood(format!("{} answered {} with something else: {err}", server.url, E::NAME))
        })
    }

    /// Calls an endpoint for an answer that is not JSON: its bytes. Errors: as [`Client::call`].
    pub async fn bytes<E: Endpoint>(&self, path: &E::Path, query: &E::Query) -> Result<Vec<u8>, ClientError>
    where
        E::Body: Default,
    {
        let (response, server) = self.send::<E>(path, query, &E::Body::default(), Some(ANSWER_TIMEOUT)).await?;
        response.bytes().await.map(Into::into).map_err(|err| server.unreachable(&err))
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
        let (response, server) = self.send::<E>(path, query, &E::Body::default(), None).await?;
        Ok(EventStream::new(server.url.clone(), response.bytes_stream()))
    }

    /// Sends what somebody else asked for, and gives the answer as it is, also a refusal. `path` begins with `/` and may have a
    /// query. Errors: [`ClientError::Unreachable`].
    pub async fn pass_on(
        &self,
        method: &reqwest::Method,
        path: &str,
        headers: &reqwest::header::HeaderMap,
        body: &bytes::Bytes,
    ) -> Result<reqwest::Response, ClientError> {
        let is_read = method == reqwest::Method::GET;
        let request = |server: &Server| {
            server.request(method.clone(), &format!("{}{path}", self.below)).headers(headers.clone()).body(body.clone())
        };
        Ok(self.servers.ask(is_read, request).await?.0)
    }

    async fn send<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
        timeout: Option<Duration>,
    ) -> Result<(reqwest::Response, Arc<Server>), ClientError> {
        let path = format!("{}{}", self.below, fill(E::PATH, path));
        let method = match E::METHOD {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let request = |server: &Server| {
            let mut request = server.request(method.clone(), &path).query(query);
            if let Some(timeout) = timeout {
                request = request.timeout(timeout);
            }
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            if !is_nothing::<E::Body>() {
                request = request.json(body);
            }
            request
        };
        let (response, server) = self.servers.ask(E::METHOD == Method::Get, request).await?;
        if response.status().is_success() {
            return Ok((response, server));
        }
        Err(refusal(&server.url, response).await)
    }
}

async fn refusal(url: &str, response: reqwest::Response) -> ClientError {
    let status = response.status();
    let bytes = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => ClientError::Problem(problem),
        Err(_) => ClientError::NotUnderstood(format!("{url} answered {status}, not as such a server does")),
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
        for url in ["", "localhost:7070", "ftp://x", "unix://run/x", "http://", "http://a:1,", "http://a:1;http://b:1"]
        {
            let err = Client::new(url, None).unwrap_err();
            assert!(matches!(err, ClientError::Url { .. }), "{url}");
            assert!(err.to_string().contains("http://10.0.0.1:7070"), "{err}");
        }
    }
}
