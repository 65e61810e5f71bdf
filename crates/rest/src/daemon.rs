//! What every daemon does the same way: it logs, listens, says where, and serves until told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use clap::ValueEnum;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::Listener;

/// How long an address that is in use is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Shapes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Starts the log, to standard error. `filter` is as in `info` or `lustre_mgs=debug,rest=debug`; the variable
    /// `RUST_LOG` overrides it.
    pub fn start(self, filter: &str) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self {
            Self::Text => log.init(),
            Self::Json => log.json().flatten_event(true).init(),
        }
    }
}

/// The bound sockets of a daemon.
pub struct Listeners(Vec<Listener>);

/// An address or path that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {on}")]
pub struct ListenError {
    on: String,
    source: io::Error,
}

impl Listeners {
    /// Binds them all. Addresses other than loopback are warned of in the log. Errors: the first that can't be bound.
    pub async fn bind(addresses: &[SocketAddr], socket: Option<&Path>) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for address in addresses {
            if !address.ip().is_loopback() {
                warn!(%address, "the API has no authentication yet and listens beyond this machine");
            }
            let bound = patiently(|| Listener::tcp(*address)).await;
            listeners.push(bound.map_err(|source| ListenError { on: address.to_string(), source })?);
        }
        if let Some(path) = socket {
            let bound = patiently(|| Listener::unix(path)).await;
            listeners.push(bound.map_err(|source| ListenError { on: path.display().to_string(), source })?);
        }
        Ok(Self(listeners))
    }

    /// Where clients find the first of them.
    pub fn url(&self) -> Option<String> {
        self.0.first().map(Listener::url)
    }

    /// Where other machines find it: the first address that is not loopback's, where there is one.
    pub fn url_for_others(&self) -> Option<String> {
        let is_for_others = |listener: &&Listener| listener.is_for_others();
        self.0.iter().find(is_for_others).or(self.0.first()).map(Listener::url)
    }

    /// Serves on all of them until `stop` says true. Each is told on standard output, as in `listening on
    /// http://127.0.0.1:7070`: who asked for port 0 wants to know. All have ended when the set is empty.
    pub fn serve(self, router: &Router, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        for listener in self.0 {
            say_listening(&listener.url());
            serving.spawn(listener.serve(router.clone(), stop.clone()));
        }
        serving
    }
}

/// Tries again for a moment where an address is in use: a daemon that was killed leaves its sockets to a program that it was
/// just starting, until that one runs.
async fn patiently<F>(bind: impl Fn() -> F) -> io::Result<Listener>
where
    F: Future<Output = io::Result<Listener>>,
{
    let asked = Instant::now();
    loop {
        match bind().await {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse && asked.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Tells whoever started the daemon, and the log, where it listens. A reader that has gone away is no reason to end.
pub fn say_listening(url: &str) {
    info!(url, "listening");
    let _ = writeln!(io::stdout(), "listening on {url}");
}
