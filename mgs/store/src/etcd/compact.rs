//! Compaction of the store's own history, and leases. (etcd's compaction is the business of who runs etcd.)

use std::collections::BTreeSet;
use std::time::Duration;

use super::Shared;
use super::client::one;
use super::error::EtcdError;
use super::layout::{Name, Version, damaged, decode_version, number};
use super::rpc::request_op::Request as Op;
use super::rpc::{DeleteRangeRequest, PutRequest, RequestOp};
use super::writer::{put, unchanged};
use crate::{LeaseId, Revision, StoreError};

/// Deletions in one transaction.
const DELETIONS: usize = 100;
/// A compaction that others overtake is begun again so often.
const TRIES: usize = 20;

impl Shared {
    /// As [`crate::Store::compact`]. First the mark, then the deletions: what a crash leaves behind, the next one removes.
    pub(super) async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            let head = self.catch_up().await?;
            if revision > head {
                return Err(StoreError::Future { asked: revision, head });
            }
            let answer = self.client.range(one(self.layout.compacted())).await?;
            let (before, mod_revision) = match answer.kvs.first() {
                Some(kv) => (number(kv)?, kv.mod_revision),
                None => (0, 0),
            };
            if revision < before {
                return Err(StoreError::Compacted { asked: revision, compacted: before });
            }
            let mark = put(self.layout.compacted(), revision.to_string());
            let guard = unchanged(self.layout.compacted(), mod_revision);
            let marked = self.client.txn(vec![guard], vec![mark], Vec::new()).await?;
            if marked.succeeded {
                break;
            }
            tries += 1;
            if tries == TRIES {
                return Err(StoreError::Unavailable { reason: "others kept compacting the store".into() });
            }
        }
        self.mirror().compact(revision);
        Ok(self.sweep(revision).await?)
    }

    /// Deletes commits up to `revision`, the versions that only they show, and blobs that nothing refers to.
    async fn sweep(&self, revision: Revision) -> Result<(), EtcdError> {
        self.delete(vec![(self.layout.commit(0), self.layout.commit(revision + 1))]).await?;
        // Shadowed versions go before the deletions that shadow them: the other way round, a crash would bring keys back.
        let (mut shadowed, mut deletions, mut blobs) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut before: Option<(String, Vec<u8>, Version)> = None;
        let keep = |version: &Version, blobs: &mut BTreeSet<String>| {
            if let Version::InBlob(_, id) = version {
                blobs.insert(id.clone());
            }
        };
        // Read before the versions: a blob that is written later is not looked at.
        let (from, to) = self.layout.blobs();
        let mut old_blobs = Vec::new();
        self.client
            .pages(from, &to, None, true, |page| {
                for kv in page {
                    // Its name begins with the revision at which it was written.
                    if let Name::Blob(id) = self.layout.parse(&kv.key)
                        && id
                            .get(..16)
                            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                            .is_some_and(|at| at < revision)
                    {
                        old_blobs.push(id.to_owned());
                    }
                }
                Ok(true)
            })
            .await?;
        self.client
            .pages(self.layout.versions_of(""), &self.layout.versions_end(), None, false, |page| {
                for kv in page {
                    let Name::Version(key, at) = self.layout.parse(&kv.key) else {
                        return Err(damaged(&kv, "a key that is none of ours"));
                    };
                    let version = decode_version(&kv, key, at)?;
                    if let Some((last, last_key, last_version)) = before.take() {
                        if last == key && at <= revision {
                            shadowed.push(last_key);
                        } else if last_version == Version::Deleted {
                            deletions.push(last_key);
                        } else {
                            keep(&last_version, &mut blobs);
                        }
                    }
                    if at <= revision {
                        before = Some((key.to_owned(), kv.key.clone(), version));
                    } else {
                        keep(&version, &mut blobs);
                    }
                }
                Ok(true)
            })
            .await?;
        if let Some((_, key, version)) = before {
            match version {
                Version::Deleted => deletions.push(key),
                version => keep(&version, &mut blobs),
            }
        }
        let single = |keys: Vec<Vec<u8>>| keys.into_iter().map(|key| (key, Vec::new())).collect();
        self.delete(single(shadowed)).await?;
        self.delete(single(deletions)).await?;
        old_blobs.retain(|id| !blobs.contains(id));
        self.delete(single(old_blobs.iter().map(|id| self.layout.blob(id)).collect())).await
    }

    /// Deletes keys and ranges, in order.
    async fn delete(&self, ranges: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), EtcdError> {
        for some in ranges.chunks(DELETIONS) {
            let ops = some.iter().map(|(key, range_end)| RequestOp {
                request: Some(Op::RequestDeleteRange(DeleteRangeRequest {
                    key: key.clone(),
                    range_end: range_end.clone(),
                })),
            });
            self.client.txn(Vec::new(), ops.collect(), Vec::new()).await?;
        }
        Ok(())
    }

    /// As [`crate::Store::lease_grant`]; etcd counts in seconds and gives at least about two.
    pub(super) async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let ttl_s = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).clamp(1, 9_000_000_000);
        let id = self.client.lease_grant(ttl_s).await?;
        let lease = LeaseId::try_from(id)
            .map_err(|_| StoreError::Unavailable { reason: format!("etcd gave a lease the number {id}") })?;
        let value = format!("{ttl_s} s").into_bytes();
        let key = PutRequest { key: self.layout.lease(lease), value, lease: id };
        let op = RequestOp { request: Some(Op::RequestPut(key)) };
        self.client.txn(Vec::new(), vec![op], Vec::new()).await?;
        self.mirror().leases.insert(lease);
        Ok(lease)
    }

    /// As [`crate::Store::lease_keepalive`].
    pub(super) async fn lease_keepalive(&self, lease: LeaseId) -> Result<(), StoreError> {
        lease_outcome(lease, self.client.lease_keepalive(etcd_id(lease)?).await)
    }

    /// Ends the lease in etcd; its keys are still there.
    pub(super) async fn lease_revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let ended = self.client.lease_revoke(etcd_id(lease)?).await;
        self.mirror().leases.remove(&lease);
        lease_outcome(lease, ended)
    }
}

fn etcd_id(lease: LeaseId) -> Result<i64, StoreError> {
    i64::try_from(lease).map_err(|_| StoreError::LeaseNotFound { lease })
}

fn lease_outcome(lease: LeaseId, outcome: Result<(), EtcdError>) -> Result<(), StoreError> {
    match outcome {
        Err(EtcdError::LeaseNotFound { .. }) => Err(StoreError::LeaseNotFound { lease }),
        outcome => Ok(outcome?),
    }
}
