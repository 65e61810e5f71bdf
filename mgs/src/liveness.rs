//! Heartbeats. They are kept in memory only: a dead node is noticed by silence, whoever looks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lustre_api::Time;
use lustre_types::NodeName;

/// How long a node counts as alive after its last heartbeat (it sends one every 10 seconds).
pub const ALIVE_FOR: Duration = Duration::from_secs(30);

/// When each node was last heard of by this instance.
#[derive(Default)]
pub struct Liveness(Mutex<HashMap<NodeName, (Time, Instant)>>);

impl Liveness {
    /// The node was heard of just now.
    pub fn heard_of(&self, node: &NodeName, now: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), (now, Instant::now()));
    }

    /// When the node was last heard of, and whether that is recent.
    pub fn of(&self, node: &NodeName) -> (Option<Time>, bool) {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The wall clock may jump; whether a node is alive goes by the one that doesn't.
        heard.get(node).map_or((None, false), |(at, since)| (Some(*at), since.elapsed() < ALIVE_FOR))
    }

    /// Forgets a node.
    pub fn forget(&self, node: &NodeName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}
