//! What is particular to etcd: several instances on one store, etcd's failures, and prefixes that are not ours.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use lustre_mgs_store::{Change, EtcdStore, Health, Meta, OpenError, Range, Store, StoreError, Txn};
use testkit::Etcd;

fn txn() -> Txn {
    Txn::new(Meta { time_ms: 1, who: "test".into(), why: "test".into() })
}

async fn open(server: &Etcd, prefix: &str) -> EtcdStore {
    EtcdStore::open(&server.url(prefix).parse().unwrap()).await.unwrap()
}

async fn refusal(url: String) -> String {
    EtcdStore::open(&url.parse().unwrap()).await.err().expect("it is refused").to_string()
}

/// Waits with a deadline for what must come true.
async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_make_one_history_without_a_gap() {
    let server = Etcd::start().unwrap();
    let stores = [open(&server, "a").await, open(&server, "a").await, open(&server, "a").await];
    let writers = stores.iter().enumerate().flat_map(|(at, store)| {
        (0..8).map(move |writer| async move {
            let mut revisions = Vec::new();
            for n in 0..12 {
                revisions.push(store.commit(txn().put(format!("{at}/{writer}/{n}"), "")).await.unwrap());
            }
            revisions
        })
    });
    let given: Vec<u64> = join_all(writers).await.into_iter().flatten().collect();
    assert_eq!(given.iter().copied().collect::<BTreeSet<_>>(), (1..=288).collect(), "each revision once");
    let mut histories = Vec::new();
    for store in &stores {
        assert_eq!(store.sync().await.unwrap(), 288);
        histories.push(store.history(1, 1000).await.unwrap());
    }
    assert!(histories.iter().all(|history| *history == histories[0] && history.len() == 288));
    // Who comes later reads the same from etcd that the others know from their watches.
    let late = open(&server, "a").await;
    assert_eq!(late.history(1, 1000).await.unwrap(), histories[0]);
    assert_eq!(late.range(Range::default()).await.unwrap(), stores[0].range(Range::default()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_creators_on_three_instances_one_wins_each_key() {
    let server = Etcd::start().unwrap();
    let stores = [open(&server, "a").await, open(&server, "a").await, open(&server, "a").await];
    for key in 0..10 {
        let create =
            |n: usize| stores[n % 3].commit(txn().if_absent(format!("k{key}")).put(format!("k{key}"), n.to_string()));
        let results = join_all((0..24).map(create)).await;
        let winner = results.iter().position(Result::is_ok).expect("one wins");
        for (n, result) in results.iter().enumerate().filter(|(n, _)| *n != winner) {
            assert!(matches!(result, Err(StoreError::Conflict { .. })), "{n}: {result:?}");
        }
        for store in &stores {
            store.sync().await.unwrap();
            let entry = store.get(&format!("k{key}"), None).await.unwrap().unwrap();
            assert_eq!(*entry.value, *winner.to_string().as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_frozen_past_its_lease_is_fenced() {
    let server = Etcd::start().unwrap();
    let (owner, other) = (open(&server, "a").await, open(&server, "a").await);
    let lease = owner.lease_grant(Duration::from_secs(1)).await.unwrap();
    let owned = owner.commit(txn().if_absent("owner").put_leased("owner", "one", lease)).await.unwrap();
    owner.commit(txn().if_create_revision("owner", owned).put("work", "1")).await.unwrap();
    // The owner is frozen: nobody keeps the lease alive. The other takes over as soon as it can.
    until("the other takes over", async || other.commit(txn().if_absent("owner").put("owner", "two")).await.is_ok())
        .await;
    let fenced = owner.commit(txn().if_create_revision("owner", owned).put("work", "2")).await;
    assert!(matches!(fenced, Err(StoreError::Conflict { .. })), "{fenced:?}");
    let fenced = owner.commit(txn().put_leased("work", "2", lease)).await;
    assert_eq!(fenced, Err(StoreError::LeaseNotFound { lease }));
    assert_eq!(*other.get("work", None).await.unwrap().unwrap().value, *b"1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ended_unnoticed_fences_before_anybody_reaps() {
    let server = Etcd::start().unwrap();
    let owner = open(&server, "a").await;
    let lease = owner.lease_grant(Duration::from_secs(1000)).await.unwrap();
    let owned = owner.commit(txn().put_leased("owner", "one", lease)).await.unwrap();
    // Ended behind the store's back, and at once used: its watch has hardly a chance to tell first.
    server.ctl(&["lease", "revoke", &format!("{lease:x}")]).unwrap();
    let fenced = owner.commit(txn().if_create_revision("owner", owned).put("work", "2")).await;
    assert!(matches!(fenced, Err(StoreError::Conflict { .. })), "{fenced:?}");
    assert_eq!(owner.get("work", None).await.unwrap(), None);
    let last = owner.history(owned + 1, 10).await.unwrap();
    assert_eq!(last[0].changes, [Change::Delete { key: "owner".into() }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_refuses_changes_serves_reads_and_comes_back() {
    let mut server = Etcd::start().unwrap();
    let (store, other) = (open(&server, "a").await, open(&server, "a").await);
    store.commit(txn().put("k", "1")).await.unwrap();
    server.kill();
    let refused = store.commit(txn().put("k", "2")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(store.sync().await, Err(StoreError::Unavailable { .. })));
    let Health::Lost { reason } = store.health() else { panic!("it is not noticed") };
    assert!(reason.contains(&server.endpoint()), "{reason}");
    assert_eq!(*store.get("k", None).await.unwrap().unwrap().value, *b"1", "reads go on");
    server.restart().unwrap();
    until("the store is back", async || store.health().is_good()).await;
    let mut watch = other.watch(2).await.unwrap();
    let revision = store.commit(txn().put("k", "3")).await.unwrap();
    let commit = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("watches come back").unwrap();
    assert_eq!(commit.revision, revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_hangs_for_a_while_gives_each_commit_at_most_once() {
    let server = Etcd::start().unwrap();
    let store = open(&server, "a").await;
    server.freeze().unwrap();
    // Sent into the silence: the call times out, etcd does it anyway when it goes on.
    let commit = store.commit(txn().if_absent("k").put("k", "1"));
    let thaw = async {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        server.thaw().unwrap();
    };
    let (outcome, ()) = tokio::join!(commit, thaw);
    until("etcd answers again", async || store.sync().await.is_ok()).await;
    let made = store.history(1, 10).await.unwrap();
    match outcome {
        Ok(revision) => assert_eq!(revision, 1),
        Err(err) => assert!(matches!(err, StoreError::Unavailable { .. }), "{err:?}"),
    }
    assert_eq!(made.len(), 1, "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_compaction_loses_nothing() {
    let mut server = Etcd::start().unwrap();
    let (store, follower) = (open(&server, "a").await, open(&server, "a").await);
    for n in 0..50 {
        store.commit(txn().put(format!("k{}", n % 7), n.to_string())).await.unwrap();
    }
    // While nobody is connected, etcd's own history goes away.
    server.restart().unwrap();
    let status: String = server.ctl(&["get", "x", "-w", "json"]).unwrap();
    let revision = status.split("\"revision\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    server.ctl(&["compact", &revision]).unwrap();
    store.commit(txn().put("after", "1")).await.unwrap();
    assert_eq!(follower.sync().await.unwrap(), 51);
    assert_eq!(follower.history(1, 100).await.unwrap().len(), 51);
    let late = open(&server, "a").await;
    assert_eq!(late.history(1, 100).await.unwrap(), follower.history(1, 100).await.unwrap());
    let mut watch = late.watch(52).await.unwrap();
    store.commit(txn().put("after", "2")).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap().revision, 52);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_what_another_instance_compacted_lists_again() {
    let server = Etcd::start().unwrap();
    let (store, behind) = (open(&server, "a").await, open(&server, "a").await);
    for n in 0..30 {
        store.commit(txn().put(format!("k{}", n % 7), n.to_string())).await.unwrap();
        if n % 10 == 9 {
            store.compact(n).await.unwrap();
        }
    }
    assert_eq!(behind.sync().await.unwrap(), 30);
    assert_eq!(behind.range(Range::default()).await.unwrap(), store.range(Range::default()).await.unwrap());
    assert_eq!((behind.compacted(), store.compacted()), (29, 29));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_without_space_is_named_with_the_remedy() {
    let server = Etcd::start_with(&["--quota-backend-bytes", "16777216"]).unwrap();
    let store = open(&server, "a").await;
    let value = vec![7; 500 * 1024];
    let mut acknowledged = 0;
    let err = loop {
        match store.commit(txn().put(format!("k{acknowledged}"), &value)).await {
            Ok(_) => acknowledged += 1,
            Err(err) => break err.to_string(),
        }
        assert!(acknowledged < 100, "the quota has no effect");
    };
    assert!(err.contains("NOSPACE") && err.contains("etcdctl alarm disarm"), "{err}");
    let kept = open(&server, "a").await.range(Range::default()).await.unwrap().entries;
    assert_eq!(kept.len(), acknowledged, "what was acknowledged is there, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_in_one_etcd_do_not_see_each_other() {
    let server = Etcd::start().unwrap();
    let (one, two) = (open(&server, "lmgs/one").await, open(&server, "lmgs/one2").await);
    one.commit(txn().put("k", "1")).await.unwrap();
    one.commit(txn().put("k", "2")).await.unwrap();
    assert_eq!(two.commit(txn().put("k", "3")).await.unwrap(), 1);
    assert_eq!((one.sync().await.unwrap(), two.sync().await.unwrap()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_holds_something_else_is_refused_and_left_alone() {
    let server = Etcd::start().unwrap();
    open(&server, "lmgs/prod").await;
    server.ctl(&["put", "/other/thing", "1"]).unwrap();
    let before = server.ctl(&["get", "", "--prefix"]).unwrap();
    let inside = refusal(server.url("lmgs/prod/v")).await;
    assert!(inside.contains("/lmgs/prod is the prefix of another store"), "{inside}");
    for prefix in ["lmgs", "other"] {
        let err = refusal(server.url(prefix)).await;
        assert!(err.contains("is no store") && err.contains("choose another"), "{err}");
    }
    assert_eq!(server.ctl(&["get", "", "--prefix"]).unwrap(), before);
    server.ctl(&["put", "/lmgs/prod/cluster", "{\"format\":2}"]).unwrap();
    let newer = EtcdStore::open(&server.url("lmgs/prod").parse().unwrap()).await.err();
    assert!(matches!(newer, Some(OpenError::Newer { found: 2, known: 1, .. })), "{newer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_no_etcd_are_told_apart() {
    let server = Etcd::start().unwrap();
    for args in [
        &["user", "add", "root:rootpw"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "lmgs"],
        &["role", "grant-permission", "lmgs", "--prefix=true", "readwrite", "/lmgs/prod/"],
        &["user", "add", "mgs:secret"],
        &["user", "grant-role", "mgs", "lmgs"],
        &["auth", "enable"],
    ] {
        server.ctl(args).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    let url = |user: &str, prefix: &str| {
        format!("etcd://{user}@{}/{prefix}?password-file={}", server.endpoint(), password.display())
    };
    std::fs::write(&password, "wrong\n").unwrap();
    let err = refusal(url("mgs", "lmgs/prod")).await;
    assert!(err.contains("refuses us") && err.contains("password file") && !err.contains("wrong"), "{err}");
    let err = refusal(server.url("lmgs/prod")).await;
    assert!(err.contains("refuses us"), "{err}");
    std::fs::write(&password, "secret\n").unwrap();
    let err = refusal(url("mgs", "lmgs/test")).await;
    assert!(err.contains("permission denied"), "{err}");
    let store = EtcdStore::open(&url("mgs", "lmgs/prod").parse().unwrap()).await.unwrap();
    assert_eq!(store.commit(txn().put("k", "1")).await.unwrap(), 1);
    let err = refusal("etcd://127.0.0.1:1/lmgs".into()).await;
    assert!(err.contains("127.0.0.1:1 does not answer"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_needs_the_right_authority_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // An authority, the server's certificate, and ours; and an authority that nobody asked for.
    let authority = || {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        (cert.pem(), rcgen::Issuer::new(params, key))
    };
    let (ca_pem, ca) = authority();
    let (stranger_pem, stranger) = authority();
    let issue = |issuer: &rcgen::Issuer<'static, rcgen::KeyPair>, name: &str| {
        let mut params = rcgen::CertificateParams::new(vec!["etcd.test".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, issuer).unwrap();
        (write(&format!("{name}.pem"), cert.pem()), write(&format!("{name}.key"), key.serialize_pem()))
    };
    let ca_file = write("ca.pem", ca_pem);
    let stranger_file = write("stranger.pem", stranger_pem);
    let (server_cert, server_key) = issue(&ca, "server");
    let (ours, strange) = (issue(&ca, "mgs"), issue(&stranger, "strange"));
    let server = Etcd::start_tls(&ca_file, &server_cert, &server_key).unwrap();
    let url = |ca: &std::path::Path, (cert, key): &(std::path::PathBuf, std::path::PathBuf)| {
        let (ca, cert, key) = (ca.display(), cert.display(), key.display());
        format!("etcds://{}/lmgs?ca={ca}&cert={cert}&key={key}&server-name=etcd.test", server.endpoint())
    };
    let store = EtcdStore::open(&url(&ca_file, &ours).parse().unwrap()).await.unwrap();
    assert_eq!(store.commit(txn().put("k", "1")).await.unwrap(), 1);
    for wrong in [url(&stranger_file, &ours), url(&ca_file, &strange), server.url("lmgs")] {
        let err = refusal(wrong).await;
        assert!(err.contains("does not answer"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_of_three_dies_once_and_nothing_acknowledged_is_lost() {
    let mut members = Etcd::start_cluster(3).unwrap();
    let endpoints: Vec<String> = members.iter().map(Etcd::endpoint).collect();
    let url = format!("etcd://{}/lmgs", endpoints.join(",")).parse().unwrap();
    let (store, other) = (EtcdStore::open(&url).await.unwrap(), EtcdStore::open(&url).await.unwrap());
    let mut acknowledged = BTreeSet::new();
    // One of the three is the leader, and one the member that the store talks to.
    for (at, member) in members.iter_mut().enumerate() {
        member.kill();
        for n in 0..15 {
            let key = format!("{at}/{n}");
            // An answer may be missing while another leader is chosen; what was answered has to stay.
            if store.commit(txn().put(&key, "")).await.is_ok() {
                acknowledged.insert(key);
            }
        }
        member.restart().unwrap();
    }
    assert!(acknowledged.len() >= 40, "two of three are enough to go on: {}", acknowledged.len());
    until("the other instance catches up", async || other.sync().await.is_ok()).await;
    let history = other.history(1, 1000).await.unwrap();
    assert!(history.iter().map(|commit| commit.revision).eq(1..=other.head()), "no gap");
    let made = history.iter().flat_map(|commit| &commit.changes).map(|change| change.key().to_owned());
    let made: Vec<String> = made.collect();
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len(), "nothing was done twice");
    assert!(acknowledged.iter().all(|key| made.contains(key)), "an acknowledged commit is lost");
}
