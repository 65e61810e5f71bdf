//! The module in a virtual machine with a real kernel.

mod machine;

use machine::{Machine, static_program};
use std::time::Duration;

#[test]
fn every_claim_about_the_module_holds_in_a_real_kernel() {
    let guest = static_program("kmod-tests", "kmod-guest").expect("the guest program is built");
    let machine = Machine::new().and_then(|machine| machine.program(&guest)).expect("a machine");
    let commands = "insmod /lustre_mgs_proxy.ko loop=1 && /kmod-guest claims && rmmod lustre_mgs_proxy";
    let console = machine.run(commands, Duration::from_secs(300)).expect("all of it passes");
    println!("{console}");
    assert!(console.contains(" 0 failed"), "{console}");
}
