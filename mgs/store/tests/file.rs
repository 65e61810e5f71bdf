//! Which files a store refuses to open, what it says then, and that it leaves them alone.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use lustre_mgs_store::{Meta, OpenError, Range, RedbStore, Store, Txn};
use redb::{Database, TableDefinition};

fn txn() -> Txn {
    Txn::new(Meta { time_ms: 0, who: "test".into(), why: "test".into() })
}

/// A closed store of 40 commits.
async fn a_store(directory: &Path) -> PathBuf {
    let path = directory.join("mgs.redb");
    let store = RedbStore::open(&path).unwrap();
    for n in 0..40 {
        store.commit(txn().put(format!("key {}", n % 9), format!("value {n}"))).await.unwrap();
    }
    path
}

/// Asserts that the file is refused and keeps its bytes; gives the message.
fn refused(path: &Path) -> (OpenError, String) {
    let before = std::fs::read(path).unwrap();
    let err = RedbStore::open(path).err().unwrap_or_else(|| panic!("{} was opened", path.display()));
    assert_eq!(std::fs::read(path).unwrap(), before, "a refused file must not be written to");
    let message = err.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    (err, message)
}

#[tokio::test]
async fn a_second_daemon_on_one_store_is_refused_with_the_pid_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = a_store(directory.path()).await;
    let first = RedbStore::open(&path).unwrap();
    let (err, message) = refused(&path);
    assert!(matches!(err, OpenError::Locked { .. }), "{message}");
    assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
    drop(first);
    RedbStore::open(&path).unwrap();
}

#[test]
fn a_file_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgs.redb");
    for content in [&b""[..], b"re", b"#!/bin/sh\n", &[0; 8192]] {
        std::fs::write(&path, content).unwrap();
        let (err, message) = refused(&path);
        assert!(matches!(err, OpenError::Foreign { .. }), "{message}");
    }
}

#[test]
fn a_redb_file_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgs.redb");
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, &str>::new("meta")).unwrap().insert("a", "b").unwrap();
    txn.commit().unwrap();
    drop(db);
    let (err, message) = refused(&path);
    assert!(matches!(err, OpenError::Foreign { .. }), "{message}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = a_store(directory.path()).await;
    let db = Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("schema", 9).unwrap();
    txn.commit().unwrap();
    drop(db);
    let (err, message) = refused(&path);
    assert!(matches!(err, OpenError::Newer { found: 9, .. }), "{message}");
    assert!(message.contains("run the newer version"), "{message}");
}

#[tokio::test]
async fn a_file_cut_off_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = a_store(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();
    for length in (1..whole.len()).step_by(whole.len() / 41) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (err, message) = refused(&path);
        assert!(matches!(err, OpenError::Damaged { .. } | OpenError::Foreign { .. }), "{length}: {message}");
    }
}

#[tokio::test]
async fn a_history_with_a_hole_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = a_store(directory.path()).await;
    let db = Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<u64, &[u8]>::new("commits")).unwrap().remove(17).unwrap();
    txn.commit().unwrap();
    drop(db);
    let (err, message) = refused(&path);
    assert!(matches!(err, OpenError::Damaged { .. }), "{message}");
    assert!(message.contains("commits 17 to 18 are missing"), "{message}");
}

#[tokio::test]
async fn a_damaged_byte_is_noticed_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let path = a_store(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();
    let read = async |path: &Path| {
        let store = RedbStore::open(path)?;
        Ok::<_, OpenError>((store.range(Range::default()).await.unwrap(), store.history(0, 100).await.unwrap()))
    };
    let intact = read(&path).await.unwrap();
    let (mut noticed, mut harmless) = (0, 0);
    // A prime stride visits every offset within a page sooner or later; the first page is redb's header.
    for at in (9..4096).step_by(37).chain((4096..whole.len()).step_by(1499)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        match read(&path).await {
            Err(_) => {
                noticed += 1;
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file must not be written to");
            }
            Ok(found) => {
                harmless += 1;
                assert_eq!(found, intact, "byte {at} was damaged, and the store served something else");
            }
        }
    }
    assert!(noticed > 10 && harmless > 10, "noticed {noticed}, harmless {harmless}");
}

#[tokio::test]
async fn a_creation_that_was_interrupted_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgs.redb");
    std::fs::write(directory.path().join("mgs.redb.new"), "half a file").unwrap();
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.commit(txn().put("k", "v")).await.unwrap(), 1);
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let err = RedbStore::open(directory.path().join("nowhere/mgs.redb")).err().unwrap();
    assert!(matches!(err, OpenError::Io { .. }), "{err}");
    assert!(err.to_string().contains("nowhere/mgs.redb"), "{err}");
}
