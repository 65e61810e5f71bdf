//! Many clients mount at once: full mount sequences against a real MGS over TCP on loopback, and the floors beside them.
//!
//! ```sh
//! cargo build --release -p lustre-mgs
//! cargo run --release -p testkit --bin mountstorm -- --clients 1000 --osts 1000 --mdts 16
//! ```
//!
//! *Direct* is a client with three connections of its own; *routed* are many clients behind a few LNet routers. CPU is the
//! server process's own, from `/proc`, so that what else the machine does hardly shows.

// Figures for people: what is lost beyond 2^52 doesn't show.
#![allow(clippy::cast_precision_loss)]

mod client;
mod floor;
mod link;
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use client::{Client, Goal};
use link::Link;
use server::{Process, Usage};

/// Goals of the project: throughput per CPU second against a raw epoll echo of the same message sizes.
const BLOCK_GOAL: f64 = 0.7;
const LOCK_GOAL: f64 = 0.5;
/// CPU of a mount against its RPCs on the floor.
const MOUNT_GOAL: f64 = 1.4;
/// Wire bytes of a request for a log block and of its answer, ksock and LNet headers included.
const BLOCK_BYTES: (usize, usize) = (368, 8568);
/// The same of an enqueue.
const LOCK_BYTES: (usize, usize) = (424, 440);

