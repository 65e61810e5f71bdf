//! The daemon as a process: over its sockets, killed without warning, and with files that are not its own.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lustre_api::event::{EventKind, EventQuery, GetHistory, HistoryQuery, StreamEvents};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, GetFilesystem, ListFilesystems, PutFilesystem};
use lustre_api::mgs::{GetMgs, GetSnapshot, SnapshotQuery};
use lustre_api::target::{GetTarget, ListTargets, TargetPath};
use lustre_api::{Nothing, PageQuery, Problem, ProblemCode, WriteQuery};
use lustre_mgs::agents::RestAgents;
use lustre_mgs::api::Api;
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs_core::Env;
use lustre_mgs_store::{MemoryStore, Store};
use lustre_types::SvName;
use process::{Daemon, command, register, reserve};
use rest::{Client, ClientError};

fn path(fsname: &str) -> FilesystemPath {
    FilesystemPath { fsname: fsname.parse().unwrap() }
}

async fn put_filesystem(client: &Client, name: &str, description: &str) -> Result<u64, ClientError> {
    let spec = FilesystemSpec { name: name.parse().unwrap(), description: Some(description.into()) };
    let written = client.call::<PutFilesystem>(&path(name), &WriteQuery::default(), &spec).await?;
    Ok(written.revision)
}

fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => problem,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

/// What the daemon says when it does not start.
fn refusal(store: &Path) -> String {
    let output = command(store).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9_in_a_loop() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("mgs.redb");
    let mut acknowledged: BTreeMap<SvName, bool> = BTreeMap::new();
    let mut uuid = None;
    let mut highest = 0;
    for round in 0..8 {
        let daemon = Daemon::start(&store);
        let client = daemon.client();
        let mgs = client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
        assert_eq!(*uuid.get_or_insert(mgs.uuid.clone()), mgs.uuid, "the MGS keeps its name");
        assert!(mgs.revision >= highest, "the revision never goes backward");
        for (svname, is_registered) in &acknowledged {
            let target =
                client.call::<GetTarget>(&TargetPath { svname: svname.clone() }, &Nothing {}, &Nothing {}).await;
            let target = target.unwrap_or_else(|err| panic!("{svname} is lost after round {round}: {err}"));
            assert!(target.state.is_registered() || !is_registered, "{svname} is {:?}", target.state);
        }
        if round == 0 {
            put_filesystem(&client, "scratch", "kill -9").await.unwrap();
        }
        // Callers that go on until the daemon is gone; each says what it was told.
        let callers: Vec<_> = (0..6)
            .map(|caller| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    for n in 0.. {
                        let device = format!("/dev/r{round}c{caller}n{n}");
                        let Ok((svname, token)) = reserve(&client, &device).await else { return told };
                        told.push((svname.clone(), false));
                        if register(&client, &svname, &token).await.is_err() {
                            return told;
                        }
                        told.push((svname, true));
                    }
                    told
                })
            })
            .collect();
        // Until there is something to lose.
        let goal = acknowledged.len() + 5 + 7 * round;
        while client
            .call::<GetSnapshot>(&Nothing {}, &SnapshotQuery::default(), &Nothing {})
            .await
            .unwrap()
            .targets
            .len()
            < goal
        {}
        daemon.kill();
        for caller in callers {
            for (svname, is_registered) in caller.await.unwrap() {
                *acknowledged.entry(svname).or_default() |= is_registered;
            }
        }
        highest = mgs.revision;
    }
    assert!(acknowledged.values().filter(|is_registered| **is_registered).count() > 40, "{}", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_registrations_over_http_give_64_indices() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    put_filesystem(&client, "scratch", "race").await.unwrap();
    let callers: Vec<_> = (0..64)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let (svname, token) = reserve(&client, &format!("/dev/disk{n}")).await.unwrap();
                register(&client, &svname, &token).await.unwrap();
                svname
            })
        })
        .collect();
    let mut given = BTreeSet::new();
    for caller in callers {
        assert!(given.insert(caller.await.unwrap()), "one index twice");
    }
    assert_eq!(given.last().unwrap().to_string(), "scratch-OST003f", "64 indices without a gap");
    let fs = client.call::<GetFilesystem>(&path("scratch"), &Nothing {}, &Nothing {}).await.unwrap();
    assert_eq!(fs.ost_count, 64);
    assert_eq!(fs.mount_source.as_deref(), Some("10.0.0.1@tcp:/scratch"));
}

