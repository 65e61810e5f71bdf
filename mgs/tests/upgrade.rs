//! A store that a version without config logs has written.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lustre_api::event::{GetHistory, HistoryQuery};
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::mgs::{GetMgs, MgsInfo};
use lustre_api::node::{AnnounceNode, Announcement, NodePath, NodeSettings, PutNodeSettings};
use lustre_api::target::{Register, Reserve, TargetSpec};
use lustre_api::{Nothing, WriteQuery};
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs_core::decide::mgs::STATE_VERSION;
use lustre_mgs_core::{Env, Request, State, decide};
use lustre_mgs_store::{MemoryStore, Meta, Range, Store, Txn};
use lustre_types::FsName;
use serde_json::{Value, json};

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

/// A backup of the state as the first program of version 1 wrote it, and what that MGS showed of it.
const STATE_1: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state-1.backup"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state-1.json"),
];

/// Starts a daemon on what a backup holds.
fn restored(backup: &Path, store: &Path) -> process::Daemon {
    let mut restore = std::process::Command::new(env!("CARGO_BIN_EXE_lustre-mgs"));
    let output = restore.arg("restore").arg(backup).arg("--store").arg(store).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    process::Daemon::start(store)
}

/// What an MGS has, and the text of a config log.
async fn shown(daemon: &process::Daemon) -> Value {
    let get = async |path: &str| reqwest::get(format!("{}{path}", daemon.url)).await.unwrap().text().await.unwrap();
    let mut all: Value = serde_json::from_str(&get("/v1/snapshot").await).unwrap();
    for mine in ["mgs", "revision"] {
        all.as_object_mut().unwrap().remove(mine);
    }
    json!({"snapshot": all, "log": serde_json::from_str::<Value>(&get("/v1/logs/gold-client").await).unwrap()})
}

/// Everything that was there is there; a later program may show more.
fn holds(all: &Value, part: &Value, at: &str) {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            part.iter().for_each(|(name, part)| holds(&all[name], part, &format!("{at}.{name}")));
        }
        (Value::Array(all), Value::Array(part)) => {
            assert_eq!(all.len(), part.len(), "{at}");
            all.iter().zip(part).enumerate().for_each(|(n, (all, part))| holds(all, part, &format!("{at}[{n}]")));
        }
        _ => assert_eq!(all, part, "{at}"),
    }
}