/// Plays mounts against an MGS and prints what they cost.
#[derive(Parser)]
struct Args {
    /// Clients that mount at the same time.
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// OSTs of the file system.
    #[arg(long, default_value_t = 100)]
    osts: u16,
    /// MDTs of the file system.
    #[arg(long, default_value_t = 4)]
    mdts: u16,
    /// RPCs of each client in the phases that measure one kind of RPC.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Clients that are dead when the parameter changes, in percent.
    #[arg(long, default_value_t = 1)]
    dead_percent: usize,
    /// Only one mode.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Routers in routed mode.
    #[arg(long, default_value_t = 16)]
    routers: usize,
    /// Serves a floor instead; for the program itself.
    #[arg(long, hide = true, value_enum)]
    serve: Option<floor::Kind>,
    /// Sizes of the floor's messages.
    #[arg(long, hide = true, num_args = 2)]
    sizes: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Direct,
    Routed,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(kind) = args.serve {
        return floor::serve(kind, args.sizes[0], args.sizes[1]);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let floors = [BLOCK_BYTES, LOCK_BYTES].map(|sizes| (sizes, args.clients.min(1000), args.rounds.max(20)));
    let mut epoll_us = Vec::new();
    for ((request, reply), clients, rounds) in floors {
        for kind in [floor::Kind::Epoll, floor::Kind::Tokio] {
            let us = floor::measure(kind, request, reply, clients, rounds).await?;
            println!("floor {kind:?} {request}->{reply}: {us:.1} us of server CPU per RPC at {clients} connections");
            if kind == floor::Kind::Epoll {
                epoll_us.push(us);
            }
        }
    }
    for mode in [Mode::Direct, Mode::Routed] {
        if args.mode.is_none_or(|only| only == mode) {
            storm(args, mode, epoll_us[0], epoll_us[1]).await.with_context(|| format!("{mode:?}"))?;
        }
    }
    Ok(())
}

async fn storm(args: &Args, mode: Mode, block_floor_us: f64, lock_floor_us: f64) -> anyhow::Result<()> {
    let (server, address) = Process::mgs()?;
    let mode_name = format!("{mode:?}").to_lowercase();
    println!("\n== {mode_name}: {} clients, {} OSTs, {} MDTs", args.clients, args.osts, args.mdts);
    fill(address, args).await?;

    let before = server.usage()?;
    let began = Instant::now();
    let mut links = connect(address, args, mode).await?;
    let connected = server.usage()?;
    println!(
        "connecting: {:.1} us of server CPU per connection set, {:.2} KB of server memory per client",
        (connected.cpu - before.cpu).as_secs_f64() * 1e6 / links.len() as f64,
        connected.rss_kb.saturating_sub(before.rss_kb) as f64 / args.clients as f64
    );
    let mounted = drive(&mut links, Goal::Mounted).await?;
    let after = server.usage()?;
    let wall = began.elapsed();
    let stats = total(&links);
    let mut latencies: Vec<Duration> = links.iter().flat_map(|link| link.mounts()).collect();
    latencies.sort_unstable();
    let cpu_us = (after.cpu - connected.cpu).as_secs_f64() * 1e6;
    let per_mount_us = cpu_us / args.clients as f64;
    let rpcs_per_mount = stats.rpcs as f64 / args.clients as f64;
    println!(
        "mounts: {} in {:.2} s, {:.0} mounts/s, {:.0} RPCs/s, p50 {:.0} ms, p99 {:.0} ms",
        args.clients,
        wall.as_secs_f64(),
        args.clients as f64 / mounted.as_secs_f64(),
        stats.rpcs as f64 / mounted.as_secs_f64(),
        percentile(&latencies, 50).as_secs_f64() * 1e3,
        percentile(&latencies, 99).as_secs_f64() * 1e3
    );
    println!(
        "per mount: {rpcs_per_mount:.0} RPCs, {:.2} MB, {per_mount_us:.0} us of server CPU, {:.1} us per RPC",
        stats.bytes as f64 / args.clients as f64 / 1e6,
        per_mount_us / rpcs_per_mount
    );
    println!(
        "memory: {:.1} KB of server memory per mounted client",
        after.rss_kb.saturating_sub(before.rss_kb) as f64 / args.clients as f64
    );
    let blocks_per_mount = stats.blocks as f64 / args.clients as f64;
    let floor_us = blocks_per_mount * block_floor_us + (rpcs_per_mount - blocks_per_mount) * lock_floor_us;
    result(&format!("mount_cpu_{mode_name}"), per_mount_us / floor_us, MOUNT_GOAL);

    let block_us = phase(&server, &mut links, Goal::Blocks(args.rounds), args.clients * args.rounds).await?;
    println!("log block: {block_us:.1} us of server CPU per RPC");
    result(&format!("log_block_{mode_name}"), block_floor_us / block_us, BLOCK_GOAL);
    // A lock taken is a lock given back: two RPCs of about the same size.
    let lock_us = phase(&server, &mut links, Goal::Locks(args.rounds), 2 * args.clients * args.rounds).await?;
    println!("enqueue and cancel: {lock_us:.1} us of server CPU per RPC");
    result(&format!("enqueue_{mode_name}"), lock_floor_us / lock_us, LOCK_GOAL);

    change(address, args, &mut links).await?;
    println!("server at the end: {}", server.usage()?);
    Ok(())
}

/// One client's parameter change, and when the others are told.
async fn change(address: SocketAddr, args: &Args, links: &mut [Link]) -> anyhow::Result<()> {
    let dead = args.clients * args.dead_percent / 100;
    let mut left = dead;
    for link in links.iter_mut() {
        left = link.fall_silent(left);
    }
    let mut admin = Link::connect(address, "10.254.0.2@tcp").await?;
    admin.add(Client::registrar("10.254.0.2@tcp", &server::osts(args.osts..args.osts + 1)));
    let began = Instant::now();
    admin.drive(Goal::Registered).await?;
    let committed = began.elapsed();
    drive(links, Goal::Asked).await?;
    let mut told: Vec<Duration> =
        links.iter().flat_map(|link| link.asked()).map(|at| at.saturating_duration_since(began)).collect();
    told.sort_unstable();
    println!(
        "a change reached {} clients ({dead} dead): committed after {:.0} ms, p50 {:.0} ms, p99 {:.0} ms, last {:.0} ms",
        told.len(),
        committed.as_secs_f64() * 1e3,
        percentile(&told, 50).as_secs_f64() * 1e3,
        percentile(&told, 99).as_secs_f64() * 1e3,
        percentile(&told, 100).as_secs_f64() * 1e3
    );
    let mut late = Link::connect(address, "10.254.0.3@tcp").await?;
    late.add(Client::new("10.254.0.3@tcp"));
    let began = Instant::now();
    late.drive(Goal::Mounted).await?;
    println!("a mount while dead clients hold revoked locks: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Registers the file system's targets, as targets do.
async fn fill(address: SocketAddr, args: &Args) -> anyhow::Result<()> {
    let mut link = Link::connect(address, "10.254.0.1@tcp").await?;
    let targets = [server::mdts(args.mdts), server::osts(0..args.osts)].concat();
    let count = targets.len();
    link.add(Client::registrar("10.254.0.1@tcp", &targets));
    let began = Instant::now();
    link.drive(Goal::Registered).await?;
    println!("{count} targets registered in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn connect(address: SocketAddr, args: &Args, mode: Mode) -> anyhow::Result<Vec<Link>> {
    let nid = |n: usize| format!("10.{}.{}.{}@tcp", 1 + (n >> 16), (n >> 8) & 255, n & 255);
    let mut links = Vec::new();
    match mode {
        Mode::Direct => {
            for n in 0..args.clients {
                let mut link = Link::connect(address, &nid(n)).await?;
                link.add(Client::new(&nid(n)));
                links.push(link);
            }
        }
        Mode::Routed => {
            for router in 0..args.routers {
                let mut link = Link::connect(address, &format!("10.253.0.{router}@tcp")).await?;
                for n in (router..args.clients).step_by(args.routers) {
                    link.add(Client::new(&nid(n)));
                }
                links.push(link);
            }
        }
    }
    Ok(links)
}

/// Drives all links until each of their clients is where it should be.
async fn drive(links: &mut [Link], goal: Goal) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let driven = futures::future::join_all(links.iter_mut().map(|link| link.drive(goal))).await;
    driven.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(began.elapsed())
}

/// Microseconds of server CPU per RPC.
async fn phase(server: &Process, links: &mut [Link], goal: Goal, rpcs: usize) -> anyhow::Result<f64> {
    let before = server.usage()?;
    drive(links, goal).await?;
    let after: Usage = server.usage()?;
    ensure!(after.cpu > before.cpu, "the server used no CPU: more --rounds are needed");
    Ok((after.cpu - before.cpu).as_secs_f64() * 1e6 / rpcs as f64)
}

#[derive(Default)]
struct Total {
    rpcs: usize,
    blocks: usize,
    bytes: usize,
}

fn total(links: &[Link]) -> Total {
    let mut total = Total::default();
    for link in links {
        let (rpcs, blocks) = link.rpcs();
        total.rpcs += rpcs;
        total.blocks += blocks;
        total.bytes += link.bytes;
    }
    total
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn result(name: &str, ratio: f64, goal: f64) {
    println!("RESULT name={name} ratio={ratio:.2} goal={goal}");
}
