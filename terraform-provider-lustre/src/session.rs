//! What the `provider` block said, shared by everything that the provider serves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::mgs::{Failure, Mgs};

/// The connection, as far as it is known, and what this run has seen.
pub(crate) struct Session {
    connection: Mutex<Connection>,
    /// Objects that were planned to be created in this run.
    created: Mutex<HashSet<String>>,
    stop: watch::Sender<bool>,
}

#[derive(Clone)]
enum Connection {
    /// Not configured.
    None,
    /// The endpoint is known after apply.
    Unknown,
    /// There.
    To(Arc<Mgs>),
}

impl Session {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            connection: Mutex::new(Connection::None),
            created: Mutex::new(HashSet::new()),
            stop: watch::Sender::new(false),
        })
    }

    /// Connects, when something is asked, to this MGS; `None`: where it is will be known after apply.
    pub(crate) fn configure(&self, mgs: Option<Mgs>) {
        *lock(&self.connection) = mgs.map_or(Connection::Unknown, |mgs| Connection::To(Arc::new(mgs)));
        lock(&self.created).clear();
    }

    /// The MGS.
    pub(crate) fn mgs(&self) -> Result<Arc<Mgs>, Failure> {
        match lock(&self.connection).clone() {
            Connection::To(mgs) => Ok(mgs),
            Connection::Unknown => Err(Failure::UnknownEndpoint),
            Connection::None => Err(Failure::NotConfigured),
        }
    }

    /// The MGS; `None` while its endpoint is unknown.
    pub(crate) fn mgs_if_known(&self) -> Option<Arc<Mgs>> {
        self.mgs().ok()
    }

    /// True when asked for the first time in this run.
    pub(crate) fn is_first_of(&self, object: &str) -> bool {
        lock(&self.created).insert(object.to_owned())
    }

    /// Tells waiting operations that the user pressed Ctrl-C.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Becomes true when the user pressed Ctrl-C.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}

/// What a panicking thread left is still good: nothing here is changed in steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
