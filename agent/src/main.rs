//! `lustre-agent`: the node agent's daemon.

use anyhow::Context;
use clap::Parser;
use lustre_agent::{
    api::{self, Agent},
    config::{Config, StartDriverChoice},
    host::{Host, Sysroot, Tools, mount::mount_as_told, served::Served},
    jobs::Jobs,
    mgs,
    userspace::Userspace,
};
use rest::{Client, daemon::Listeners};
use std::{os::unix::fs::DirBuilderExt, process::ExitCode, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

fn main() -> ExitCode {
    if let Some(code) = mount_as_told(std::env::args_os().skip(1)) {
        return code;
    }
    let config = Config::parse();
    config.log_format.start(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lustre-agent: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(config));
    // Jobs' threads and a mke2fs are not waited for: the next agent goes on with them.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lustre-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let state_dir = &config.state_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .with_context(|| format!("can't create {}", state_dir.display()))?;
    let mut root = Sysroot { param_root: config.param_root.clone(), ..Sysroot::default() };
    for dir in &config.image_dirs {
        let canonical =
            std::fs::canonicalize(dir).with_context(|| format!("can't use --image-dir {}", dir.display()))?;
        root.image_dirs.push(canonical);
    }
    let mut host = Host::new(root, Tools::from_dir(config.e2fsprogs_dir.as_deref()));
    host.served = Served::open(&state_dir.join("userspace")).context("the list of started targets can't be used")?;
    let host = Arc::new(host);
    host.nids(&config.nids).context("--nid can't be used")?;
    let mgs = config.mgs.as_deref().map(|url| Client::new(url, None)).transpose().context("--mgs can't be used")?;

    let listeners = Listeners::bind(&config.listen, config.socket.as_deref()).await?;
    let api_url = config.api_url.clone().or_else(|| listeners.url());

    let userspace = (config.start_driver == StartDriverChoice::Userspace).then(|| {
        warn!("targets are started by the userspace driver: they register with their MGS and serve no file I/O");
        Userspace::new(host.clone(), config.nids.clone(), config.lnet_port, tokio::runtime::Handle::current())
    });
    if let Some(userspace) = &userspace {
        userspace.resume();
    }
    let jobs = Jobs::start_with(host.clone(), state_dir, userspace)?;
    let agent = Arc::new(Agent { host, jobs, config });
    let mut router = api::server(agent.clone()).router();
    if let Some(mgs) = &mgs {
        router = router.merge(mgs::proxy(mgs.clone()));
    }
    let (stop, stopped) = watch::channel(false);
    let mut serving = listeners.serve(&router, &stopped);
    let enrolling = match (mgs, api_url) {
        (Some(mgs), Some(api_url)) => Some(tokio::spawn(mgs::enrol(agent, mgs, api_url))),
        _ => None,
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: requests under way are answered, jobs go on after the next start");
    stop.send_replace(true);
    if let Some(enrolling) = enrolling {
        enrolling.abort();
    }
    while serving.join_next().await.is_some() {}
    info!("stopped");
    Ok(())
}
