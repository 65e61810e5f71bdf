//! Locks that are granted.

use std::collections::{BTreeSet, HashMap};

use lustre_wire::ldlm::ResourceId;

/// One granted lock.
pub(super) struct Lock {
    /// Our handle of it.
    pub(super) handle: u64,
    /// The client's.
    pub(super) client: u64,
    /// The connection.
    pub(super) export: u64,
    pub(super) resource: ResourceId,
    /// Set once it was asked for.
    pub(super) revoked: Option<Revoked>,
}

/// A lock that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Revoked {
    /// Xid of the callback.
    pub(super) xid: u64,
    pub(super) since_ms: u64,
    /// The client said that it will give it back.
    pub(super) is_answered: bool,
}

/// All of them. A lock is in here exactly as long as it is in its export.
#[derive(Default)]
pub(super) struct Locks {
    by_handle: HashMap<u64, Lock>,
    /// Those that nobody has asked for yet: the others need not be looked at when more are asked for.
    unasked: HashMap<ResourceId, BTreeSet<u64>>,
    /// By xid of the callback.
    callbacks: HashMap<u64, u64>,
    revoked: BTreeSet<u64>,
}

impl Locks {
    pub(super) fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub(super) fn contains(&self, handle: u64) -> bool {
        self.by_handle.contains_key(&handle)
    }

    pub(super) fn get(&self, handle: u64) -> Option<&Lock> {
        self.by_handle.get(&handle)
    }

    pub(super) fn insert(&mut self, lock: Lock) {
        self.unasked.entry(lock.resource).or_default().insert(lock.handle);
        self.by_handle.insert(lock.handle, lock);
    }

    pub(super) fn remove(&mut self, handle: u64) -> Option<Lock> {
        let lock = self.by_handle.remove(&handle)?;
        self.asked(&lock.resource, handle);
        if let Some(revoked) = &lock.revoked {
            self.callbacks.remove(&revoked.xid);
            self.revoked.remove(&handle);
        }
        Some(lock)
    }

    /// Some of the locks on a resource that nobody has asked for yet, and whether there are more.
    pub(super) fn to_revoke(&self, resource: &ResourceId, at_most: usize) -> (Vec<u64>, bool) {
        let mut holders = self.unasked.get(resource).into_iter().flatten().copied();
        let some = holders.by_ref().take(at_most).collect();
        (some, holders.next().is_some())
    }

    pub(super) fn revoke(&mut self, handle: u64, revoked: Revoked) {
        if let Some(lock) = self.by_handle.get_mut(&handle) {
            lock.revoked = Some(revoked);
            let resource = lock.resource;
            self.callbacks.insert(revoked.xid, handle);
            self.revoked.insert(handle);
            self.asked(&resource, handle);
        }
    }

    fn asked(&mut self, resource: &ResourceId, handle: u64) {
        if let Some(holders) = self.unasked.get_mut(resource) {
            holders.remove(&handle);
            if holders.is_empty() {
                self.unasked.remove(resource);
            }
        }
    }

    /// The lock that a callback was about.
    pub(super) fn of_callback(&mut self, xid: u64) -> Option<&mut Lock> {
        self.by_handle.get_mut(self.callbacks.get(&xid)?)
    }

    /// Locks that were asked for and are not back.
    pub(super) fn revoked(&self) -> impl Iterator<Item = (&Lock, Revoked)> {
        let locks = self.revoked.iter().filter_map(|handle| self.by_handle.get(handle));
        locks.filter_map(|lock| Some((lock, lock.revoked?)))
    }

    /// How many resources have locks that nobody has asked for.
    #[cfg(test)]
    pub(super) fn resources(&self) -> usize {
        self.unasked.len()
    }
}
