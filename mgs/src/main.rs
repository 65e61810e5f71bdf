//! `lustre-mgs`: the userspace MGS daemon.

mod config;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use config::{Command, Config, StoreUrl};
use lustre_mgs::agents::RestAgents;
use lustre_mgs::api::Api;
use lustre_mgs::engine::{self, Caller, Engine};
use lustre_mgs::jobs::{Runner, progress::Board};
use lustre_mgs::liveness::Liveness;
use lustre_mgs::net::{self, Nodes};
use lustre_mgs::ownership::Ownership;
use lustre_mgs::source::Source;
use lustre_mgs::{compaction, expiry, freshness, peers, restore, server, temporary, webhooks};
use lustre_mgs_core::Env;
use lustre_mgs_store::{EtcdStore, MemoryStore, RedbStore, Store};
use rest::daemon::{Listeners, say_listening};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

fn main() -> ExitCode {
    let config = Config::parse();
    config.log_format.start(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            eprintln!("lustre-mgs: can't start: {err}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("lustre-mgs: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    if let Some(Command::Restore { file }) = &config.command {
        return restore(file, &config.store).await;
    }
    // First: who sees that it listens may tell it to end.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (store, kind): (Arc<dyn Store>, _) = match &config.store {
        StoreUrl::Memory => (Arc::new(MemoryStore::new()), "memory"),
        StoreUrl::Redb(path) => (Arc::new(RedbStore::open(path)?), "redb"),
        StoreUrl::Etcd(url) => (Arc::new(EtcdStore::open(url).await?), "etcd"),
    };
    if let Some(uuid) = &config.uuid {
        engine::check_identity(&*store, uuid).await?;
    }
    let mut capabilities = ["api", "jobs", "events"].map(str::to_owned).to_vec();
    let lnet = net::start(&config.lnet()).await?;
    if lnet.is_some() {
        capabilities.push("lnet".into());
    }
    let env = Env {
        mgs_nids: config.nid.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        capabilities,
        store: kind.into(),
        refuse_unknown_targets: config.refuse_unknown_targets,
        limits: config.limits,
    };
    let (engine, mut follower) = Engine::start(store, env).await?;
    let agents = Arc::new(RestAgents::default());
    let board = Arc::new(Board::default());
    let runner = Arc::new(Runner { engine: engine.clone(), agents: agents.clone(), board: board.clone() });
    let nodes = lnet.map(|lnet| Nodes::serve(lnet, engine.clone()));
    // Early, because the other instances are told where: nobody is answered before all is ready.
    let listeners = Listeners::bind(&config.listen, config.socket.as_deref()).await?;
    let ownership = Ownership::start_at(&engine, config.api_url.clone().or_else(|| listeners.url_for_others()));
    let mut duties = JoinSet::new();
    duties.spawn(runner.run(ownership.clone()));
    duties.spawn(expire(ownership.clone(), engine.clone(), agents.clone()));
    duties.spawn(compact(ownership.clone(), engine.clone(), config.history_keep));
    let liveness = Arc::new(Liveness::default());
    duties.spawn(peers::run(engine.clone(), ownership.clone(), liveness.clone(), board.clone()));
    let webhooks = Arc::new(webhooks::Board::default());
    if let Some(file) = &config.webhooks {
        webhooks::start(&engine, &ownership, &webhooks, file, &config.webhook_state, &mut duties)?;
    }
    let (source, reading) = config.source().map(Source::new).transpose()?.unzip();
    let api = Api::new(engine.clone(), agents);
    let api = Arc::new(Api { board, liveness, webhooks, nodes: nodes.clone(), source, ..api });

    for address in nodes.iter().flat_map(|nodes| nodes.addresses()) {
        say_listening(&format!("lnet://{address}"));
    }
    let router = freshness::layer(server::server(api.clone()).router(), engine.clone());
    let (stop, stopped) = watch::channel(false);
    let mut serving = listeners.serve(&router, &stopped);
    if let Some(reading) = reading {
        duties.spawn(reading.run(api, ownership.clone()));
    }

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = &mut follower => Err(ended.unwrap_or_else(|err| anyhow::Error::new(err).context("the MGS stopped following its store"))),
    };
    info!("stopping: requests under way are answered, jobs go on after the next start");
    engine.stop();
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
    if let Some(nodes) = nodes {
        nodes.stop();
    }
    // Whatever these have begun is committed or not; the next start goes on from there.
    duties.shutdown().await;
    ownership.release().await;
    follower.abort();
    info!("stopped");
    outcome
}

/// Ends what is over, as long as that is this instance's duty.
async fn expire(ownership: Arc<Ownership>, engine: Arc<Engine>, agents: Arc<RestAgents>) {
    let work = |guard| {
        let owner = Caller::owner(guard);
        let reservations = expiry::run(engine.clone(), owner.clone());
        let values = temporary::run(engine.clone(), agents.clone(), owner);
        async {
            tokio::join!(reservations, values);
        }
    };
    ownership.run("expiry", work).await;
}

/// Keeps the history within bounds, as long as that is this instance's duty.
async fn compact(ownership: Arc<Ownership>, engine: Arc<Engine>, keep: u64) {
    ownership.run("compaction", |_| compaction::run(engine.clone(), keep)).await;
}

async fn restore(file: &Path, target: &StoreUrl) -> anyhow::Result<()> {
    restore::check(file)?;
    let (restored, store): (_, Arc<dyn Store>) = match target {
        StoreUrl::Memory => anyhow::bail!("a store in memory ends with this program; restore into a file or an etcd"),
        StoreUrl::Redb(path) => (RedbStore::restore(file, path).await?, Arc::new(RedbStore::open(path)?)),
        StoreUrl::Etcd(url) => (EtcdStore::restore(file, url).await?, Arc::new(EtcdStore::open(url).await?)),
    };
    let epoch = restore::finish(store, &restored).await?;
    let _ = writeln!(std::io::stdout(), "restored revision {} as epoch {epoch}", restored.revision);
    Ok(())
}