#[tokio::test]
async fn lists_are_paged_without_gap_or_repetition() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    put_filesystem(&client, "scratch", "pages").await.unwrap();
    for n in 0..7 {
        reserve(&client, &format!("/dev/d{n}")).await.unwrap();
    }
    let mut query = PageQuery { limit: Some(3), ..PageQuery::default() };
    let (mut names, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.call::<ListTargets>(&Nothing {}, &query, &Nothing {}).await.unwrap();
        pages += 1;
        names.extend(page.items.iter().map(|target| target.svname.to_string()));
        match page.next {
            None => break,
            next => query.after = next,
        }
    }
    let expected: Vec<_> = (0..7).map(|n| format!("scratch-OST{n:04x}")).collect();
    assert_eq!((names, pages), (expected, 3));
    let bad = PageQuery { limit: Some(0), ..PageQuery::default() };
    let refused = problem(client.call::<ListTargets>(&Nothing {}, &bad, &Nothing {}).await);
    assert_eq!((refused.code, refused.attribute.as_deref()), (ProblemCode::Invalid, Some("limit")));
}

#[tokio::test]
async fn a_stale_plan_a_dry_run_and_a_repetition_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    let planned = put_filesystem(&client, "scratch", "one").await.unwrap();
    assert_eq!(put_filesystem(&client, "scratch", "one").await.unwrap(), planned, "the same again");
    let now = put_filesystem(&client, "scratch", "two").await.unwrap();
    assert_eq!(now, planned + 1);
    let spec = FilesystemSpec { name: "scratch".parse().unwrap(), description: Some("three".into()) };
    let stale = WriteQuery { if_revision: Some(planned), ..WriteQuery::default() };
    let refused = problem(client.call::<PutFilesystem>(&path("scratch"), &stale, &spec).await);
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(refused.message.contains("filesystem scratch") && refused.remedy.is_some(), "{refused}");
    let dry = WriteQuery { dry_run: true, ..WriteQuery::default() };
    let written = client.call::<PutFilesystem>(&path("scratch"), &dry, &spec).await.unwrap();
    assert_eq!((written.changed, written.object.spec), (true, spec));
    let fs = client.call::<GetFilesystem>(&path("scratch"), &Nothing {}, &Nothing {}).await.unwrap();
    assert_eq!((fs.spec.description.as_deref(), fs.revision), (Some("two"), now));
}

#[tokio::test]
async fn history_and_events_tell_who_changed_what_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    let first = put_filesystem(&client, "scratch", "one").await.unwrap();
    let mut events = client
        .stream::<StreamEvents>(&Nothing {}, &EventQuery { after: Some(first - 1), ..EventQuery::default() })
        .await
        .unwrap();
    let spec = FilesystemSpec { name: "scratch".parse().unwrap(), description: Some("two".into()) };
    let query = WriteQuery { why: Some("ticket 4711".into()), ..WriteQuery::default() };
    client.call::<PutFilesystem>(&path("scratch"), &query, &spec).await.unwrap();
    let (_, old) = events.next().await.unwrap().unwrap();
    assert_eq!(old.revision, first, "a change from before the call");
    let (id, event) = events.next().await.unwrap().unwrap();
    assert_eq!((id, event.revision), ((first + 1).to_string(), first + 1));
    assert_eq!(event.who, "ip:127.0.0.1");
    assert!(event.why.as_ref().unwrap().contains("ticket 4711"), "{event:?}");
    assert_eq!(event.changes[0].object, "filesystem scratch");
    assert_eq!(event.changes[0].before["description"], "one");
    assert_eq!(event.changes[0].after["description"], "two");
    let (svname, token) = reserve(&client, "/dev/sdb").await.unwrap();
    let query = HistoryQuery { object: Some("target scratch-".into()), ..HistoryQuery::default() };
    let page = client.call::<GetHistory>(&Nothing {}, &query, &Nothing {}).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].changes[0].object, format!("target {svname}"));
    let text = serde_json::to_string(&page).unwrap();
    assert!(!text.contains(&token) && !text.contains("sha256"), "no secret and nothing to guess one by: {text}");
}

