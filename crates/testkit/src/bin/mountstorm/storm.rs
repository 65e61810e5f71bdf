//! The storm: clients connect, mount, and are told of a change.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::{Client, Goal};
use crate::floor::{self, Floor, Kind};
use crate::link::Link;
use crate::server::{self, Process, Says};
use crate::{Args, Mode, percentile, restart, result};

/// Goals of the project: throughput per CPU second against a raw epoll echo of the same message sizes.
const BLOCK_GOAL: &str = ">=0.7";
const LOCK_GOAL: &str = ">=0.5";
/// CPU of a mount against its RPCs on the floor.
const MOUNT_GOAL: &str = "<=1.4";
/// System calls for an RPC.
const SYSCALLS_GOAL: &str = "<=2.4";
/// KiB of user memory for an idle connection.
const IDLE_GOAL: &str = "<=2";
/// KiB for a mounted client, the kernel's sockets included: for three connections.
const CLIENT_GOAL: &str = "<=32";
/// Seconds that a change takes to reach 99 % of the clients, beyond their own pause.
const CHANGE_GOAL: &str = "<=1";
/// Seconds that a mount takes while dead clients hold locks.
const DEAD_GOAL: &str = "<=1";
/// Wire bytes of a request for a log block and of its answer, ksock and LNet headers included.
const BLOCK_BYTES: (usize, usize) = (368, 8568);
/// The same of an enqueue.
const LOCK_BYTES: (usize, usize) = (424, 440);

/// Connections of the measures of one kind of RPC, on the floors and on the MGS.
const MEASURED: usize = 500;
/// RPCs of a turn of the floor that has as many connections as the mounts.
const WIDE_RPCS: usize = 20_000;
/// Floors and MGS take turns, so that all meet what else the machine does; medians count.
const TURNS: usize = 5;

