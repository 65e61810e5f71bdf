//! A backup, restored into either backend, is the same store; a damaged one is refused before anything is written.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lustre_mgs_store::{EtcdStore, MAX_VALUE_BYTES, Meta, Range, RedbStore, Store, Txn, backup};
use testkit::Etcd;

fn txn(why: &str) -> Txn {
    Txn::new(Meta { time_ms: 7, who: "test".into(), why: why.into() })
}

/// A store with a past: changes, removals, a large value, a compaction, a lease.
async fn fill(store: &dyn Store) {
    for n in 0..40 {
        store.commit(txn("put").put(format!("k{}", n % 9), n.to_string())).await.unwrap();
    }
    store.commit(txn("gone").delete("k3").put("large", vec![9; MAX_VALUE_BYTES])).await.unwrap();
    store.compact(20).await.unwrap();
    store.commit(txn("back").put("k3", "again")).await.unwrap();
    let lease = store.lease_grant(Duration::from_secs(1000)).await.unwrap();
    store.commit(txn("owner").put_leased("owner", "me", lease)).await.unwrap();
}

async fn save(store: Arc<dyn Store>, path: &Path) {
    let mut lines = backup::export(store);
    let mut text = String::new();
    while let Some(line) = lines.recv().await {
        text.push_str(&line.unwrap());
        text.push('\n');
    }
    std::fs::write(path, text).unwrap();
}

async fn assert_same(one: &dyn Store, other: &dyn Store) {
    assert_eq!((one.head(), one.compacted()), (other.head(), other.compacted()));
    let from = one.compacted() + 1;
    let without_lease = |mut commits: Vec<lustre_mgs_store::Commit>| {
        for change in commits.iter_mut().flat_map(|commit| &mut commit.changes) {
            if let lustre_mgs_store::Change::Put(entry) = change {
                entry.lease = None;
            }
        }
        commits
    };
    let (left, right) = (one.history(from, 1000).await.unwrap(), other.history(from, 1000).await.unwrap());
    assert!(without_lease(left) == without_lease(right), "the histories differ");
    for at in [one.compacted(), one.compacted() + 5, one.head()] {
        let range = Range { at: Some(at), ..Range::default() };
        let keys = |page: lustre_mgs_store::Page| {
            page.entries
                .into_iter()
                .map(|e| (e.key, e.value, e.create_revision, e.mod_revision, e.version))
                .collect::<Vec<_>>()
        };
        let (left, right) = (one.range(range.clone()).await.unwrap(), other.range(range).await.unwrap());
        assert!(keys(left) == keys(right), "the states at {at} differ");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_moves_a_store_from_redb_to_etcd_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start().unwrap();
    let url = etcd.url("lmgs/moved").parse().unwrap();
    let file = directory.path().join("backup");
    let origin: Arc<dyn Store> = Arc::new(RedbStore::open(directory.path().join("a.redb")).unwrap());
    fill(&*origin).await;
    save(origin.clone(), &file).await;
    let restored = EtcdStore::restore(&file, &url).await.unwrap();
    assert_eq!((restored.revision, restored.leased.as_slice()), (43, &["owner".to_owned()][..]));
    let moved: Arc<dyn Store> = Arc::new(EtcdStore::open(&url).await.unwrap());
    assert_same(&*origin, &*moved).await;
    save(moved.clone(), &file).await;
    let back = directory.path().join("b.redb");
    RedbStore::restore(&file, &back).await.unwrap();
    let back = RedbStore::open(&back).unwrap();
    assert_same(&*moved, &back).await;
    assert_eq!(back.commit(txn("goes on").put("k", "")).await.unwrap(), 44);
    assert_eq!(moved.commit(txn("goes on").put("k", "")).await.unwrap(), 44);
    let again = EtcdStore::restore(&file, &url).await.unwrap_err().to_string();
    assert!(again.contains("something below it already"), "{again}");
    let again = RedbStore::restore(&file, &directory.path().join("a.redb")).await.unwrap_err().to_string();
    assert!(again.contains("in use") || again.contains("already"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_during_a_backup_are_not_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(directory.path().join("a.redb")).unwrap());
    fill(&*store).await;
    let mut lines = backup::export(store.clone());
    let mut text = lines.recv().await.unwrap().unwrap() + "\n";
    for n in 0..50 {
        store.commit(txn("late").put(format!("late{n}"), "")).await.unwrap();
    }
    while let Some(line) = lines.recv().await {
        text.push_str(&(line.unwrap() + "\n"));
    }
    std::fs::write(&file, text).unwrap();
    assert_eq!(backup::verify(&file).unwrap(), 43);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_cut_or_changed_is_refused_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(directory.path().join("a.redb")).unwrap());
    fill(&*store).await;
    save(store, &file).await;
    let whole = std::fs::read(&file).unwrap();
    let mut random = 1u64;
    for n in 0..60 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = usize::try_from(random >> 33).unwrap() % whole.len();
        let mut damaged = whole.clone();
        match n % 2 {
            0 => damaged.truncate(at),
            _ => damaged[at] ^= 1 << (n % 7),
        }
        std::fs::write(&file, &damaged).unwrap();
        let target = directory.path().join("b.redb");
        let refused = RedbStore::restore(&file, &target).await;
        assert!(refused.is_err(), "damage at {at} was not noticed");
        assert!(!target.exists());
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(backup::verify(&file).unwrap(), 43);
}
