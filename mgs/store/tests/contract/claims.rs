//! What every store does. Each function is one claim.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Backend;
use lustre_mgs_store::{Change, MAX_OPS, MAX_VALUE_BYTES, Meta, Range, Store, StoreError, Txn, TxnError};

fn meta(why: &str) -> Meta {
    Meta { time_ms: 1_700_000_000_123, who: "uid:0".into(), why: why.into() }
}

fn txn() -> Txn {
    Txn::new(meta("test"))
}

async fn put(store: &dyn Store, key: &str, value: &str) -> u64 {
    store.commit(txn().put(key, value)).await.unwrap()
}

async fn value(store: &dyn Store, key: &str, at: Option<u64>) -> Option<String> {
    let entry = store.get(key, at).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn keys(store: &dyn Store) -> Vec<String> {
    let page = store.range(Range::default()).await.unwrap();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

/// Waits with a deadline, so that a store that never answers fails instead of hanging.
async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("happens within 20 s")
}

pub(crate) async fn an_empty_store_is_at_revision_0(backend: impl Backend) {
    let store = backend.store();
    assert_eq!((store.head(), store.compacted()), (0, 0));
    assert_eq!(store.get("k", None).await.unwrap(), None);
    assert_eq!(store.range(Range::default()).await.unwrap().entries, []);
    assert_eq!(store.history(0, 10).await.unwrap(), []);
}

pub(crate) async fn revisions_count_commits_without_gaps(backend: impl Backend) {
    let store = backend.store();
    assert_eq!(put(store, "a", "1").await, 1);
    assert!(store.commit(txn().if_absent("a").put("a", "2")).await.is_err());
    assert_eq!(store.commit(txn().put("b", "1").delete("a")).await.unwrap(), 2);
    assert_eq!(store.head(), 2);
}

pub(crate) async fn a_commit_carries_who_when_and_why(backend: impl Backend) {
    let store = backend.store();
    store.commit(Txn::new(meta("register scratch-OST0001")).put("b", "1").put("a", "2")).await.unwrap();
    let commit = store.history(1, 1).await.unwrap().remove(0);
    assert_eq!(commit.revision, 1);
    assert_eq!(commit.meta, meta("register scratch-OST0001"));
    assert_eq!(commit.changes.iter().map(Change::key).collect::<Vec<_>>(), ["b", "a"], "in the order of the request");
}

pub(crate) async fn a_conflict_changes_nothing_and_names_the_key(backend: impl Backend) {
    let store = backend.store();
    let first = put(store, "a", "1").await;
    put(store, "a", "2").await;
    let stale = txn().if_mod_revision("a", first).put("a", "3").put("b", "3");
    let conflict = StoreError::Conflict { key: "a".into(), expected: "revision 1".into(), found: "revision 2".into() };
    assert_eq!(store.commit(stale).await, Err(conflict));
    assert_eq!(store.head(), 2);
    assert_eq!(keys(store).await, ["a"]);
}

pub(crate) async fn a_key_that_was_made_again_has_a_new_create_revision(backend: impl Backend) {
    let store = backend.store();
    put(store, "owner", "mgs1").await;
    put(store, "owner", "mgs1 again").await;
    let entry = store.get("owner", None).await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (1, 2, 2));
    store.commit(txn().if_create_revision("owner", 1).delete("owner")).await.unwrap();
    store.commit(txn().if_create_revision("owner", 0).put("owner", "mgs2")).await.unwrap();
    let entry = store.get("owner", None).await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (4, 4, 1));
    let fenced = store.commit(txn().if_create_revision("owner", 1).put("x", "")).await;
    assert!(matches!(fenced, Err(StoreError::Conflict { .. })), "{fenced:?}");
}

pub(crate) async fn a_prefix_compare_sees_every_newer_write_below_it(backend: impl Backend) {
    let store = backend.store();
    put(store, "fs/a", "1").await;
    let seen = put(store, "target/a/1", "1").await;
    put(store, "target/b/1", "1").await;
    store.commit(txn().if_prefix_unchanged("target/a/", seen).delete("fs/a")).await.unwrap();
    let newer = put(store, "target/a/2", "1").await;
    let stale = store.commit(txn().if_prefix_unchanged("target/a/", seen).put("fs/a", "2")).await;
    let found = StoreError::Conflict {
        key: "target/a/2".into(),
        expected: format!("revision {seen}"),
        found: format!("revision {newer}"),
    };
    assert_eq!(stale, Err(found));
    store.commit(txn().delete("target/a/2")).await.unwrap();
    store.commit(txn().if_prefix_unchanged("target/a/", seen).put("fs/a", "2")).await.unwrap();
}

