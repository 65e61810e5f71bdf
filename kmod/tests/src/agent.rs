//! The real agent and the real MGS: the module loaded, exchanged and unloaded by jobs, as an administrator asks for it with
//! Ansible and with `mgsctl apply`.

use crate::mgs::{Daemon, MGS, PATIENCE, mgsctl, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    process::{Child, Command, Stdio},
    time::Instant,
};

/// Programs of kmod, all of which are one.
const KMOD: [&str; 4] = ["depmod", "modinfo", "modprobe", "rmmod"];
/// Where the agent listens.
const AGENT: &str = "http://127.0.0.1:7080";
/// And where for local root.
const SOCKET: &str = "/tmp/agent.sock";

struct Agent(Child);

impl Agent {
    fn start() -> Result<Self> {
        let mut agent = Command::new("/lustre-agent");
        agent.args([
            "--node",
            "mgs1",
            "--mgs",
            "http://127.0.0.1:7070",
            "--listen",
            "127.0.0.1:7080",
            "--api-url",
            AGENT,
        ]);
        agent.args(["--state-dir", "/tmp/agent", "--nid", MGS, "--socket", SOCKET]);
        Ok(Self(agent.stdout(Stdio::null()).spawn().context("lustre-agent")?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{program} {args:?}: {text}");
    Ok(text)
}

/// Installs a build of the module, as DKMS does.
fn install(build: &str) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let modules = format!("/lib/modules/{}", release.trim());
    fs::create_dir_all(format!("{modules}/updates"))?;
    fs::copy(build, format!("{modules}/updates/lustre_mgs_proxy.ko"))?;
    run("depmod", &["-a"]).map(drop)
}

fn wanted(desired: &str) -> Result<String> {
    fs::write("/tmp/desired.json", desired)?;
    mgsctl(&["apply", "/tmp/desired.json", "--yes"])
}

/// A task of `lustre_mgs_proxy` on this host, as Ansible runs it.
fn task(state: &str, is_check: bool) -> Result<Value> {
    let program = "/tmp/AnsiballZ_lustre_mgs_proxy";
    if !fs::exists(program)? {
        symlink("/lustre-modules", program)?;
    }
    let options =
        json!({ "state": state, "agent_socket": SOCKET, "_ansible_check_mode": is_check, "_ansible_diff": true });
    fs::write("/tmp/task.json", options.to_string())?;
    let output = Command::new(program).arg("/tmp/task.json").output().context("the module")?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no result: {}", String::from_utf8_lossy(&output.stderr)))
}

const PRESENT: &str = r#"{"mgs_proxies": [{"node": "mgs1"}]}"#;
const ABSENT: &str = r#"{"absent": [{"kind": "mgs_proxy", "node": "mgs1"}]}"#;

fn inventory() -> Result<String> {
    run("wget", &["-q", "-O", "-", &format!("{AGENT}/v1/inventory")])
}

fn loaded() -> String {
    let srcversion = fs::read_to_string("/sys/module/lustre_mgs_proxy/srcversion").unwrap_or_default();
    srcversion.trim().to_owned()
}

/// From nothing to loaded, from one build to the next under a serving MGS, refused while in use, and gone.
pub(crate) async fn the_agent_loads_exchanges_and_unloads_the_module() -> Result<()> {
    for name in KMOD {
        // Before busybox's, which know less.
        let _ = fs::remove_file(format!("/bin/{name}"));
        symlink("/kmod", format!("/bin/{name}"))?;
    }
    fs::create_dir_all("/etc/modprobe.d")?;
    fs::write("/etc/modprobe.d/loop.conf", "options lustre_mgs_proxy loop=1\n")?;
    let _ = run("rmmod", &["lustre_mgs_proxy"]);
    let mut mgs = Daemon::start()?;
    let _agent = Agent::start()?;
    until("the node enrols", || Ok(mgsctl(&["node", "list"])?.contains("mgs1"))).await?;

    // What isn't installed can't be loaded, and that is said with what to do.
    let refused = wanted(PRESENT).err().context("it isn't installed")?.to_string();
    ensure!(refused.contains("is not installed for the kernel that runs on mgs1"), "{refused}");

    install("/lustre_mgs_proxy.ko")?;
    // The node tells with its next heartbeat.
    let checked = task("present", true)?;
    ensure!(checked["changed"] == true && checked.to_string().contains("create mgs_proxy mgs1"), "{checked}");
    ensure!(loaded().is_empty(), "check mode loads nothing");
    let made = task("present", false)?;
    ensure!(made["changed"] == true && made["resource"]["is_current"] == true, "{made}");
    ensure!(made["resource"]["srcversion"] == loaded().as_str(), "{made}");
    let again = task("present", false)?;
    ensure!(again["changed"] == false && again["resource"] == made["resource"], "{again}");
    ensure!(fs::read_to_string("/etc/modules-load.d/lustre_mgs_proxy.conf")?.contains("lustre_mgs_proxy"));
    until("the MGS serves", || Ok(mgsctl(&["export", "status"])?.contains(MGS))).await?;
    let again = wanted(PRESENT)?;
    ensure!(again.contains("no changes"), "a second time changes nothing: {again}");
    let seen = inventory()?;
    ensure!(seen.contains("\"users\":[\"lustre-mgs (process") && seen.contains("\"frames_written\":"), "{seen}");

    // Another build, under the daemon that has the device open.
    let first = loaded();
    install("/second/lustre_mgs_proxy.ko")?;
    let began = Instant::now();
    until("it is exchanged", || Ok(wanted(PRESENT).is_ok() && loaded() != first && !loaded().is_empty())).await?;
    println!("exchanged after {} s", began.elapsed().as_secs());
    until("the MGS is back", || Ok(mgsctl(&["export", "status"])?.contains(MGS))).await?;

    let refused = wanted(ABSENT).err().context("the MGS has it open")?.to_string();
    ensure!(refused.contains("lustre-mgs (process") && refused.contains("has the device open"), "{refused}");
    ensure!(!loaded().is_empty());
    mgs.kill()?;
    let _tcp_only = Daemon::without_proxy()?;
    until("the node is back", || Ok(mgsctl(&["node", "list"])?.contains("mgs1"))).await?;
    let gone = task("absent", false)?;
    ensure!(gone["changed"] == true && gone["resource"].is_null() && loaded().is_empty(), "{gone}");
    ensure!(task("absent", false)?["changed"] == false);
    ensure!(!fs::exists("/etc/modules-load.d/lustre_mgs_proxy.conf")?);
    ensure!(began.elapsed() < PATIENCE * 3, "all of it took {:?}", began.elapsed());
    Ok(())
}
