//! Requests of one instance that change the same object: each gets its turn.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lustre_api::Problem;
use lustre_api::filesystem::FilesystemSpec;
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs_core::decide::filesystem::put_filesystem;
use lustre_mgs_core::{Env, Request, State};
use lustre_mgs_store::MemoryStore;

/// Describes the file system anew, deciding as long as `thinking`.
async fn describe(engine: &Engine, description: String, thinking: impl Fn()) -> Result<(), Problem> {
    let name = "scratch".parse().unwrap();
    let spec = FilesystemSpec { name, description: Some(description) };
    let put = |state: &State, req: &Request<'_>| {
        let decision = put_filesystem(state, req, &spec.name, spec.clone());
        thinking();
        decision
    };
    engine.write_as(&Caller::new("somebody"), put).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_decides_slowly_gets_a_turn_beside_those_who_never_rest() {
    let (engine, _follower) = Engine::start(Arc::new(MemoryStore::new()), Env::default()).await.unwrap();
    describe(&engine, "new".into(), || ()).await.unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let busy = (0..2).map(|caller| {
        let (engine, is_done) = (engine.clone(), is_done.clone());
        tokio::spawn(async move {
            for n in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                describe(&engine, format!("{caller} for the {n}th time"), || ()).await.unwrap();
            }
        })
    });
    let busy: Vec<_> = busy.collect();
    let decided = AtomicUsize::new(0);
    let slow = describe(&engine, "with care".into(), || {
        decided.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    });
    let written = tokio::time::timeout(Duration::from_secs(60), slow).await;
    is_done.store(true, Ordering::Relaxed);
    written.unwrap().unwrap();
    assert!(decided.into_inner() > 1, "nobody was in its way, so this says nothing");
    for caller in busy {
        caller.await.unwrap();
    }
}
