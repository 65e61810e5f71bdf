//! Transactions: what must hold, and what changes then. Evaluated here, the same way for every embedded backend.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::{Change, Entry, LeaseId, Meta, Revision, StoreError, TxnError, Value};

/// Most operations, and most compares, of one transaction: etcd takes 128, and a few are the store's own.
pub const MAX_OPS: usize = 120;
/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest value in bytes (etcd's requests have at most 1.5 MiB).
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// What must hold for a transaction to commit. Revision 0 stands for "no such key", as in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last written by this revision.
    ModRevision {
        /// The key.
        key: String,
        /// 0: the key must be absent.
        revision: Revision,
    },
    /// The key was created by this revision. Guards ownership: a key that was lost and taken again has another one.
    CreateRevision {
        /// The key.
        key: String,
        /// 0: the key must be absent.
        revision: Revision,
    },
    /// No key that starts with this was written after this revision. Deletions don't count (nor do they in etcd's range
    /// compares, which this becomes there).
    Prefix {
        /// What the keys start with.
        prefix: String,
        /// The last revision that may have written one.
        revision: Revision,
    },
}

impl Compare {
    fn key(&self) -> &str {
        match self {
            Compare::ModRevision { key, .. } | Compare::CreateRevision { key, .. } => key,
            Compare::Prefix { prefix, .. } => prefix,
        }
    }
}

/// One change that a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: Value,
        /// The lease that the key vanishes with.
        lease: Option<LeaseId>,
    },
    /// Removes a key; removing an absent key is no error and no change, but the commit still gets its revision.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// Compares and operations that commit together, with their [`Meta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Who, when, why.
    pub meta: Meta,
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All are done, or none.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction without compares and operations yet.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self { meta, compares: Vec::new(), ops: Vec::new() }
    }

    /// Only if the key does not exist.
    #[must_use]
    pub fn if_absent(self, key: impl Into<String>) -> Self {
        self.if_mod_revision(key, 0)
    }

    /// Only if the key was last written by `revision`.
    #[must_use]
    pub fn if_mod_revision(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::ModRevision { key: key.into(), revision });
        self
    }

    /// Only if the key was created by `revision`.
    #[must_use]
    pub fn if_create_revision(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::CreateRevision { key: key.into(), revision });
        self
    }

    /// Only if no key that starts with `prefix` was written after `revision`.
    #[must_use]
    pub fn if_prefix_unchanged(mut self, prefix: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::Prefix { prefix: prefix.into(), revision });
        self
    }

    /// Writes a key.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.put_op(key, value, None)
    }

    /// Writes a key that vanishes with `lease`.
    #[must_use]
    pub fn put_leased(self, key: impl Into<String>, value: impl AsRef<[u8]>, lease: LeaseId) -> Self {
        self.put_op(key, value, Some(lease))
    }

    fn put_op(mut self, key: impl Into<String>, value: impl AsRef<[u8]>, lease: Option<LeaseId>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: Arc::from(value.as_ref()), lease });
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Checks what can be checked without the store. Errors: [`TxnError`], the first that applies.
    pub fn check(&self) -> Result<(), TxnError> {
        if self.ops.is_empty() {
            return Err(TxnError::Empty);
        }
        let count = self.ops.len().max(self.compares.len());
        if count > MAX_OPS {
            return Err(TxnError::TooManyOps { count });
        }
        for key in self.compares.iter().map(Compare::key).chain(self.ops.iter().map(Op::key)) {
            if key.is_empty() || key.len() > MAX_KEY_BYTES || key.bytes().any(|byte| byte < b' ') {
                return Err(TxnError::BadKey { len: key.len(), start: key.chars().take(40).collect() });
            }
        }
        let mut seen = HashSet::new();
        for op in &self.ops {
            if !seen.insert(op.key()) {
                return Err(TxnError::DuplicateKey { key: op.key().to_owned() });
            }
            if let Op::Put { key, value, .. } = op
                && value.len() > MAX_VALUE_BYTES
            {
                return Err(TxnError::ValueTooLarge { key: key.clone(), len: value.len() });
            }
        }
        Ok(())
    }
}

