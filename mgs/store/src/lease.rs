//! Leases of the embedded backends. Deadlines are monotonic: a step of the wall clock ends no lease.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::txn::Head;
use crate::{Change, LeaseId, Meta, StoreError};

struct Lease {
    ttl: Duration,
    deadline: Instant,
}

/// The leases that are alive.
#[derive(Default)]
pub(crate) struct Leases {
    alive: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    pub(crate) fn add(&mut self, id: LeaseId, ttl: Duration) {
        self.alive.insert(id, Lease { ttl, deadline: Instant::now() + ttl });
    }

    pub(crate) fn contains(&self, id: LeaseId) -> bool {
        self.alive.contains_key(&id)
    }

    pub(crate) fn keep_alive(&mut self, id: LeaseId) -> Result<(), StoreError> {
        let lease = self.alive.get_mut(&id).ok_or(StoreError::LeaseNotFound { lease: id })?;
        lease.deadline = Instant::now() + lease.ttl;
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: LeaseId) -> Result<(), StoreError> {
        self.alive.remove(&id).map(drop).ok_or(StoreError::LeaseNotFound { lease: id })
    }

    /// The leases whose time is over.
    pub(crate) fn due(&self) -> Vec<LeaseId> {
        let now = Instant::now();
        self.alive.iter().filter(|(_, lease)| lease.deadline <= now).map(|(id, _)| *id).collect()
    }

    /// How long until the next one is due; `None` without leases.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let first = self.alive.values().map(|lease| lease.deadline).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }
}

/// The deletions that the end of a lease causes.
pub(crate) fn orphans(head: &Head, lease: LeaseId) -> Vec<Change> {
    let held = head.values().filter(|entry| entry.lease == Some(lease));
    held.map(|entry| Change::Delete { key: entry.key.clone() }).collect()
}

/// The commit that deletes a lease's keys has no caller; this is the one place where the store reads the wall clock.
pub(crate) fn meta(lease: LeaseId, why: &str) -> Meta {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Meta {
        time_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        who: "store".into(),
        why: format!("lease {lease} {why}"),
    }
}
