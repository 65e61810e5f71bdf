//! A webhook receiver that is out of order for an hour, in no time: the clock is the test's.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use lustre_api::WriteQuery;
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec};
use lustre_mgs::agents::RestAgents;
use lustre_mgs::api::Api;
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs::ownership::Ownership;
use lustre_mgs::webhooks::{self, Board};
use lustre_mgs_core::Env;
use lustre_mgs_store::MemoryStore;
use tokio::task::JoinSet;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// What a receiver answered to which change, and when.
type Answers = Arc<Mutex<Vec<(Duration, u64, bool)>>>;

/// Answers 500 for an hour, and then takes everything.
async fn receiver() -> (String, Answers) {
    let (begun, answers) = (Instant::now(), Answers::default());
    let noted = answers.clone();
    let answer = move |headers: HeaderMap| {
        let id = headers["lustre-event-id"].to_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        let is_taken = begun.elapsed() >= HOUR;
        noted.lock().unwrap().push((begun.elapsed(), id, is_taken));
        std::future::ready(if is_taken { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await.unwrap() });
    (url, answers)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_for_an_hour_slows_nothing_costs_little_and_is_then_told_everything_in_order() {
    let (url, answers) = receiver().await;
    let (engine, _follower) = Engine::start(Arc::new(MemoryStore::new()), Env::default()).await.unwrap();
    let (ownership, board) = (Ownership::start(&engine), Arc::new(Board::default()));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hooks.json");
    let hooks = serde_json::json!([{"name": "one", "url": url, "objects": ["filesystem "]}]);
    std::fs::write(&file, hooks.to_string()).unwrap();
    let mut tasks = JoinSet::new();
    webhooks::start(&engine, &ownership, &board, &file, &directory.path().join("state"), &mut tasks).unwrap();
    let api = Api::new(engine.clone(), Arc::new(RestAgents::default()));
    let path = FilesystemPath { fsname: "scratch".parse().unwrap() };
    let mut made = Vec::new();
    for minute in 0..60 {
        let asked = Instant::now();
        let spec = FilesystemSpec { name: path.fsname.clone(), description: Some(minute.to_string()) };
        let query = WriteQuery::default();
        made.push(api.put_filesystem(&Caller::new("test"), &path, &query, spec).await.unwrap().revision);
        assert!(asked.elapsed() < Duration::from_secs(1), "minute {minute}: a change took {:?}", asked.elapsed());
        tokio::time::sleep(HOUR / 60).await;
    }
    let during = answers.lock().unwrap().clone();
    assert!(during.iter().filter(|answer| !answer.2).all(|answer| answer.1 == made[0]), "in order: {during:?}");
    assert!((40..100).contains(&during.len()), "it is asked about once a minute: {} times", during.len());
    let shown = board.show(engine.state().revision).items.remove(0);
    assert!(shown.log.len() <= 50 && shown.dead_letters.is_empty(), "{shown:?}");
    assert!(shown.behind > 50, "{shown:?}");
    assert!(shown.log.last().unwrap().error.as_ref().unwrap().contains("500"), "{shown:?}");
    let all_told = async {
        while answers.lock().unwrap().iter().filter(|answer| answer.2).count() < made.len() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all_told).await.expect("a minute later it has heard everything");
    let taken: Vec<u64> = answers.lock().unwrap().iter().filter(|answer| answer.2).map(|answer| answer.1).collect();
    assert_eq!(taken, made, "each once, in order");
}
