//! Repository chores: CI lanes, generated files, dependency rules.

mod ci;
mod collection;
mod dependencies;
mod docs;
mod elf;
mod fuzz;
mod mirror;
mod proto;
mod rolling;
mod stubs;
mod tunables;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Repository chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the Ansible collection with its program, into target/.
    AnsibleCollection(collection::Args),
    /// Runs everything that has to hold before a change lands, or the lanes named.
    Ci(ci::Args),
    /// Checks that dependencies point down only and that the deterministic crates do no I/O.
    Dependencies,
    /// Regenerates docs/provider from the Terraform provider's schemas and examples, and docs/tunables.md from the catalogue.
    Docs(docs::Args),
    /// Runs every fuzz target over its corpus and then on its own for a while.
    Fuzz(fuzz::Args),
    /// Regenerates the Rust code of the plugin protocol from crates/tfplugin-proto/proto.
    Proto(proto::Args),
    /// Packs the Terraform provider for sites without a registry: zip, mirror tree, checksums.
    ProviderMirror(mirror::Args),
    /// Builds the older programs that `mgs/tests/data/older-programs` names and has them upgraded one by one.
    Rolling,
    /// Regenerates the collection's module stubs, action plugins and meta/runtime.yml.
    Stubs(stubs::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::AnsibleCollection(args) => collection::run(&args),
        Chore::Ci(args) => ci::run(&args),
        Chore::Dependencies => dependencies::run(),
        Chore::Docs(args) => docs::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Proto(args) => proto::run(&args),
        Chore::ProviderMirror(args) => mirror::run(&args),
        Chore::Rolling => rolling::run(),
        Chore::Stubs(args) => stubs::run(&args),
    }
}