#[tokio::test]
async fn a_filtered_stream_tells_what_was_asked_for_and_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    let begin = put_filesystem(&client, "scratch", "one").await.unwrap() - 1;
    put_filesystem(&client, "home", "one").await.unwrap();
    reserve(&client, "/dev/sdb").await.unwrap();
    let last = put_filesystem(&client, "home", "two").await.unwrap();
    let told = async |query: EventQuery| {
        let query = EventQuery { after: Some(begin), ..query };
        let mut events = client.stream::<StreamEvents>(&Nothing {}, &query).await.unwrap();
        let mut objects = Vec::new();
        loop {
            let event = events.next().await.unwrap().unwrap().1;
            objects.extend(event.changes.into_iter().map(|change| change.object));
            if event.revision >= last {
                return objects;
            }
        }
    };
    let fsname = Some("scratch".parse().unwrap());
    let of_scratch = told(EventQuery { fsname: fsname.clone(), ..EventQuery::default() }).await;
    assert_eq!(of_scratch, ["filesystem scratch", "target scratch-OST0000"]);
    let kind = Some(EventKind::Target);
    let targets = told(EventQuery { kind, fsname, object: Some("target ".into()), ..EventQuery::default() }).await;
    assert_eq!(targets, ["target scratch-OST0000"]);
    let homes = told(EventQuery { object: Some("filesystem h".into()), ..EventQuery::default() }).await;
    assert_eq!(homes, ["filesystem home", "filesystem home"]);
    assert_eq!(told(EventQuery { kind: Some(EventKind::Pool), ..EventQuery::default() }).await, Vec::<String>::new());
}

#[tokio::test]
async fn streams_are_begun_again_behind_the_last_event_id() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let client = daemon.client();
    let first = put_filesystem(&client, "scratch", "one").await.unwrap();
    let last = put_filesystem(&client, "scratch", "two").await.unwrap();
    let begin = async |path: &str, id: String| {
        // As a browser does: the address of the first call, and what it was told last.
        let url = format!("{}{path}", daemon.url);
        let answer = reqwest::Client::new().get(url).header("Last-Event-ID", id).send();
        let mut answer = answer.await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()).into_owned())
    };
    let (status, text) = begin("/v1/events?after=0", (last - 1).to_string()).await;
    assert!(status == 200 && text.starts_with(&format!("id: {last}\n")), "{text}");
    let (status, text) = begin("/v1/events", (first - 1).to_string()).await;
    assert!(status == 200 && text.starts_with(&format!("id: {first}\n")), "{text}");
    for path in ["/v1/events", "/v1/watch/jobs"] {
        let (status, text) = begin(path, "yesterday".into()).await;
        assert!(status == 400 && text.contains("Last-Event-ID") && text.contains("revisions"), "{text}");
        let (status, text) = begin(path, (last + 1000).to_string()).await;
        assert!(status == 400 && text.contains("does not exist here") && text.contains("snapshot"), "{text}");
    }
}

