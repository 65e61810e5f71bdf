//! Keeps the history within bounds: what is older than the last so many revisions is forgotten, never what is there now.

use std::sync::Arc;
use std::time::Duration;

use lustre_mgs_store::{Store, StoreError};
use tracing::{info, warn};

use crate::engine::Engine;

/// How often to look.
const EVERY: Duration = Duration::from_secs(60);
/// A compaction for less than this share of what is kept is not worth its writes.
const WORTH_IT: u64 = 10;

/// Forgets what is beyond `keep` revisions, again and again; 0 keeps everything.
pub async fn run(engine: Arc<Engine>, keep: u64) {
    if keep == 0 {
        return;
    }
    loop {
        match once(engine.store(), keep).await {
            Ok(None) => {}
            Ok(Some(revision)) => info!(revision, "history before this revision forgotten"),
            Err(err) => warn!(error = %err, "the history can't be compacted now, will try again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Compacts where that is worth it; says up to which revision.
pub async fn once(store: &dyn Store, keep: u64) -> Result<Option<u64>, StoreError> {
    let bound = store.head().saturating_sub(keep);
    if bound <= store.compacted().saturating_add(keep / WORTH_IT) {
        return Ok(None);
    }
    store.compact(bound).await?;
    Ok(Some(bound))
}

#[cfg(test)]
mod tests {
    // A panic is how a test reports.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use lustre_mgs_store::{MemoryStore, Meta, Txn};

    #[tokio::test]
    async fn the_last_revisions_and_every_present_value_are_kept() {
        let store = MemoryStore::new();
        for at in 0..50u8 {
            let meta = Meta { time_ms: 1, who: "test".into(), why: String::new() };
            store.commit(Txn::new(meta).put(format!("key{}", at % 5), vec![at])).await.unwrap();
        }
        assert_eq!(once(&store, 50).await.unwrap(), None);
        assert_eq!(once(&store, 48).await.unwrap(), None, "not for two revisions");
        assert_eq!(once(&store, 20).await.unwrap(), Some(30));
        assert_eq!((store.head(), store.compacted()), (50, 30));
        assert_eq!(store.get("key4", None).await.unwrap().unwrap().value[..], [49]);
        assert!(store.get("key0", Some(31)).await.is_ok());
        assert!(matches!(store.get("key0", Some(29)).await, Err(StoreError::Compacted { .. })));
        assert_eq!(once(&store, 20).await.unwrap(), None, "nothing new since");
    }
}