pub(crate) async fn deleting_an_absent_key_changes_no_key(backend: impl Backend) {
    let store = backend.store();
    assert_eq!(store.commit(txn().delete("nothing")).await.unwrap(), 1);
    assert_eq!(store.history(1, 1).await.unwrap()[0].changes, []);
    assert_eq!(store.key_history("nothing", 0, 10).await.unwrap(), []);
}

pub(crate) async fn a_bad_transaction_is_refused_and_changes_nothing(backend: impl Backend) {
    let store = backend.store();
    assert_eq!(store.commit(txn()).await, Err(StoreError::Txn(TxnError::Empty)));
    let twice = store.commit(txn().put("k", "").delete("k")).await;
    assert_eq!(twice, Err(StoreError::Txn(TxnError::DuplicateKey { key: "k".into() })));
    let many = (0..=MAX_OPS).fold(txn(), |txn, n| txn.put(format!("k{n}"), ""));
    assert_eq!(store.commit(many).await, Err(StoreError::Txn(TxnError::TooManyOps { count: MAX_OPS + 1 })));
    let large = store.commit(txn().put("a", "").put("k", vec![0; MAX_VALUE_BYTES + 1])).await;
    assert!(matches!(large, Err(StoreError::Txn(TxnError::ValueTooLarge { .. }))), "{large:?}");
    let leased = store.commit(txn().put("a", "").put_leased("k", "", 77)).await;
    assert_eq!(leased, Err(StoreError::LeaseNotFound { lease: 77 }));
    assert_eq!(store.head(), 0);
    assert_eq!(keys(store).await, [""; 0]);
}

pub(crate) async fn a_transaction_as_large_as_allowed_is_committed_whole(mut backend: impl Backend) {
    let value = |n: usize| vec![u8::try_from(n).unwrap(); MAX_VALUE_BYTES];
    // As many operations as possible; some values so large that no request of etcd holds them all.
    let many = (0..MAX_OPS).fold(txn(), |txn, n| match n {
        0..10 => txn.put(format!("large/{n}"), value(n)),
        n => txn.put(format!("small/{n}"), [7; 1000]),
    });
    let store = backend.store();
    assert_eq!(store.commit(many).await.unwrap(), 1);
    put(store, "large/3", "small now").await;
    store.compact(2).await.unwrap();
    backend.reopen().await;
    let store = backend.store();
    let mut range = Range { limit: 7, ..Range::prefix("large/") };
    let mut entries = Vec::new();
    loop {
        let page = store.range(range.clone()).await.unwrap();
        entries.extend(page.entries);
        if !page.more {
            break;
        }
        range.after = entries.last().map(|entry| entry.key.clone());
    }
    assert_eq!(entries.len(), 10);
    for (n, entry) in entries.iter().enumerate() {
        let expected = if n == 3 { b"small now".to_vec() } else { value(n) };
        assert!(*entry.value == *expected, "{} is not as written", entry.key);
    }
    assert_eq!(store.range(Range::prefix("small/")).await.unwrap().entries.len(), MAX_OPS - 10);
}

pub(crate) async fn a_range_is_paged_at_one_revision(backend: impl Backend) {
    let store = backend.store();
    for n in 0..10 {
        put(store, &format!("ost/{n}"), "old").await;
    }
    put(store, "ost", "not below ost/").await;
    put(store, "ost0", "neither").await;
    let mut range = Range { limit: 3, ..Range::prefix("ost/") };
    let mut seen = Vec::new();
    loop {
        let page = store.range(range.clone()).await.unwrap();
        // Whatever is written between two pages does not show.
        put(store, "ost/5", "new").await;
        put(store, &format!("ost/{}-later", seen.len()), "new").await;
        seen.extend(page.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_vec())));
        if !page.more {
            break;
        }
        range.at = Some(page.revision);
        range.after = page.entries.last().map(|entry| entry.key.clone());
    }
    let expected: Vec<_> = (0..10).map(|n| (format!("ost/{n}"), b"old".to_vec())).collect();
    assert_eq!(seen, expected);
}

