//! A test in a network, mount and process namespace of its own: what it does to routes, clocks and disks, the machine never
//! sees, and whatever it starts ends with it, also when it is killed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::device::run;

/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "TESTKIT_CONTAINED";

/// Runs `body` in namespaces of its own. `test` is the test's full name, as in `faults::it_holds`.
///
/// The test program starts itself again inside. Needs root and `unshare`, which `tools/setup` installs: errors say so.
pub fn contained(test: &str, body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        prepare().context("the namespaces can't be set up; run the tests as root, with iproute2 installed")?;
        return body();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe()?).args([test, "--exact", "--nocapture", "--include-ignored"]);
    let status = command.env(INSIDE, "1").status().context("can't run unshare (util-linux)")?;
    ensure!(status.success(), "the test failed in its namespaces ({status}); what it said is above");
    Ok(())
}

fn prepare() -> anyhow::Result<()> {
    // Names of namespaces are files there: ours are not to be seen outside, nor to stay.
    let names = Path::new("/run/netns");
    std::fs::create_dir_all(names)?;
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(names))?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("can't forward between machines")
}
