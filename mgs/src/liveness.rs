//! Heartbeats. They are kept in memory only: a dead node is noticed by silence, whoever looks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lustre_api::Time;
use lustre_api::node::HeardOf;
use lustre_types::NodeName;

/// How long a node counts as alive after its last heartbeat (it sends one every 10 seconds).
pub const ALIVE_FOR: Duration = Duration::from_secs(30);

/// When each node was last heard of.
#[derive(Default)]
pub struct Liveness(Mutex<HashMap<NodeName, Heard>>);

struct Heard {
    at: Time,
    since: Instant,
    /// When by this instance itself.
    here: Option<Instant>,
}

impl Liveness {
    fn heard(&self) -> MutexGuard<'_, HashMap<NodeName, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node was heard of just now, by this instance.
    pub fn heard_of(&self, node: &NodeName, now: Time) {
        let since = Instant::now();
        self.heard().insert(node.clone(), Heard { at: now, since, here: Some(since) });
    }

    /// Another instance has heard of the node.
    pub fn heard_elsewhere(&self, told: &HeardOf, now: Time) {
        let ago = Duration::from_millis(told.ago_ms);
        let Some(since) = Instant::now().checked_sub(ago) else { return };
        let at = Time::from_unix_ms(now.unix_ms().saturating_sub(told.ago_ms));
        let mut heard = self.heard();
        match heard.get_mut(&told.node) {
            Some(known) if known.since >= since => {}
            Some(known) => (known.at, known.since) = (at, since),
            None => drop(heard.insert(told.node.clone(), Heard { at, since, here: None })),
        }
    }

    /// The nodes that this instance itself heard of lately.
    pub fn heard_here(&self) -> Vec<HeardOf> {
        let heard = self.heard();
        let lately = heard.iter().filter_map(|(node, heard)| {
            let ago = heard.here?.elapsed();
            let ago_ms = u64::try_from(ago.as_millis()).ok()?;
            (ago < ALIVE_FOR).then(|| HeardOf { node: node.clone(), ago_ms })
        });
        lately.collect()
    }

    /// When the node was last heard of, and whether that is recent.
    pub fn of(&self, node: &NodeName) -> (Option<Time>, bool) {
        // The wall clock may jump; whether a node is alive goes by the one that doesn't.
        self.heard().get(node).map_or((None, false), |heard| (Some(heard.at), heard.since.elapsed() < ALIVE_FOR))
    }

    /// Forgets a node.
    pub fn forget(&self, node: &NodeName) {
        self.heard().remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_instance_heard_counts_where_it_is_newer() {
        let (liveness, now) = (Liveness::default(), Time::from_unix_ms(100_000));
        let told = |ago_ms| HeardOf { node: "oss1".parse().unwrap(), ago_ms };
        let oss1 = told(0).node;
        liveness.heard_elsewhere(&told(40_000), now);
        assert_eq!(liveness.of(&oss1), (Some(Time::from_unix_ms(60_000)), false), "long ago is not alive");
        liveness.heard_elsewhere(&told(5_000), now);
        assert_eq!(liveness.of(&oss1), (Some(Time::from_unix_ms(95_000)), true));
        liveness.heard_elsewhere(&told(20_000), now);
        assert_eq!(liveness.of(&oss1), (Some(Time::from_unix_ms(95_000)), true), "older news change nothing");
        assert!(liveness.heard_here().is_empty(), "and nothing is told back");
        liveness.heard_of(&oss1, now);
        liveness.heard_elsewhere(&told(5_000), now);
        assert_eq!(liveness.heard_here()[0].node, oss1);
        assert_eq!(liveness.of(&oss1), (Some(now), true));
    }
}
