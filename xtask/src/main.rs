//! Repository chores: CI lanes, generated files, dependency rules.

mod docs;
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
    /// Regenerates docs/provider from the Terraform provider's schemas and examples.
    Docs(docs::Args),
    /// Regenerates the Rust code of the plugin protocol from crates/tfplugin-proto/proto.
    Proto(proto::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Docs(args) => docs::run(&args),
        Chore::Proto(args) => proto::run(&args),
    }
}
