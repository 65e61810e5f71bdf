//! The one function that changes the state.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::record::{Change, Record};
use crate::state::{Object, State};

impl State {
    /// Takes in one committed change. The changes of a commit come together, commits in the order of their revisions.
    ///
    /// A record of another kind than its key does not exist: [`Change::decode`] reads what the key promises, and the
    /// constructors of `decide` make no other.
    pub fn apply(&mut self, revision: u64, change: Change) {
        debug_assert!(revision >= self.revision, "commits are applied in order");
        self.revision = revision;
        match (change.key, change.record) {
            (Key::Mgs, Some(Record::Mgs(value))) => {
                let created = self.mgs.as_ref().map_or(revision, |mgs| mgs.created);
                self.mgs = Some(Object { value, created, revision });
            }
            (Key::Filesystem(key), Some(Record::Filesystem(new))) => put(&mut self.filesystems, key, new, revision),
            (Key::Retired(key), Some(Record::Retired(new))) => put(&mut self.retired, key, new, revision),
            (Key::Target(key), Some(Record::Target(new))) => put(&mut self.targets, key, *new, revision),
            (Key::Device(node, device), Some(Record::Device(new))) => {
                put(&mut self.devices, (node, device), new, revision);
            }
            (Key::Param(key), Some(Record::Param(new))) => put(&mut self.params, key, new, revision),
            (Key::Nodemap(key), Some(Record::Nodemap(new))) => put(&mut self.nodemaps, key, *new, revision),
            (Key::NodemapsActive, Some(Record::NodemapsActive(value))) => {
                let created = self.nodemaps_active.as_ref().map_or(revision, |active| active.created);
                self.nodemaps_active = Some(Object { value, created, revision });
            }
            (Key::Temporary(key), Some(Record::Temporary(new))) => put(&mut self.temporary, key, new, revision),
            (Key::Pool(fsname, pool), Some(Record::Pool(new))) => put(&mut self.pools, (fsname, pool), new, revision),
            (Key::Node(key), Some(Record::Node(new))) => {
                self.nodes_by_revision.changed(&key, revision_of(&self.nodes, &key), revision);
                put(&mut self.nodes, key, *new, revision);
            }
            (Key::Job(key), Some(Record::Job(new))) => {
                match new.job.state.is_final() {
                    true => drop(self.open_jobs.remove(&key)),
                    false => drop(self.open_jobs.insert(key.clone())),
                }
                self.jobs_by_revision.changed(&key, revision_of(&self.jobs, &key), revision);
                put(&mut self.jobs, key, *new, revision);
            }
            (Key::Hold(key), Some(Record::Hold(new))) => put(&mut self.holds, key, new, revision),
            (Key::Owner(key), Some(Record::Owner(new))) => put(&mut self.owners, key, new, revision),
            (Key::Webhook(key), Some(Record::Webhook(new))) => put(&mut self.webhooks, key, new, revision),
            (Key::Log(fsname, number), Some(Record::Log(event))) => {
                self.logs.entry(fsname).or_default().apply(number, revision, &event);
            }
            (Key::NidTable(key), Some(Record::NidTable(new))) => put(&mut self.nid_tables, key, new, revision),
            (Key::NidRow(key), Some(Record::NidRow(new))) => put(&mut self.nid_rows, key, new, revision),
            (Key::Source, Some(Record::Source(value))) => {
                let created = self.source.as_ref().map_or(revision, |source| source.created);
                self.source = Some(Object { value: *value, created, revision });
            }
            (Key::Removed(key), Some(Record::Removed(new))) => put(&mut self.removed, key, *new, revision),
            (key, _) => self.remove(&key),
        }
    }

    /// Takes in an object as it is in the store now, with the revision that made it: for the first state of a process.
    pub fn load(&mut self, created: u64, revision: u64, change: Change) {
        let reached = self.revision;
        // As if it had been made then and changed now: `apply` keeps what it finds as the first revision.
        self.revision = 0;
        if created != revision {
            self.apply(created, change.clone());
        }
        self.apply(revision, change);
        self.revision = reached.max(revision);
    }

    /// Takes in a commit that changed nothing that is known here.
    pub fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Mgs => self.mgs = None,
            Key::Filesystem(key) => drop(self.filesystems.remove(key)),
            Key::Retired(key) => drop(self.retired.remove(key)),
            Key::Target(key) => drop(self.targets.remove(key)),
            Key::Device(node, device) => drop(self.devices.remove(&(node.clone(), device.clone()))),
            Key::Param(key) => drop(self.params.remove(key)),
            Key::Nodemap(key) => drop(self.nodemaps.remove(key)),
            Key::NodemapsActive => self.nodemaps_active = None,
            Key::Temporary(key) => drop(self.temporary.remove(key)),
            Key::Pool(fsname, pool) => drop(self.pools.remove(&(fsname.clone(), pool.clone()))),
            Key::Node(key) => {
                self.nodes_by_revision.removed(key, revision_of(&self.nodes, key));
                self.nodes.remove(key);
            }
            Key::Job(key) => {
                self.open_jobs.remove(key);
                self.jobs_by_revision.removed(key, revision_of(&self.jobs, key));
                self.jobs.remove(key);
            }
            Key::Hold(key) => drop(self.holds.remove(key)),
            Key::Owner(key) => drop(self.owners.remove(key)),
            Key::Webhook(key) => drop(self.webhooks.remove(key)),
            // No decision removes one: logs are made of all their changes.
            Key::Log(..) => {}
            Key::NidTable(key) => drop(self.nid_tables.remove(key)),
            Key::NidRow(key) => drop(self.nid_rows.remove(key)),
            Key::Source => self.source = None,
            Key::Removed(key) => drop(self.removed.remove(key)),
        }
    }
}

fn put<K: Ord, T>(map: &mut BTreeMap<K, Object<T>>, key: K, value: T, revision: u64) {
    let created = map.get(&key).map_or(revision, |before| before.created);
    map.insert(key, Object { value, created, revision });
}

fn revision_of<K: Ord, T>(map: &BTreeMap<K, Object<T>>, key: &K) -> Option<u64> {
    map.get(key).map(|object| object.revision)
}
