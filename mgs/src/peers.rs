//! The other instances on the same store: what one is told of that is worth no commit, it tells them.
//!
//! Heartbeats of nodes go from the instance that heard them to all others; progress of jobs is read from the one that runs them.
//! Both are repeated for as long as they are true, so nothing is lost for long with a connection or an instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lustre_api::Nothing;
use lustre_api::job::{WatchJobs, WatchQuery};
use lustre_api::mgs::Instance;
use lustre_api::node::{HeardOf, Heartbeats, RelayHeartbeats};
use lustre_mgs_core::{OwnerRecord, State};
use rest::{Client, ClientError};
use tracing::debug;

use crate::engine::Engine;
use crate::jobs::progress::Board;
use crate::liveness::Liveness;
use crate::ownership::Ownership;

/// What begins the duty of being an instance, which each has for itself.
const DUTY: &str = "instance/";
/// Between two times that heartbeats are passed on, and how long another instance may take to hear them.
const RELAY_EVERY: Duration = Duration::from_secs(2);
/// Nodes in one message.
const RELAY_AT_ONCE: usize = 10_000;
/// How long no news of jobs are believed, and the wait after a stream of them broke.
const SILENCE: Duration = Duration::from_secs(40);
const RETRY: Duration = Duration::from_secs(1);

/// The instances that share a store, as far as they say where they are.
pub fn instances(state: &State) -> Vec<Instance> {
    let owners = state.owners.iter().filter(|(duty, _)| is_instance(duty));
    let instance = |owner: &OwnerRecord| Instance {
        name: owner.instance.clone(),
        url: owner.url.clone(),
        state_version: owner.knows,
    };
    owners.map(|(_, owner)| instance(&owner.value)).collect()
}

/// Whether a duty only says that there is an instance.
pub(crate) fn is_instance(duty: &str) -> bool {
    duty.starts_with(DUTY)
}

/// Lets the others know of this instance, and exchanges with them what is not in the store. For ever; returns at once on a
/// store of one process.
pub async fn run(engine: Arc<Engine>, ownership: Arc<Ownership>, liveness: Arc<Liveness>, board: Arc<Board>) {
    if !engine.store().is_shared() {
        return;
    }
    let duty = format!("{DUTY}{}", engine.instance());
    tokio::join!(ownership.run(&duty, |_| std::future::pending()), relay(&engine, &liveness), mirror(&engine, &board),);
}

/// Tells the others which nodes this instance heard of.
async fn relay(engine: &Engine, liveness: &Liveness) {
    let mut clients: HashMap<String, Client> = HashMap::new();
    loop {
        tokio::time::sleep(RELAY_EVERY).await;
        let heard: Vec<HeardOf> = liveness.heard_here();
        let others = instances(&engine.state());
        let urls = others.into_iter().filter(|other| other.name != engine.instance()).filter_map(|other| other.url);
        let urls: Vec<String> = urls.collect();
        clients.retain(|url, _| urls.contains(url));
        for url in urls {
            if !clients.contains_key(&url)
                && let Ok(client) = Client::new(&url, None)
            {
                clients.insert(url, client);
            }
        }
        for part in heard.chunks(RELAY_AT_ONCE) {
            let body = Heartbeats { heard: part.to_vec() };
            join_all(clients.values().map(|client| tell(client, &body))).await;
        }
    }
}

async fn tell(client: &Client, body: &Heartbeats) {
    if let Err(error) = client.call_within::<RelayHeartbeats>(RELAY_EVERY, &Nothing {}, &Nothing {}, body).await {
        debug!(url = client.url(), %error, "another instance can't be told of heartbeats now");
    }
}

/// Keeps the board as the instance has it that runs the jobs, while that is another one.
async fn mirror(engine: &Engine, board: &Board) {
    let mut applied = engine.applied();
    loop {
        applied.mark_unchanged();
        let Some(url) = runner_elsewhere(engine) else {
            if applied.changed().await.is_err() {
                return;
            }
            continue;
        };
        let is_over =
            async { while runner_elsewhere(engine).as_ref() == Some(&url) && applied.changed().await.is_ok() {} };
        tokio::select! {
            () = is_over => {}
            ended = read_news(engine, board, &url) => {
                if let Err(error) = ended {
                    debug!(url, %error, "the progress of jobs can't be read from the instance that runs them");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Where the instance is that runs the jobs, where that is another one.
fn runner_elsewhere(engine: &Engine) -> Option<String> {
    let state = engine.state();
    let runner = &state.owners.get("jobs")?.value;
    if runner.instance == engine.instance() { None } else { runner.url.clone() }
}

/// Until the stream ends, or is silent.
async fn read_news(engine: &Engine, board: &Board, url: &str) -> Result<(), ClientError> {
    board.keep(&engine.state().open_jobs);
    let mut news = Client::new(url, None)?.stream::<WatchJobs>(&Nothing {}, &WatchQuery::default()).await?;
    while let Ok(next) = tokio::time::timeout(SILENCE, news.next()).await {
        let Some((_, job)) = next? else { return Ok(()) };
        board.mirror(&job);
    }
    Ok(())
}