pub(crate) async fn reading_the_future_or_the_compacted_past_is_refused(backend: impl Backend) {
    let store = backend.store();
    for n in 0..5 {
        put(store, "k", &n.to_string()).await;
    }
    store.compact(3).await.unwrap();
    assert_eq!(store.compacted(), 3);
    let past = StoreError::Compacted { asked: 2, compacted: 3 };
    let future = StoreError::Future { asked: 6, head: 5 };
    assert_eq!(store.get("k", Some(2)).await, Err(past.clone()));
    assert_eq!(store.range(Range { at: Some(2), ..Range::default() }).await, Err(past.clone()));
    assert_eq!(store.history(2, 1).await, Err(past.clone()));
    assert_eq!(store.compact(2).await, Err(past));
    assert_eq!(store.watch(0).await.err(), Some(StoreError::Compacted { asked: 1, compacted: 3 }));
    assert_eq!(store.get("k", Some(6)).await, Err(future.clone()));
    assert_eq!(store.compact(6).await, Err(future));
    assert_eq!(value(store, "k", Some(3)).await.as_deref(), Some("2"));
    assert_eq!(store.history(4, 10).await.unwrap().len(), 2);
}

pub(crate) async fn watch_from_old_revision_sees_every_change(backend: impl Backend) {
    let store = backend.store();
    for n in 0..150 {
        put(store, &format!("k{}", n % 7), &n.to_string()).await;
    }
    let mut watch = store.watch(20).await.unwrap();
    let writer = async {
        for n in 150..300 {
            put(store, &format!("k{}", n % 7), &n.to_string()).await;
        }
    };
    let reader = async {
        for revision in 20..=300 {
            let commit = soon(watch.next()).await.unwrap();
            assert_eq!(commit.revision, revision);
            let [Change::Put(entry)] = &commit.changes[..] else { panic!("{commit:?}") };
            assert_eq!(*entry.value, *(revision - 1).to_string().as_bytes());
        }
    };
    tokio::join!(writer, reader);
}

pub(crate) async fn watch_from_a_future_revision_delivers_nothing_older(backend: impl Backend) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut watch = store.watch(4).await.unwrap();
    for n in 2..=4 {
        put(store, "k", &n.to_string()).await;
    }
    assert_eq!(soon(watch.next()).await.unwrap().revision, 4);
}

pub(crate) async fn a_watch_that_compaction_overtook_is_told(backend: impl Backend) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut watch = store.watch(1).await.unwrap();
    put(store, "k", "2").await;
    store.compact(2).await.unwrap();
    assert_eq!(soon(watch.next()).await, Err(StoreError::Compacted { asked: 1, compacted: 2 }));
}

