//! The real MGS daemon on the device, real clients on the other end: what a node does, through the kernel.

use anyhow::{Context, Result, ensure};
use kproxy::{DEVICE, Device, PEER_DEVICE, Role};
use lnet::Lnet;
use lustre_mgc::{Config, Mgc, Node, Target};
use lustre_wire::{
    ldlm::{ResourceId, ResourceKind},
    llog::print,
    mgs::target_flag,
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// NIDs of the two ends of the loop transport.
const MGS: &str = "192.0.2.1@tcp";
const NODE: &str = "192.0.2.2@tcp";
/// How long anything may take in a virtual machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);

struct Daemon(Child);

impl Daemon {
    fn start() -> Result<Self> {
        let mut mgs = Command::new("/lustre-mgs");
        mgs.args(["--kernel-proxy", DEVICE, "--lnet-listen", "off", "--nid", MGS]);
        mgs.args(["--store", "/tmp/mgs.redb", "--listen", "127.0.0.1:7070"]);
        let mut child = mgs.stdout(Stdio::piped()).spawn().context("lustre-mgs")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let url = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("http://")));
        url.context("the MGS ended before it listened")??;
        std::thread::spawn(move || lines.count());
        Ok(Self(child))
    }

    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A network node on the other end of the loop transport.
async fn node() -> Result<Node> {
    let mut config = lnet::Config::new(Vec::new());
    config.proxy = Some(Arc::new(Device::open(Path::new(PEER_DEVICE), Role::Node).await?));
    Ok(Node::new(Lnet::start(config).await?))
}

async fn client(node: &Node) -> Result<Mgc> {
    let mut config = Config::new(vec![MGS.parse()?]);
    config.requeue = Duration::from_millis(10)..Duration::from_millis(50);
    config.attempt = Duration::from_secs(5);
    config.request = PATIENCE;
    Ok(node.connect(config).await?)
}

fn target(kind: u32, name: &str, index: u32) -> Result<Target> {
    Ok(Target {
        fsname: "scratch".to_owned(),
        svname: format!("scratch-{name}{index:04x}"),
        index,
        flags: kind | target_flag::VIRGIN | target_flag::UPDATE,
        instance: 0,
        nids: vec![NODE.parse()?],
        params: String::new(),
        version: 0x0211_3900,
    })
}

fn mgsctl(args: &[&str]) -> Result<String> {
    let output = Command::new("/mgsctl").args(args).env("LUSTRE_MGS_ENDPOINT", "http://127.0.0.1:7070").output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "mgsctl {args:?}: {text}");
    Ok(text)
}

async fn in_time<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future).await.with_context(|| format!("{what} took more than {PATIENCE:?}"))
}

/// Connect, register targets, read a config log, hold a lock, change a tunable, be told of it, cancel.
pub(crate) async fn a_node_registers_reads_its_log_and_is_told_of_changes() -> Result<()> {
    let _mgs = Daemon::start()?;
    let node = node().await?;
    let server = client(&node).await?;
    server.register(&target(target_flag::MDT, "MDT", 0)?).await?;
    for index in 0..4 {
        server.register(&target(target_flag::OST, "OST", index)?).await?;
    }
    server.ready(&Target { instance: 1, ..target(target_flag::OST, "OST", 0)? }).await?;

    let mounting = client(&node).await?;
    let log = mounting.log("scratch-client").await?.context("the log of clients")?;
    let text = print(&log);
    ensure!(text.matches("event: add_osc").count() == 4, "{text}");
    let recover = mounting.lock(ResourceId::new("scratch", ResourceKind::Recover)?).await?;
    // Bulk: the table of NIDs comes as a PUT of its own.
    let (running, _) = mounting.nid_table(&"scratch".parse()?, 1).await?.context("a table")?;
    ensure!(running.len() == 1, "{running:?}");
    drop(recover);

    let mut follower = mounting.follow("scratch-client", 0);
    follower.next().await?;
    let told = tokio::spawn(async move { follower.next().await });
    mgsctl(&["param", "set", "scratch", "llite.*.max_read_ahead_mb", "64", "--scope", "clients"])?;
    let records = in_time("the change", told).await???;
    let texts: Vec<String> =
        records.iter().filter_map(|record| Some(record.config()?.ok()?.text(1).into_owned())).collect();
    ensure!(texts.iter().any(|text| text.contains("max_read_ahead_mb=64")), "{texts:?}");
    let exports = mgsctl(&["export", "list"])?;
    ensure!(exports.contains(NODE), "{exports}");
    mounting.disconnect().await?;
    server.disconnect().await?;
    Ok(())
}

/// SIGKILL in the middle of registrations: clients come back to the next daemon, and each target is there once.
pub(crate) async fn a_killed_mgs_is_replaced_and_nothing_registers_twice() -> Result<()> {
    let mut mgs = Daemon::start()?;
    let node = node().await?;
    let server = client(&node).await?;
    server.register(&target(target_flag::MDT, "MDT", 0)?).await?;
    let registering: Vec<_> = (0..20)
        .map(|index| {
            let server = server.clone();
            tokio::spawn(async move {
                Ok::<_, anyhow::Error>(server.register(&target(target_flag::OST, "OST", index)?).await?)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    mgs.kill()?;
    let _next = Daemon::start()?;
    for task in registering {
        in_time("a registration", task).await???;
    }
    let log = server.log("scratch-client").await?.context("the log of clients")?;
    ensure!(print(&log).matches("event: add_osc").count() == 20, "{}", print(&log));
    Ok(())
}

/// A second daemon, and one without the module, are told what is wrong.
pub(crate) async fn what_is_wrong_with_the_device_is_said() -> Result<()> {
    let _mgs = Daemon::start()?;
    let second = Command::new("/lustre-mgs")
        .args(["--kernel-proxy", "--lnet-listen", "off", "--store", "memory:", "--listen", "127.0.0.1:0"])
        .output()?;
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && text.contains("another daemon has it open"), "{text}");
    Ok(())
}
