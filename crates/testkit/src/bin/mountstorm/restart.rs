//! The MGS is killed and started again under its clients: how long until all of them, and all targets, are back.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::{Client, Goal};
use crate::link::Link;
use crate::server::{self, Process, Says};
use crate::storm::{change, drive, say};
use crate::{Args, percentile, result};

/// Nodes that targets run on: each says of its targets one after the other that they are up.
const SERVERS: usize = 64;
/// Seconds beyond their own pause until 99 % of the clients are back, the start of the MGS included.
const BACK_GOAL: &str = "<=2";
/// Seconds that a change takes to reach 99 % of the clients, beyond their own pause.
const CHANGE_GOAL: &str = "<=1";

/// Kills the server and starts it again on its store; clients and targets come back, as kernels do, and then a change
/// reaches everybody: the locks are there again.
pub(crate) async fn run(
    args: &Args,
    mode_name: &str,
    server: Process,
    store: &Path,
    address: SocketAddr,
    links: &mut [Link],
) -> anyhow::Result<()> {
    let began = Instant::now();
    drop(server);
    let (server, _) = Process::mgs(Some(store), address)?;
    let started = began.elapsed();
    let reconnected = futures::future::join_all(links.iter_mut().map(|link| link.reconnect(address))).await;
    reconnected.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    let connected = began.elapsed();
    // One more than were announced before: the OST of the first change registered only.
    let targets = u64::from(args.osts) + u64::from(args.mdts);
    let before = links.iter().filter_map(Link::table).max().unwrap_or_default();
    let table = before + targets;
    let (announced, driven) = tokio::join!(announce(address, args, Says::UpAgain), drive(links, Goal::Back { table }));
    let (announced, _) = (announced?, driven?);
    let mut back: Vec<Duration> =
        links.iter().flat_map(Link::back).map(|at| at.saturating_duration_since(began)).collect();
    back.sort_unstable();
    println!(
        "the MGS was killed: it listened again after {:.0} ms, connections were open after {:.0} ms, {targets} targets had said that they are up after {:.0} ms",
        started.as_secs_f64() * 1e3,
        connected.as_secs_f64() * 1e3,
        announced.saturating_duration_since(began).as_secs_f64() * 1e3
    );
    say("back with their locks, less their own pause", &back);
    println!(
        "all had read the NID table of all targets after {:.1} s, their pauses included; {}",
        began.elapsed().as_secs_f64(),
        server.usage()?
    );
    let tables: Vec<u64> = links.iter().filter_map(Link::table).collect();
    ensure!(tables.iter().all(|version| *version == table), "each start of a target counts once: {tables:?}");
    result(&format!("restart_back_seconds_{mode_name}"), percentile(&back, 99).as_secs_f64(), BACK_GOAL);
    links.iter_mut().for_each(Link::forget_change);
    let told = change(address, args, args.osts + 1, links).await?;
    result(&format!("change_after_restart_seconds_{mode_name}"), told.as_secs_f64(), CHANGE_GOAL);
    Ok(())
}

/// The targets say that they are up, those of many nodes at once. Gives when all have.
pub(crate) async fn announce(address: SocketAddr, args: &Args, says: Says) -> anyhow::Result<Instant> {
    let mut link = Link::connect(address, "10.254.0.4@tcp").await?;
    let targets = server::targets(says, args);
    for (n, of_node) in targets.chunks(targets.len().div_ceil(SERVERS)).enumerate() {
        link.add(Client::registrar(&format!("10.254.1.{n}@tcp"), of_node));
    }
    link.drive(Goal::Up).await?;
    Ok(Instant::now())
}
