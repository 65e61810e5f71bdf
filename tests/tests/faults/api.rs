//! Requests whose answer may not come, and what is known then.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

/// How long a caller waits: less than an election with a lost leader may take, so that some answers are never seen.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Done, or found. `is_stale`: marked as possibly old.
    Good { body: Value, is_stale: bool },
    /// No such object. `is_stale` as above.
    Missing { is_stale: bool },
    /// Nobody knows whether it was done. Why is for who reads the test's output.
    Unknown(#[allow(dead_code)] String),
}

#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    pub(crate) urls: Vec<String>,
}

impl Api {
    pub(crate) fn new(urls: Vec<String>) -> Self {
        // A connection each: none that a fault has silently killed is taken again.
        let http = Client::builder().timeout(PATIENCE).connect_timeout(Duration::from_secs(1)).no_proxy();
        Self { http: http.pool_max_idle_per_host(0).build().unwrap(), urls }
    }

    /// Asks an instance. Panics when it refuses: nothing here may ever be refused.
    pub(crate) async fn ask(&self, at: usize, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.urls[at]));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(err) => return Answer::Unknown(err.to_string()),
        };
        let is_stale = answer.headers().contains_key("warning");
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else { return Answer::Unknown("the answer was cut off".into()) };
        match status {
            200..=299 => Answer::Good { body: serde_json::from_str(&text).unwrap(), is_stale },
            404 => Answer::Missing { is_stale },
            500..=599 => Answer::Unknown(text),
            _ => panic!("{path} through instance {at}: {status} {text}"),
        }
    }

    /// A file's bytes, from an instance.
    pub(crate) async fn bytes(&self, at: usize, path: &str) -> Option<Vec<u8>> {
        let answer = self.http.get(format!("{}{path}", self.urls[at])).send().await.ok()?;
        if !answer.status().is_success() || answer.headers().contains_key("warning") {
            return None;
        }
        Some(answer.bytes().await.ok()?.to_vec())
    }
}