/// The newest entry of every key that exists.
pub(crate) type Head = BTreeMap<String, Entry>;

/// What `txn` changes if it commits as `revision` on top of `head`. Errors: [`StoreError::Conflict`].
pub(crate) fn evaluate(head: &Head, txn: &Txn, revision: Revision) -> Result<Vec<Change>, StoreError> {
    for compare in &txn.compares {
        let of_key = |key: &String, field: fn(&Entry) -> Revision| head.get(key).map_or(0, field);
        let (key, expected, found) = match compare {
            Compare::ModRevision { key, revision } => (key, *revision, of_key(key, |entry| entry.mod_revision)),
            Compare::CreateRevision { key, revision } => (key, *revision, of_key(key, |entry| entry.create_revision)),
            Compare::Prefix { prefix, revision } => {
                let below = head.range::<String, _>(prefix..).take_while(|(key, _)| key.starts_with(prefix));
                match below.map(|(_, entry)| entry).find(|entry| entry.mod_revision > *revision) {
                    Some(newer) => (&newer.key, *revision, newer.mod_revision),
                    None => continue,
                }
            }
        };
        if expected != found {
            let say = |revision| if revision == 0 { "no such key".to_owned() } else { format!("revision {revision}") };
            return Err(StoreError::Conflict { key: key.clone(), expected: say(expected), found: say(found) });
        }
    }
    Ok(txn.ops.iter().filter_map(|op| change(head, op, revision)).collect())
}

fn change(head: &Head, op: &Op, revision: Revision) -> Option<Change> {
    Some(match op {
        Op::Delete { key } if !head.contains_key(key) => return None,
        Op::Delete { key } => Change::Delete { key: key.clone() },
        Op::Put { key, value, lease } => {
            let before = head.get(key);
            Change::Put(Entry {
                key: key.clone(),
                value: value.clone(),
                create_revision: before.map_or(revision, |e| e.create_revision),
                mod_revision: revision,
                version: before.map_or(1, |e| e.version + 1),
                lease: *lease,
            })
        }
    })
}

/// Brings `head` up to date with changes that were evaluated on it.
pub(crate) fn apply(head: &mut Head, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        match change {
            Change::Put(entry) => head.insert(entry.key.clone(), entry),
            Change::Delete { key } => head.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta { time_ms: 0, who: "test".into(), why: "test".into() }
    }

    #[test]
    fn a_transaction_with_121_operations_is_refused() {
        let txn = (0..121).fold(Txn::new(meta()), |txn, n| txn.put(format!("k{n}"), ""));
        assert_eq!(txn.check(), Err(TxnError::TooManyOps { count: 121 }));
    }

    #[test]
    fn writing_one_key_twice_is_refused() {
        let txn = Txn::new(meta()).put("k", "1").delete("k");
        assert_eq!(txn.check(), Err(TxnError::DuplicateKey { key: "k".into() }));
    }

    #[test]
    fn keys_and_values_have_limits() {
        assert!(matches!(Txn::new(meta()).put("", "1").check(), Err(TxnError::BadKey { len: 0, .. })));
        assert!(matches!(Txn::new(meta()).put("a\tb", "1").check(), Err(TxnError::BadKey { len: 3, .. })));
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        assert!(matches!(Txn::new(meta()).if_absent(&long).put("k", "").check(), Err(TxnError::BadKey { .. })));
        let large = vec![0; MAX_VALUE_BYTES + 1];
        assert!(matches!(Txn::new(meta()).put("k", large).check(), Err(TxnError::ValueTooLarge { .. })));
        assert_eq!(Txn::new(meta()).check(), Err(TxnError::Empty));
    }
}
