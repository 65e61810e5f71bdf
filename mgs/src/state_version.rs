//! The version of the state in the store: one that only a newer program can read is refused before anything of it is.
//!
//! An instance that runs while another one raises the version ends: it would misread what comes. Its clients go on with the
//! other instances.

use anyhow::Context;
use lustre_mgs_core::Key;
use lustre_mgs_core::decide::mgs::{TooNew, check_version};
use lustre_mgs_store::{self as store, Commit, Store};
use serde::Deserialize;

/// What a record of any later version still has.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default = "first")]
    version: u32,
}

fn first() -> u32 {
    1
}

/// Checks the state in a store. Errors: the store can't be read; [`TooNew`].
pub(crate) async fn check(store: &dyn Store) -> anyhow::Result<()> {
    let entry = store.get(&Key::Mgs.to_string(), None).await.context("the store can't be read")?;
    Ok(entry.map_or(Ok(()), |entry| check_value(&entry.value))?)
}

/// Checks what a commit makes of the state.
pub(crate) fn check_commit(commit: &Commit) -> Result<(), TooNew> {
    let key = Key::Mgs.to_string();
    commit.changes.iter().try_for_each(|change| match change {
        store::Change::Put(entry) if entry.key == key => check_value(&entry.value),
        _ => Ok(()),
    })
}

/// Checks the record of an MGS.
pub(crate) fn check_value(json: &[u8]) -> Result<(), TooNew> {
    // What is not understood at all is refused when it is loaded, with its key.
    let found = serde_json::from_slice(json).map_or(first(), |versioned: Versioned| versioned.version);
    check_version(found, env!("CARGO_PKG_VERSION"))
}
