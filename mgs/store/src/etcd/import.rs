//! Filling a prefix with a backup.

use super::blob::MAX_INLINE;
use super::client::Client;
use super::error::EtcdError;
use super::layout::{Cluster, FORMAT, Layout, Record, encode_record, encode_version};
use super::rpc::{RangeRequest, RequestOp};
use super::writer::{exists, put};
use super::{EtcdStore, EtcdUrl};
use crate::backup::{self, BackupError, Restored, Sink};
use crate::{Entry, Meta, Revision};
use std::path::Path;

/// Operations, and bytes of values, in one transaction.
const OPS: usize = 100;
const BYTES: usize = 1 << 20;
/// Attempts of one transaction: it writes the same each time.
const TRIES: usize = 5;

struct Import {
    client: Client,
    layout: Layout,
    ops: Vec<RequestOp>,
    bytes: usize,
}

impl Import {
    async fn add(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        if self.ops.len() == OPS || self.bytes + value.len() > BYTES {
            self.flush().await?;
        }
        self.bytes += value.len();
        self.ops.push(put(key, value));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        let (ops, mut tries) = (std::mem::take(&mut self.ops), 1);
        self.bytes = 0;
        loop {
            match self.client.txn(Vec::new(), ops.clone(), Vec::new()).await {
                Err(EtcdError::Unreachable { .. }) if tries < TRIES => tries += 1,
                outcome => return outcome.map(drop).map_err(|err| err.to_string()),
            }
        }
    }
}

impl Sink for Import {
    async fn version(&mut self, key: &str, revision: Revision, entry: Option<Entry>) -> Result<(), String> {
        let large = entry.as_ref().filter(|entry| entry.value.len() > MAX_INLINE);
        let blob = match large {
            Some(entry) => {
                let id = format!("{revision:016x}-{}", uuid::Uuid::new_v4().simple());
                self.add(self.layout.blob(&id), entry.value.to_vec()).await?;
                Some(id)
            }
            None => None,
        };
        self.add(self.layout.version(key, revision), encode_version(entry.as_ref(), blob.as_deref())).await
    }

    async fn commit(&mut self, revision: Revision, meta: Meta, keys: Vec<String>) -> Result<(), String> {
        let record = Record { id: uuid::Uuid::new_v4().simple().to_string(), meta, keys };
        self.add(self.layout.commit(revision), encode_record(&record)).await
    }

    async fn finish(&mut self, revision: Revision, compacted: Revision) -> Result<(), String> {
        self.flush().await?;
        // Last: without it, what is below the prefix is no store, and is refused as such.
        let cluster = serde_json::to_vec(&Cluster { format: FORMAT }).expect("a number always serializes");
        let ops = vec![
            put(self.layout.cluster(), cluster),
            put(self.layout.head(), revision.to_string()),
            put(self.layout.compacted(), compacted.to_string()),
        ];
        let guard = vec![exists(self.layout.cluster(), false)];
        match self.client.txn(guard, ops, Vec::new()).await {
            Ok(answer) if answer.succeeded => Ok(()),
            Ok(_) => Err("somebody else has made a store there meanwhile".into()),
            Err(err) => Err(format!("{err}; look whether the store is there before you try again")),
        }
    }
}

impl EtcdStore {
    /// Fills an empty prefix with a backup. Interrupted, it leaves something that is refused as no store:
    /// `etcdctl del --prefix <prefix>/` removes that.
    pub async fn restore(backup: &Path, url: &EtcdUrl) -> Result<Restored, BackupError> {
        let refused = |reason: String| BackupError::Target { store: url.to_string(), reason };
        let client = Client::new(url).map_err(|err| refused(err.to_string()))?;
        let layout = Layout::new(&url.prefix);
        let (key, range_end) = layout.all();
        let anything = RangeRequest { key, range_end, limit: 1, keys_only: true, ..RangeRequest::default() };
        let found = client.range(anything).await.map_err(|err| refused(err.to_string()))?;
        if !found.kvs.is_empty() {
            return Err(refused(format!(
                "there is something below it already; choose another prefix, or remove it with etcdctl del --prefix {}/",
                url.prefix
            )));
        }
        let mut import = Import { client, layout, ops: Vec::new(), bytes: 0 };
        backup::restore(backup, &url.to_string(), &mut import).await
    }
}
