//! A description on a web server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};

use super::merge::{Part, merged, sha256};
use super::{Found, MAX_BYTES};
use crate::outgoing;

/// How long the server may take for all of it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Http {
    client: Client,
    url: String,
    token_file: Option<PathBuf>,
    /// What was read last, with its entity tag.
    last: Option<(Option<String>, Found)>,
}

impl Http {
    pub(super) fn new(client: Client, url: String, token_file: Option<PathBuf>) -> Self {
        Self { client, url, token_file, last: None }
    }

    pub(super) async fn read(&mut self) -> anyhow::Result<Found> {
        let mut request = self.client.get(&self.url);
        if let Some(file) = &self.token_file {
            // Read each time: a token that was changed is taken up without a restart.
            let token = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.lines().next().unwrap_or_default()));
        }
        if let Some((Some(tag), _)) = &self.last {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let host = outgoing::host(&self.url).to_owned();
        let failed = |err| anyhow::anyhow!("{host} can't be read: {}", outgoing::reason(err));
        let mut answer = request.send().await.map_err(failed)?;
        if let (StatusCode::NOT_MODIFIED, Some((_, found))) = (answer.status(), &self.last) {
            return Ok(found.clone());
        }
        ensure!(answer.status() == StatusCode::OK, "{host} answered {}", answer.status());
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if text.len() + chunk.len() > MAX_BYTES {
                bail!("what {host} sends is larger than {MAX_BYTES} bytes");
            }
            text.extend_from_slice(&chunk);
        }
        let version = tag.clone().map_or_else(|| sha256(&[&text]), |tag| tag.trim_matches('"').to_owned());
        let desired = merged(vec![Part { name: host, text }])?;
        let found = Found { version, desired };
        self.last = Some((tag, found.clone()));
        Ok(found)
    }
}
