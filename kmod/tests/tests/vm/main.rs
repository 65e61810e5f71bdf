//! The module in a virtual machine with a real kernel.

mod machine;

use machine::Machine;
use std::{path::Path, time::Duration};

const LOAD: &str = "insmod /lustre_mgs_proxy.ko loop=1";
const GUEST: &str = env!("CARGO_BIN_EXE_kmod-guest");

#[test]
fn every_claim_about_the_module_holds_in_a_real_kernel() {
    let machine = Machine::new().and_then(|machine| machine.program(Path::new(GUEST))).expect("a machine");
    let commands = format!("{LOAD} && /kmod-guest module && rmmod lustre_mgs_proxy");
    let console = machine.run(&commands, Duration::from_secs(300)).expect("all of it passes");
    println!("{console}");
    assert!(console.contains("claims: 23 passed, 0 failed"), "{console}");
}

#[test]
fn the_mgs_serves_nodes_through_the_kernel() {
    let mut machine = Machine::new().and_then(|machine| machine.program(Path::new(GUEST))).expect("a machine");
    for daemon in ["lustre-mgs", "mgsctl"] {
        let path = Path::new(GUEST).with_file_name(daemon);
        machine = machine.program(&path).expect("build it first: cargo build --workspace --bins");
    }
    let commands = format!("{LOAD} && /kmod-guest daemon && rmmod lustre_mgs_proxy");
    let console = machine.run(&commands, Duration::from_secs(300)).expect("all of it passes");
    println!("{console}");
    assert!(console.contains("claims: 7 passed, 0 failed"), "{console}");
}

#[test]
fn the_agent_has_the_module_that_is_installed() {
    let machine = Machine::new().and_then(|machine| machine.second_build("second")).expect("a machine");
    let mut machine = machine.program(Path::new(GUEST)).expect("a machine");
    for daemon in ["lustre-mgs", "mgsctl", "lustre-agent", "lustre-modules"] {
        let path = Path::new(GUEST).with_file_name(daemon);
        machine = machine.program(&path).expect("build it first: cargo build --workspace --bins");
    }
    let machine = machine.program(Path::new("/usr/bin/kmod")).expect("kmod, of which every Debian has one");
    let console = machine.run("/kmod-guest agent", Duration::from_secs(300)).expect("all of it passes");
    println!("{console}");
    assert!(console.contains("claims: 1 passed, 0 failed"), "{console}");
}
