//! Repository chores: CI lanes, generated files, dependency rules.

mod proto;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Repository chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Regenerates the Rust code of the plugin protocol from crates/tfplugin-proto/proto.
    Proto(proto::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Proto(args) => proto::run(&args),
    }
}