#[tokio::test]
async fn who_falls_behind_the_history_is_told_where_to_begin_again() {
    let store = Arc::new(MemoryStore::new());
    let (engine, _follower) = Engine::start(store.clone(), Env::default()).await.unwrap();
    let api = Arc::new(Api::new(engine, Arc::new(RestAgents::default())));
    let describe = async |n: u32| {
        let spec = FilesystemSpec { name: "scratch".parse().unwrap(), description: Some(n.to_string()) };
        api.put_filesystem(&Caller::new("test"), &path("scratch"), &WriteQuery::default(), spec).await.unwrap().revision
    };
    let first = describe(0).await;
    let query = EventQuery { after: Some(first - 1), ..EventQuery::default() };
    let (mut quick, mut slow) =
        (api.clone().stream_events(&query).await.unwrap(), api.clone().stream_events(&query).await.unwrap());
    assert!(quick.next().await.unwrap().is_ok());
    let mut last = first;
    for n in 1..600 {
        last = describe(n).await;
        assert!(quick.next().await.unwrap().is_ok(), "who keeps up misses nothing");
    }
    assert!(slow.next().await.unwrap().is_ok());
    store.compact(last).await.unwrap();
    // What was read ahead is still told, then comes the gap before those that are kept for everybody.
    let problem = loop {
        match slow.next().await.unwrap() {
            Ok(_) => {}
            Err(problem) => break problem,
        }
    };
    assert!(problem.message.contains("no longer kept") && problem.remedy.is_some(), "{problem}");
    assert!(slow.next().await.is_none(), "that is the end");
    let late = api.clone().stream_events(&query).await.err().unwrap();
    assert!(late.message.contains(&format!("the history begins after revision {last}")), "{late}");
    describe(1000).await;
    assert!(quick.next().await.unwrap().is_ok(), "who has seen all goes on");
}

#[tokio::test]
async fn one_store_is_for_one_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("mgs.redb");
    let daemon = Daemon::start(&store);
    let message = refusal(&store);
    assert!(message.contains(store.to_str().unwrap()), "{message}");
    assert!(message.contains(&format!("pid {}", daemon.process.id())), "{message}");
    assert!(message.contains("in use"), "{message}");
}

#[tokio::test]
async fn a_store_that_is_broken_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store: PathBuf = directory.path().join("mgs.redb");
    let daemon = Daemon::start(&store);
    put_filesystem(&daemon.client(), "scratch", "one").await.unwrap();
    daemon.kill();
    let whole = std::fs::read(&store).unwrap();
    for content in [&whole[..whole.len() / 2], &b"something else"[..], &b""[..]] {
        std::fs::write(&store, content).unwrap();
        let message = refusal(&store);
        assert!(message.contains(store.to_str().unwrap()) && message.contains("left as it is"), "{message}");
        assert_eq!(std::fs::read(&store).unwrap(), content, "a refused file is kept");
    }
    std::fs::write(&store, whole).unwrap();
    let daemon = Daemon::start(&store);
    let list = daemon.client().call::<ListFilesystems>(&Nothing {}, &PageQuery::default(), &Nothing {}).await.unwrap();
    assert_eq!(list.items.len(), 1);
}

#[tokio::test]
async fn a_signal_ends_it_in_order_and_lets_go_of_who_follows_events() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let mut events = daemon.client().stream::<StreamEvents>(&Nothing {}, &EventQuery::default()).await.unwrap();
    let pid = daemon.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || daemon.process.wait().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(4), ended).await.expect("ends soon").unwrap();
    assert!(status.success(), "{status}");
    assert!(events.next().await.unwrap().is_none(), "the stream ends, it does not break");
}

#[tokio::test]
async fn a_unix_socket_tells_whose_process_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    let store = directory.path().join("mgs.redb");
    let _daemon = Daemon::wait_for(command(&store).arg("--socket").arg(&socket));
    let client = Client::new(&format!("unix://{}", socket.display()), None).unwrap();
    put_filesystem(&client, "scratch", "local").await.unwrap();
    let page = client.call::<GetHistory>(&Nothing {}, &HistoryQuery::default(), &Nothing {}).await.unwrap();
    assert!(page.items.last().unwrap().who.starts_with("uid:"), "{page:?}");
}
