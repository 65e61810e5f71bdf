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

mod back;
mod client;
mod floor;
mod link;
mod restart;
mod server;
mod storm;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;

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
    /// Clients wait a random time up to this before they read what changed, in milliseconds: kernels 5 to 10 seconds.
    #[arg(long, default_value_t = 5000)]
    pause_ms: u64,
    /// Kills the server in the end, starts it again on its store, and measures until clients and targets are back.
    #[arg(long)]
    restart: bool,
    /// Counts system calls: attaches strace to the server for one phase.
    #[arg(long)]
    syscalls: bool,
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
    for mode in [Mode::Direct, Mode::Routed] {
        if args.mode.is_none_or(|only| only == mode) {
            storm::run(args, mode).await.with_context(|| format!("{mode:?}"))?;
        }
    }
    Ok(())
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn result(name: &str, ratio: f64, goal: &str) {
    println!("RESULT name={name} ratio={ratio:.2} goal={goal}");
}