/// Plays everything in one mode and prints what it cost.
pub(crate) async fn run(args: &Args, mode: Mode) -> anyhow::Result<()> {
    // What is to survive the process needs a file.
    let directory = tempfile::tempdir()?;
    let store = args.restart.then(|| directory.path().join("store"));
    let (server, address) = Process::mgs(store.as_deref(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let mode_name = format!("{mode:?}").to_lowercase();
    println!("\n== {mode_name}: {} clients, {} OSTs, {} MDTs", args.clients, args.osts, args.mdts);
    fill(&server, address, args).await?;

    let wide = match mode {
        Mode::Direct => {
            Some((wide_floor(BLOCK_BYTES, args.clients).await?, wide_floor(LOCK_BYTES, args.clients).await?))
        }
        Mode::Routed => None,
    };
    let before = server.usage()?;
    let slab_before = server::slab_kb()?;
    let mut links = connect(address, args, mode).await?;
    let connected = server.usage()?;
    // Both ends of each connection are on this machine.
    let slab_kb = server::slab_kb()?.saturating_sub(slab_before) as f64 / 2.0;
    let connections = (3 * links.len()) as f64;
    let idle_kb = connected.rss_kb.saturating_sub(before.rss_kb) as f64 / connections;
    println!(
        "connecting: {:.1} us of server CPU for three connections; an idle one takes {idle_kb:.2} KB of server memory and {:.2} KB of the kernel's",
        connected.us_since(&before) / links.len() as f64,
        slab_kb / connections
    );
    if mode == Mode::Direct {
        result("idle_connection_kb", idle_kb, IDLE_GOAL);
    }
    let mounted = drive(&mut links, Goal::Mounted).await?;
    let after = server.usage()?;
    let stats = total(&links);
    let mut latencies: Vec<Duration> = links.iter().flat_map(|link| link.mounts()).collect();
    latencies.sort_unstable();
    let per_mount_us = after.us_since(&connected) / args.clients as f64;
    let rpcs_per_mount = stats.rpcs as f64 / args.clients as f64;
    println!(
        "mounts: {} in {:.2} s, {:.0} mounts/s, {:.0} RPCs/s, p50 {:.0} ms, p99 {:.0} ms",
        args.clients,
        mounted.as_secs_f64(),
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
    let user_kb = after.rss_kb.saturating_sub(before.rss_kb) as f64 / args.clients as f64;
    println!("memory: {user_kb:.1} KB of server memory per mounted client");
    result(&format!("client_kb_{mode_name}"), user_kb + slab_kb / args.clients as f64, CLIENT_GOAL);

    let measured = args.clients.min(MEASURED);
    let block = in_turns("log block", BLOCK_BYTES, measured, args.rounds, async |rounds| match mode {
        Mode::Direct => {
            let bare = links[..measured].iter_mut().map(Link::bare).collect::<anyhow::Result<_>>()?;
            floor::echo(&server, bare, BLOCK_BYTES.1, rounds).await
        }
        Mode::Routed => phase(&server, &mut links, Goal::Blocks(rounds), args.clients * rounds).await,
    });
    let (block_us, block_floor_us) = block.await?;
    result(&format!("log_block_{mode_name}"), block_floor_us / block_us, BLOCK_GOAL);
    let lock = in_turns("enqueue and cancel", LOCK_BYTES, measured, args.rounds, async |rounds| {
        // A lock taken is a lock given back: two RPCs of about the same size.
        phase(&server, &mut links, Goal::Locks(rounds), 2 * args.clients * rounds).await
    });
    let (lock_us, lock_floor_us) = lock.await?;
    result(&format!("enqueue_{mode_name}"), lock_floor_us / lock_us, LOCK_GOAL);
    let blocks_per_mount = stats.blocks as f64 / args.clients as f64;
    let floor_of =
        |(block_us, lock_us): (f64, f64)| blocks_per_mount * block_us + (rpcs_per_mount - blocks_per_mount) * lock_us;
    let narrow_us = floor_of((block_floor_us, lock_floor_us));
    let floor_us = wide.map_or(narrow_us, floor_of);
    println!(
        "a mount's RPCs on bare epoll: {narrow_us:.0} us on {measured} connections, {floor_us:.0} us on as many as the mounts had"
    );
    result(&format!("mount_cpu_{mode_name}"), per_mount_us / floor_us, MOUNT_GOAL);

    if args.syscalls {
        let rpcs = args.clients * args.rounds;
        let trace = server.trace()?;
        drive(&mut links, Goal::Blocks(args.rounds)).await?;
        result(&format!("syscalls_{mode_name}"), trace.calls()? as f64 / rpcs as f64, SYSCALLS_GOAL);
    }
    let dead = args.clients * args.dead_percent / 100;
    let mut left = dead;
    for link in &mut links {
        left = link.fall_silent(left);
    }
    let mode_name = format!("{mode:?}").to_lowercase();
    let told = change(address, args, args.osts, &mut links).await?;
    result(&format!("change_seconds_{mode_name}"), told.as_secs_f64(), CHANGE_GOAL);
    mount_beside_dead(address, &mode_name).await?;
    println!("server at the end: {}", server.usage()?);
    if let Some(store) = store {
        restart::run(args, &mode_name, server, &store, address, &mut links).await?;
    }
    Ok(())
}

/// Server CPU of one kind of RPC, in microseconds: ours, and the epoll floor's.
async fn in_turns(
    what: &str,
    sizes: (usize, usize),
    connections: usize,
    rounds: usize,
    mut ours: impl AsyncFnMut(usize) -> anyhow::Result<f64>,
) -> anyhow::Result<(f64, f64)> {
    let mut epoll = Floor::start(Kind::Epoll, sizes, connections, 0).await?;
    let mut tokio = Floor::start(Kind::Tokio, sizes, connections, 0).await?;
    let rounds = rounds.div_ceil(TURNS).max(4);
    let mut measured = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        measured[0].push(ours(rounds).await?);
        measured[1].push(epoll.run(rounds).await?);
        measured[2].push(tokio.run(rounds).await?);
    }
    let [ours, epoll, tokio] = measured.map(median);
    println!("{what}: {ours:.1} us of server CPU per RPC; bare epoll {epoll:.1}, tokio {tokio:.1}");
    Ok((ours, epoll))
}

/// Microseconds of bare epoll for an RPC of these sizes, with the three connections that so many clients have and one request
/// of each under way: what the kernel needs for a socket depends on how many others it has touched since. Before the
/// clients connect: together they would be more than a process may open.
async fn wide_floor(sizes: (usize, usize), clients: usize) -> anyhow::Result<f64> {
    let mut floor = Floor::start(Kind::Epoll, sizes, clients, 2).await?;
    let rounds = WIDE_RPCS.div_ceil(clients).max(4);
    let mut measured = Vec::new();
    for _ in 0..TURNS {
        measured.push(floor.run(rounds).await?);
    }
    Ok(median(measured))
}

fn median(mut us: Vec<f64>) -> f64 {
    us.sort_unstable_by(f64::total_cmp);
    us[us.len() / 2]
}

/// One change of the configuration: OST `index` registers. Gives when 99 % of the living clients had read it, less their own
/// pauses.
pub(crate) async fn change(
    address: SocketAddr,
    args: &Args,
    index: u16,
    links: &mut [Link],
) -> anyhow::Result<Duration> {
    let mut dice = 0x9E37_79B9_7F4A_7C15u64;
    for link in links.iter_mut() {
        link.pause(|| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            Duration::from_millis(dice % args.pause_ms.max(1))
        });
    }
    let mut admin = Link::connect(address, "10.254.0.2@tcp").await?;
    admin.add(Client::registrar("10.254.0.2@tcp", &server::osts(Says::Register, index..index + 1)));
    let began = Instant::now();
    // Beside each other: clients are asked while the answer to who changed something is still on its way.
    let (committed, driven) =
        tokio::join!(async { admin.drive(Goal::Registered).await.map(|()| began.elapsed()) }, drive(links, Goal::Told));
    let (committed, _) = (committed?, driven?);
    let since = |at: Instant| at.saturating_duration_since(began);
    let (mut asked, mut told): (Vec<Duration>, Vec<Duration>) =
        links.iter().flat_map(Link::told).map(|(asked, told)| (since(asked), since(told))).unzip();
    asked.sort_unstable();
    told.sort_unstable();
    let dead = args.clients * args.dead_percent / 100;
    println!("a change with {dead} dead clients: committed after {:.0} ms", committed.as_secs_f64() * 1e3);
    say("asked for their locks", &asked);
    say("had read it, less their own pause", &told);
    Ok(percentile(&told, 99))
}

/// Says when clients did something.
pub(crate) fn say(what: &str, times: &[Duration]) {
    let ms = |percent| percentile(times, percent).as_secs_f64() * 1e3;
    let count = times.len();
    println!("{count} clients were {what}: p50 {:.0} ms, p99 {:.0} ms, last {:.0} ms", ms(50), ms(99), ms(100));
}

async fn mount_beside_dead(address: SocketAddr, mode_name: &str) -> anyhow::Result<()> {
    let mut late = Link::connect(address, "10.254.0.3@tcp").await?;
    late.add(Client::new("10.254.0.3@tcp"));
    let began = Instant::now();
    late.drive(Goal::Mounted).await?;
    result(&format!("mount_beside_dead_seconds_{mode_name}"), began.elapsed().as_secs_f64(), DEAD_GOAL);
    Ok(())
}

/// Registers the file system's targets, as targets do.
async fn fill(server: &Process, address: SocketAddr, args: &Args) -> anyhow::Result<()> {
    let mut link = Link::connect(address, "10.254.0.1@tcp").await?;
    let targets = server::targets(Says::Register, args);
    let count = targets.len();
    link.add(Client::registrar("10.254.0.1@tcp", &targets));
    let (before, began) = (server.usage()?, Instant::now());
    link.drive(Goal::Registered).await?;
    let cpu_ms = server.usage()?.us_since(&before) / 1e3;
    println!(
        "{count} targets registered in {:.1} s, {:.2} ms of server CPU each",
        began.elapsed().as_secs_f64(),
        cpu_ms / count as f64
    );
    restart::announce(address, args, Says::Up).await.map(drop)
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
pub(crate) async fn drive(links: &mut [Link], goal: Goal) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let driven = futures::future::join_all(links.iter_mut().map(|link| link.drive(goal))).await;
    driven.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(began.elapsed())
}

/// Microseconds of server CPU per RPC.
async fn phase(server: &Process, links: &mut [Link], goal: Goal, rpcs: usize) -> anyhow::Result<f64> {
    let before = server.usage()?;
    drive(links, goal).await?;
    let us = server.usage()?.us_since(&before);
    ensure!(us > 0.0, "the server used no CPU: more --rounds are needed");
    Ok(us / rpcs as f64)
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
