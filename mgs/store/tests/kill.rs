//! kill -9 of a process that writes loses nothing that it was told is durable.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lustre_mgs_store::{Meta, RedbStore, Store, Txn};

const STORE_VAR: &str = "MGS_STORE_TEST_FILE";
const ROUNDS: usize = 20;
const WRITERS: usize = 8;

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgs.redb");
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(write_until_killed(&path, 1 + round * 17));
        let store = RedbStore::open(&path).unwrap();
        assert!(store.head() >= acknowledged.iter().map(|(revision, _)| *revision).max().unwrap());
        for (revision, key) in &acknowledged {
            let entry = store.get(key, None).await.unwrap();
            let entry = entry.unwrap_or_else(|| panic!("{key} of revision {revision} is lost after round {round}"));
            assert_eq!(entry.mod_revision, *revision, "{key}");
        }
    }
    assert!(acknowledged.len() >= ROUNDS, "the child wrote nothing");
}

/// Starts a writer, kills it after it reported `acks` commits, gives all that it reported.
fn write_until_killed(path: &Path, acks: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(STORE_VAR, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut reported: Vec<String> = lines.by_ref().filter(|line| line.starts_with("acked ")).take(acks).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had reported when it died counts too.
    reported.extend(lines);
    let parse = |line: &String| {
        let mut words = line.strip_prefix("acked ")?.strip_suffix('.')?.split(' ');
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    reported.iter().filter_map(parse).collect()
}

#[test]
#[ignore = "the child of what_was_acknowledged_survives_kill_9"]
fn child_that_writes_until_it_is_killed() {
    let path = std::env::var(STORE_VAR).expect("started by what_was_acknowledged_survives_kill_9");
    let store = Arc::new(RedbStore::open(path).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let writers: Vec<_> = (0..WRITERS).map(|_| runtime.spawn(write_forever(store.clone()))).collect();
    for writer in writers {
        runtime.block_on(writer).unwrap();
    }
}

async fn write_forever(store: Arc<RedbStore>) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    loop {
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = format!("{}/{count}", std::process::id());
        let meta = Meta { time_ms: 0, who: "child".into(), why: key.clone() };
        let revision = store.commit(Txn::new(meta).if_absent(&key).put(&key, [7; 300])).await.unwrap();
        // The full stop shows a line that the kill cut off.
        println!("acked {revision} {key}.");
    }
}
