//! `tools/bench kproxy`: messages through the proxy against a bare pair of devices, in a virtual machine.

#[path = "../tests/vm/machine.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod machine;

use anyhow::{Context, Result};
use machine::Machine;
use std::{path::Path, time::Duration};

fn main() -> Result<()> {
    // `cargo test --benches` asks for a list of tests; there are none.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(());
    }
    let machine = Machine::new()?.module("pair", "pair")?.program(Path::new(env!("CARGO_BIN_EXE_kmod-guest")))?;
    let commands =
        "insmod /lustre_mgs_proxy.ko loop=1 && insmod /pair.ko && /kmod-guest bench && rmmod pair lustre_mgs_proxy";
    let console = machine.run(commands, Duration::from_secs(300)).context("the benchmark in the virtual machine")?;
    let (_, measured) = console.split_once("64b:").context("nothing was measured")?;
    println!("64b:{}", measured.split("RESULT passed").next().unwrap_or_default().trim_end());
    Ok(())
}