/// Writes [`STATE_1`]: only for a version of the state that nobody has yet.
async fn write_state(directory: &Path) {
    let [backup, expected] = STATE_1;
    let daemon = process::Daemon::start(&directory.join("first.redb"));
    let http = reqwest::Client::new();
    let send = async |method: reqwest::Method, path: &str, body: Value| -> Value {
        let answer = http.request(method, format!("{}{path}", daemon.url)).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    };
    let (put, post) = (reqwest::Method::PUT, reqwest::Method::POST);
    send(put.clone(), "/v1/filesystems/gold", json!({"name": "gold", "description": "of version 1"})).await;
    for (kind, node) in [("mdt", "mds1"), ("ost", "oss1"), ("ost", "oss2")] {
        let target = json!({"kind": kind, "filesystem": "gold", "node": node, "device": "/dev/disk/by-id/a"});
        let reserved = send(post.clone(), "/v1/reservations", json!({"target": target, "ttl_s": 600})).await;
        let svname = reserved["object"]["target"]["svname"].as_str().unwrap().to_owned();
        let registered = json!({"token": reserved["object"]["token"], "label": svname.replacen('-', ":", 1),
            "uuid": format!("uuid of {svname}"), "size_bytes": 1_u64 << 40, "nids": ["10.9.0.2@tcp"]});
        send(post.clone(), &format!("/v1/targets/{svname}/register"), registered).await;
    }
    let param = json!({"filesystem": "gold", "scope": "filesystem", "name": "timeout", "value": "30"});
    send(put.clone(), "/v1/params/gold/filesystem/timeout", param).await;
    let pool = json!({"filesystem": "gold", "name": "fast", "members": ["OST0000"]});
    send(put.clone(), "/v1/filesystems/gold/pools/fast", pool).await;
    let nodemap = json!({"spec": {"name": "lab", "ranges": ["10.1.0.[1-9]@tcp"], "uids": {"1000": 5000}}});
    send(put, "/v1/nodemaps/lab", nodemap).await;
    std::fs::create_dir_all(Path::new(backup).parent().unwrap()).unwrap();
    let mgsctl = std::process::Command::new(testkit::binary("mgsctl").unwrap())
        .args(["--endpoint", &daemon.url, "backup", backup])
        .output()
        .unwrap();
    assert!(mgsctl.status.success(), "{}", String::from_utf8_lossy(&mgsctl.stderr));
    let daemon = restored(Path::new(backup), &directory.join("again.redb"));
    let text = serde_json::to_string_pretty(&shown(&daemon).await).unwrap();
    // What is said in words may change.
    let text: String =
        text.lines().filter(|line| !line.contains("\"state_reason\"")).map(|line| format!("{line}\n")).collect();
    std::fs::write(expected, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_that_the_first_program_of_its_version_wrote_is_read_whole_on_either_store() {
    let directory = tempfile::tempdir().unwrap();
    let [backup, expected] = STATE_1;
    if std::env::var_os("UPDATE_STATE").is_some() {
        write_state(directory.path()).await;
    }
    let etcd = testkit::Etcd::start().unwrap();
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
    for store in [directory.path().join("mgs.redb"), etcd.url("lmgs/test").into()] {
        let daemon = restored(Path::new(backup), &store);
        holds(&shown(&daemon).await, &expected, "state");
        // And it goes on from there.
        let path = lustre_api::filesystem::FilesystemPath { fsname: gold() };
        let spec = FilesystemSpec { name: gold(), description: Some("of this version".into()) };
        let put = daemon.client();
        put.call::<lustre_api::filesystem::PutFilesystem>(&path, &WriteQuery::default(), &spec).await.unwrap();
    }
}

/// A version of the state that this program does not know.
const NEXT: u32 = STATE_VERSION + 1;

/// What a program does that knows it: it says so first, and then writes what this program does not know.
async fn upgrade(store: &dyn Store) {
    let meta = || Meta { time_ms: 1, who: "test".into(), why: "as a newer version".into() };
    let entry = store.get("mgs", None).await.unwrap().unwrap();
    let mut mgs: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
    mgs["version"] = json!(NEXT);
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
    let message = format!("the state in this store is of version {NEXT}");
    assert!(code == Some(1) && said.contains(&message) && said.contains("install that program"), "{code:?} {said}");
    let again = process::command(std::path::Path::new(&url)).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && said.contains(&message), "{said}");
    let there = newer.get("mgs", None).await.unwrap().unwrap().value;
    assert!(String::from_utf8_lossy(&there).contains(&format!("\"version\":{NEXT}")), "and changes nothing");
}

/// Drains a node, which version 1 of the state does not know.
async fn drain(client: &rest::Client) -> Result<(), rest::ClientError> {
    let settings = NodeSettings { drained: Some("new cables".into()), ..NodeSettings::default() };
    let path = NodePath { node: "oss1".parse().unwrap() };
    client.call::<PutNodeSettings>(&path, &WriteQuery::default(), &settings).await.map(drop)
}

async fn mgs(client: &rest::Client) -> MgsInfo {
    client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_rises_with_the_first_change_that_needs_it_and_not_while_an_older_instance_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = testkit::Etcd::start().unwrap();
    for store in [directory.path().join("mgs.redb"), etcd.url("lmgs/test").into()] {
        let daemon = restored(Path::new(STATE_1[0]), &store);
        let client = daemon.client();
        let info = json!({"node": "oss1", "agent_version": "0", "boot_id": "b", "kernel": "k", "start_driver": "none", "nids": []});
        let path = NodePath { node: "oss1".parse().unwrap() };
        let enrolled =
            Announcement { api_url: "http://127.0.0.1:1".into(), info: serde_json::from_value(info).unwrap() };
        client.call::<AnnounceNode>(&path, &WriteQuery::default(), &enrolled).await.unwrap();
        assert_eq!(mgs(&client).await.state_version, 1, "nothing needed more");
        if store.starts_with("etcd:") {
            // As an instance of a program that knows version 1 only has it.
            let other = lustre_mgs_store::EtcdStore::open(&store.to_str().unwrap().parse().unwrap()).await.unwrap();
            let meta = || Meta { time_ms: 1, who: "test".into(), why: "an older instance".into() };
            let duty = "owner/instance/older";
            let owner = json!({"instance": "older", "url": "http://10.0.0.7:7070"}).to_string();
            other.commit(Txn::new(meta()).put(duty, owner)).await.unwrap();
            let refused = drain(&client).await.unwrap_err().to_string();
            let says =
                ["version 2 of the state", "instance older at http://10.0.0.7:7070", "upgrade lustre-mgs there first"];
            assert!(says.iter().all(|words| refused.contains(words)), "{refused}");
            assert_eq!(mgs(&client).await.state_version, 1, "and nothing is changed");
            other.commit(Txn::new(meta()).delete(duty)).await.unwrap();
        }
        drain(&client).await.unwrap();
        assert_eq!(mgs(&client).await.state_version, 2);
        let history =
            client.call::<GetHistory>(&Nothing {}, &HistoryQuery::default(), &Nothing {}).await.unwrap().items;
        let at =
            |words: &str| history.iter().position(|event| event.why.as_deref().is_some_and(|why| why.contains(words)));
        let (raised, drained) = (at("raise the version of the state from 1 to 2"), at("node oss1"));
        assert!(raised.is_some() && raised < history.len().checked_sub(1) && drained.is_some(), "{history:#?}");
        let last = &history[history.len() - 1];
        assert!(last.changes.iter().any(|change| change.object == "node oss1"), "the raise comes before: {last:?}");
    }
}
