//! `lustre-mgs restore`: a new store from a backup.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use lustre_mgs_core::{Change, Key, Record};
use lustre_mgs_store::backup::Restored;
use lustre_mgs_store::{Meta, Store, Txn};

use crate::{clock, state_version};

/// Refuses a backup whose state only a newer program can read, before any of it is written.
///
/// Errors: a backup that is damaged, of a newer state, or of no MGS.
pub fn check(backup: &Path) -> anyhow::Result<()> {
    let mgs = lustre_mgs_store::backup::find(backup, &Key::Mgs.to_string())?.context("the backup holds no MGS")?;
    state_version::check_value(&mgs).with_context(|| format!("{} is not restored", backup.display()))
}

/// Ends a restore: what depends on time past is removed, and the epoch grows, so that whoever knew the MGS from before can
/// tell that its revisions may mean something else now. Gives the new epoch.
///
/// Errors: a store without an MGS in it, one that can't be written.
pub async fn finish(store: Arc<dyn Store>, restored: &Restored) -> anyhow::Result<u64> {
    let key = Key::Mgs.to_string();
    let entry = store.get(&key, None).await?.context("the backup holds no MGS")?;
    let Some(Record::Mgs(mut mgs)) = Change::decode(&key, Some(&entry.value))?.record else {
        anyhow::bail!("the backup does not say which MGS it is of");
    };
    mgs.epoch += 1;
    let epoch = mgs.epoch;
    let meta = Meta {
        time_ms: clock::now().unix_ms(),
        who: "restore".into(),
        why: format!("restored from a backup of revision {}; epoch {epoch}", restored.revision),
    };
    let (key, value) = Change { key: Key::Mgs, record: Some(Record::Mgs(mgs)) }.encode();
    let mut txn = Txn::new(meta).if_mod_revision(&key, entry.mod_revision).put(&key, value.unwrap_or_default());
    for leased in &restored.leased {
        txn = txn.delete(leased);
    }
    store.commit(txn).await?;
    Ok(epoch)
}
