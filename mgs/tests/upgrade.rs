//! A store that a version without config logs has written.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::BTreeSet;
use std::sync::Arc;

use lustre_api::WriteQuery;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::target::{Register, Reserve, TargetSpec};
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs_core::{Env, Request, State, decide};
use lustre_mgs_store::{MemoryStore, Meta, Range, Store, Txn};
use lustre_types::FsName;
use serde_json::json;

fn gold() -> FsName {
    "gold".parse().unwrap()
}

/// Registers a target as somebody does who formats by himself.
async fn register(engine: &Engine, kind: &str, node: &str) {
    let spec = json!({"kind": kind, "filesystem": "gold", "node": node, "device": format!("/dev/{kind}")});
    let target: TargetSpec = serde_json::from_value(spec).unwrap();
    let (caller, query) = (Caller::mgs(), WriteQuery::default());
    let reserved = engine
        .write(&caller, &query, |state, req| {
            let body = Reserve { target: target.clone(), ttl_s: None };
            decide::reserve::reserve(state, req, body, &BTreeSet::new())
        })
        .await
        .unwrap()
        .object;
    let svname = reserved.target.svname;
    let body = Register {
        token: reserved.token,
        label: svname.to_string().replacen('-', ":", 1),
        uuid: "u1".into(),
        size_bytes: 1 << 30,
        nids: vec!["10.9.0.2@tcp".parse().unwrap()],
    };
    let register = |state: &State, req: &Request<'_>| decide::register::register(state, req, &svname, body.clone());
    engine.write(&caller, &query, register).await.unwrap();
}

fn logs(engine: &Engine) -> Vec<(String, String)> {
    let state = engine.state();
    let logs = state.logs.values().flat_map(|logs| logs.iter());
    logs.map(|log| (log.name().to_owned(), lustre_wire::llog::print(&log.file()))).collect()
}

#[tokio::test]
async fn a_store_without_config_logs_gets_them_when_it_is_opened_and_once_only() {
    let store = Arc::new(MemoryStore::new());
    let (engine, _follower) = Engine::start(store.clone(), Env::default()).await.unwrap();
    let spec = FilesystemSpec { name: gold(), description: None };
    let put = |state: &State, req: &Request<'_>| decide::filesystem::put_filesystem(state, req, &gold(), spec.clone());
    engine.write(&Caller::mgs(), &WriteQuery::default(), put).await.unwrap();
    register(&engine, "mdt", "mds1").await;
    register(&engine, "ost", "oss1").await;
    let before = logs(&engine);
    assert_eq!(before.len(), 3, "{before:#?}");

    let entries = store.range(Range::prefix("log/")).await.unwrap().entries;
    let meta = Meta { time_ms: 1, who: "test".into(), why: "as a version without logs".into() };
    let txn = entries.iter().fold(Txn::new(meta), |txn, entry| txn.delete(&entry.key));
    // The engine that runs would refuse such a change: it is of a newer version.
    drop(engine);
    store.commit(txn).await.unwrap();

    let (again, _follower) = Engine::start(store.clone(), Env::default()).await.unwrap();
    assert_eq!(logs(&again), before);
    let revision = again.state().revision;
    let (third, _follower) = Engine::start(store, Env::default()).await.unwrap();
    assert_eq!((third.state().revision, logs(&third)), (revision, before));
}

/// What a program does that knows state version 2: it says so first, and then writes what version 1 does not know.
async fn upgrade(store: &dyn Store) {
    let meta = || Meta { time_ms: 1, who: "test".into(), why: "as a newer version".into() };
    let entry = store.get("mgs", None).await.unwrap().unwrap();
    let mut mgs: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
    mgs["version"] = json!(2);
    let txn = Txn::new(meta()).if_mod_revision("mgs", entry.mod_revision);
    store.commit(txn.put("mgs", mgs.to_string())).await.unwrap();
    // Before the MGS's own record in the order of keys.
    store.commit(Txn::new(meta()).put("antimatter/1", "{}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_instance_ends_when_a_newer_one_raises_the_version_and_does_not_start_again() {
    let etcd = testkit::Etcd::start().unwrap();
    let url = etcd.url("lmgs/test");
    let mut older = process::Daemon::start(std::path::Path::new(&url));
    let newer = lustre_mgs_store::EtcdStore::open(&url.parse().unwrap()).await.unwrap();
    // Side by side, as long as the version is the older one's.
    let path = lustre_api::filesystem::FilesystemPath { fsname: gold() };
    let spec = FilesystemSpec { name: gold(), description: None };
    let put = older.client();
    put.call::<lustre_api::filesystem::PutFilesystem>(&path, &WriteQuery::default(), &spec).await.unwrap();
    upgrade(&newer).await;
    let said = tokio::task::spawn_blocking(move || {
        let status = older.process.wait().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut older.process.stderr.take().unwrap(), &mut said).unwrap();
        (status.code(), said)
    });
    let (code, said) = tokio::time::timeout(std::time::Duration::from_secs(30), said).await.unwrap().unwrap();
    let message = "the state in this store is of version 2";
    assert!(code == Some(1) && said.contains(message) && said.contains("install that program"), "{code:?} {said}");
    let again = process::command(std::path::Path::new(&url)).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains(message), "{said}");
    let there = newer.get("mgs", None).await.unwrap().unwrap().value;
    assert!(String::from_utf8_lossy(&there).contains("\"version\":2"), "and changes nothing");
}
