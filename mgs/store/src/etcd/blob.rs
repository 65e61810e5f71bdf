//! Large values have keys of their own, written before the commit that needs them: so a commit always fits into one request
//! (etcd takes 1.5 MiB), and a page of versions stays small.

use super::Shared;
use super::error::EtcdError;
use super::layout::damaged;
use super::rpc::request_op::Request as Op;
use super::rpc::{KeyValue, PutRequest, RequestOp};
use crate::Value;

/// Longest value that is kept beside its header: 120 of them, with their keys, stay below 1.5 MiB.
pub(super) const MAX_INLINE: usize = 8 * 1024;

impl Shared {
    /// Writes a value, unless it is small; gives the blob's name.
    ///
    /// A blob whose commit never came to be is removed by a later compaction.
    pub(super) async fn write_blob(&self, value: &Value) -> Result<Option<String>, EtcdError> {
        if value.len() <= MAX_INLINE {
            return Ok(None);
        }
        // Begins with the revision by which a compaction sees how old it is.
        let id = format!("{:016x}-{}", self.mirror().revision, uuid::Uuid::new_v4().simple());
        let put = PutRequest { key: self.layout.blob(&id), value: value.to_vec(), lease: 0 };
        // Nobody else knows the name, so a second attempt writes the same.
        let mut tries = 0;
        loop {
            let op = RequestOp { request: Some(Op::RequestPut(put.clone())) };
            match self.client.txn(Vec::new(), vec![op], Vec::new()).await {
                Err(EtcdError::Unreachable { .. }) if tries < 2 => tries += 1,
                outcome => return outcome.map(|_| Some(id)),
            }
        }
    }

    /// Reads blobs; the values in the order of the names.
    pub(super) async fn read_blobs(&self, ids: &[&str], at: Option<i64>) -> Result<Vec<Value>, EtcdError> {
        /// At most 4 MiB an answer.
        const AT_ONCE: usize = 8;
        let mut values = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let ranges = some.iter().map(|id| {
                let mut range = super::client::one(self.layout.blob(id));
                range.revision = at.unwrap_or(0);
                range
            });
            let (_, answers) = self.client.read(ranges.collect()).await?;
            for (id, answer) in some.iter().zip(answers) {
                match answer.kvs.into_iter().next() {
                    Some(kv) => values.push(kv.value.into()),
                    None => {
                        let missing = KeyValue { key: self.layout.blob(id), ..KeyValue::default() };
                        return Err(damaged(&missing, "it is missing"));
                    }
                }
            }
        }
        Ok(values)
    }
}