pub(crate) async fn key_history_shows_every_step_of_one_key(backend: impl Backend) {
    let store = backend.store();
    put(store, "k", "1").await;
    put(store, "other", "1").await;
    store.commit(Txn::new(meta("gone")).delete("k")).await.unwrap();
    put(store, "k", "2").await;
    let steps = store.key_history("k", 0, 10).await.unwrap();
    assert_eq!(steps.iter().map(|step| step.revision).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(steps[1].change, Change::Delete { key: "k".into() });
    assert_eq!(steps[1].meta, Some(meta("gone")));
    assert_eq!(store.key_history("k", 2, 1).await.unwrap(), steps[1..2]);
}

pub(crate) async fn compaction_keeps_what_is_visible_at_its_revision(backend: impl Backend) {
    let store = backend.store();
    put(store, "old", "1").await;
    put(store, "gone", "1").await;
    put(store, "changed", "1").await;
    put(store, "changed", "2").await;
    store.commit(txn().delete("gone")).await.unwrap();
    put(store, "changed", "3").await;
    put(store, "gone", "is back").await;
    store.compact(5).await.unwrap();
    assert_eq!(value(store, "old", Some(5)).await.as_deref(), Some("1"));
    assert_eq!(value(store, "changed", Some(5)).await.as_deref(), Some("2"));
    assert_eq!(value(store, "changed", None).await.as_deref(), Some("3"));
    assert_eq!(value(store, "gone", Some(6)).await, None);
    assert_eq!(value(store, "gone", None).await.as_deref(), Some("is back"));
    let steps = store.key_history("changed", 0, 10).await.unwrap();
    assert_eq!(
        steps.iter().map(|step| (step.revision, step.meta.is_some())).collect::<Vec<_>>(),
        [(4, false), (6, true)]
    );
}

pub(crate) async fn of_64_racing_creators_one_wins(backend: impl Backend) {
    let store = backend.store();
    let create = |n: usize| store.commit(txn().if_absent("fs/scratch/ost/0").put("fs/scratch/ost/0", n.to_string()));
    let results = futures::future::join_all((0..64).map(create)).await;
    let winner = results.iter().position(Result::is_ok).expect("one wins");
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(value(store, "fs/scratch/ost/0", None).await, Some(winner.to_string()));
    // Different keys do not disturb each other, even when they share one disk transaction.
    let create = |n: usize| store.commit(txn().if_absent(format!("k{n}")).put(format!("k{n}"), ""));
    let revisions: BTreeSet<u64> =
        futures::future::join_all((0..64).map(create)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(revisions, (2..=65).collect());
}

pub(crate) async fn an_expired_lease_takes_its_keys_along(backend: impl Backend) {
    let store = backend.store();
    put(store, "stays", "").await;
    let (short, ..) = backend.ttls();
    let lease = store.lease_grant(short).await.unwrap();
    let made = store.commit(txn().put_leased("b", "", lease).put_leased("a", "", lease)).await.unwrap();
    let mut watch = store.watch(made + 1).await.unwrap();
    let end = soon(watch.next()).await.unwrap();
    assert_eq!(end.meta.who, "store");
    assert_eq!(end.changes, [Change::Delete { key: "a".into() }, Change::Delete { key: "b".into() }]);
    assert_eq!(keys(store).await, ["stays"]);
    assert_eq!(store.lease_keepalive(lease).await, Err(StoreError::LeaseNotFound { lease }));
}

pub(crate) async fn a_lease_that_is_kept_alive_lives_on(backend: impl Backend) {
    let store = backend.store();
    let (short_ttl, kept_ttl, times) = backend.ttls();
    let kept = store.lease_grant(kept_ttl).await.unwrap();
    store.commit(txn().put_leased("kept", "", kept)).await.unwrap();
    // Short leases, one after the other, outlast the long one without any sleep.
    for n in 0..times {
        let short = store.lease_grant(short_ttl).await.unwrap();
        let made = store.commit(txn().put_leased("short", n.to_string(), short)).await.unwrap();
        store.lease_keepalive(kept).await.unwrap();
        let mut watch = store.watch(made + 1).await.unwrap();
        assert_eq!(soon(watch.next()).await.unwrap().changes, [Change::Delete { key: "short".into() }]);
    }
    assert_eq!(keys(store).await, ["kept"]);
}

pub(crate) async fn a_revoked_lease_takes_its_keys_along_and_is_gone(mut backend: impl Backend) {
    let store = backend.store();
    let lease = store.lease_grant(Duration::from_secs(1000)).await.unwrap();
    store.commit(txn().put_leased("a", "", lease)).await.unwrap();
    backend.reopen().await;
    let store = backend.store();
    store.lease_keepalive(lease).await.unwrap();
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(keys(store).await, [""; 0]);
    assert_eq!(store.lease_revoke(lease).await, Err(StoreError::LeaseNotFound { lease }));
    let refused = store.commit(txn().put_leased("a", "", lease)).await;
    assert_eq!(refused, Err(StoreError::LeaseNotFound { lease }));
    assert_ne!(store.lease_grant(Duration::from_secs(1000)).await.unwrap(), lease);
}

pub(crate) async fn a_key_written_again_without_lease_outlives_it(backend: impl Backend) {
    let store = backend.store();
    let lease = store.lease_grant(Duration::from_secs(1000)).await.unwrap();
    store.commit(txn().put_leased("a", "", lease)).await.unwrap();
    put(store, "a", "mine now").await;
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(keys(store).await, ["a"]);
}

pub(crate) async fn what_was_committed_is_there_after_opening_again(mut backend: impl Backend) {
    let store = backend.store();
    for n in 0..20 {
        put(store, &format!("k{}", n % 3), &n.to_string()).await;
    }
    store.commit(txn().delete("k0")).await.unwrap();
    store.compact(7).await.unwrap();
    let before = (store.head(), store.compacted(), store.history(8, 100).await, store.range(Range::default()).await);
    backend.reopen().await;
    let store = backend.store();
    let after = (store.head(), store.compacted(), store.history(8, 100).await, store.range(Range::default()).await);
    assert_eq!(after, before);
    assert_eq!(put(store, "k0", "again").await, 22);
}
