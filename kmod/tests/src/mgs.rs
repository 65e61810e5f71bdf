//! The real MGS daemon on the device, real clients on the other end: what a node does, through the kernel.

use crate::{
    end::{End, nid, pattern, put},
    hostile::Random,
    lifetime,
};
use anyhow::{Context, Result, bail, ensure};
use kproxy::{DEVICE, Frame, PEER_DEVICE, Process, Role, portal};
use lnet::{KernelProxy, Lnet};
use lustre_mgc::{Config, Mgc, Node, Target};
use lustre_wire::{
    ldlm::{ResourceId, ResourceKind},
    llog::print,
    mgs::target_flag,
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// NIDs of the two ends of the loop transport.
pub(crate) const MGS: &str = "192.0.2.1@tcp";
const NODE: &str = "192.0.2.2@tcp";
/// How long anything may take in a virtual machine on a busy host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&["--kernel-proxy", DEVICE])
    }

    pub(crate) fn without_proxy() -> Result<Self> {
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Result<Self> {
        let mut mgs = Command::new("/lustre-mgs");
        mgs.args(args).args(["--lnet-listen", "off", "--nid", MGS]);
        mgs.args(["--store", "/tmp/mgs.redb", "--listen", "127.0.0.1:7070"]);
        let mut child = mgs.stdout(Stdio::piped()).spawn().context("lustre-mgs")?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let url = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("http://")));
        url.context("the MGS ended before it listened")??;
        std::thread::spawn(move || lines.count());
        Ok(Self(child))
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("/bin/kill").args([signal, &self.0.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal}");
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
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
    config.proxy = Some(KernelProxy { path: PEER_DEVICE.into(), role: Role::Node, may_open: || Ok(()) });
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

pub(crate) fn mgsctl(args: &[&str]) -> Result<String> {
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

/// Asks again until it is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > PATIENCE {
            bail!("{what}: not in {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Whether the MGS says that it serves through the proxy.
fn is_served() -> Result<bool> {
    Ok(mgsctl(&["export", "status"])?.contains(MGS))
}

/// The module is exchanged under a running daemon: both ends let go, come back, and go on where they were.
pub(crate) async fn an_exchanged_module_is_used_again() -> Result<()> {
    let _mgs = Daemon::start()?;
    let node = node().await?;
    let server = client(&node).await?;
    server.register(&target(target_flag::MDT, "MDT", 0)?).await?;
    for index in 0..3 {
        lifetime::set_retired("1")?;
        // Under way while there is no device; it is done when there is one again.
        let registering = {
            let server = server.clone();
            tokio::spawn(async move {
                Ok::<_, anyhow::Error>(server.register(&target(target_flag::OST, "OST", index)?).await?)
            })
        };
        until("the module goes", || Ok(lifetime::remove().is_ok())).await?;
        ensure!(mgsctl(&["export", "status"])?.contains("waiting for the module"));
        lifetime::insert()?;
        in_time("a registration", registering).await???;
        until("the MGS is back", is_served).await?;
    }
    let log = server.log("scratch-client").await?.context("the log of clients")?;
    ensure!(print(&log).matches("event: add_osc").count() == 3, "{}", print(&log));
    Ok(())
}

/// A daemon that is there before the module serves through it as soon as it comes.
pub(crate) async fn a_module_that_comes_later_is_found() -> Result<()> {
    lifetime::remove()?;
    let started = Daemon::start();
    let status = mgsctl(&["export", "status"]);
    lifetime::insert()?;
    let _mgs = started?;
    ensure!(status?.contains("waiting for the module"));
    until("the MGS serves", is_served).await?;
    let server = client(&node().await?).await?;
    server.register(&target(target_flag::MDT, "MDT", 0)?).await?;
    Ok(())
}

/// A daemon that doesn't run for a while loses nothing of what the module could hold, and the network waits.
pub(crate) async fn a_stopped_mgs_holds_the_network_back() -> Result<()> {
    let mgs = Daemon::start()?;
    let mut flood = End::node()?;
    mgs.signal("-STOP")?;
    let mut sent = 0;
    while flood.write(&put(1, portal::REQUEST, sent, &pattern(300))).is_ok() {
        sent += 1;
        ensure!(sent < 100_000, "no end to what the module holds");
    }
    ensure!(sent > 1024, "{sent} is less than a queue");
    mgs.signal("-CONT")?;
    // All of it was nonsense to the MGS; what counts is that it is taken, and that the next node is served.
    let began = Instant::now();
    while flood.write(&put(1, portal::REQUEST, sent, &pattern(300))).is_err() {
        ensure!(began.elapsed() < PATIENCE, "the MGS does not take what waits");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(flood);
    let server = client(&node().await?).await?;
    in_time("a registration", server.register(&target(target_flag::MDT, "MDT", 0)?)).await??;
    Ok(())
}

/// A connect request, as recorded from a kernel: what a hostile node starts from. Bytes that aren't zero, by offset.
const CONNECT: &str = include_str!("../../../crates/lustre-wire/testdata/ptlrpc/connect-request.hex");
const CONNECT_LEN: usize = 520;

fn connect_request() -> Result<Vec<u8>> {
    let mut bytes = vec![0; CONNECT_LEN];
    for (offset, hex) in CONNECT.lines().filter_map(|line| line.split_once(": ")).filter(|(at, _)| at.len() == 4) {
        let start = usize::from_str_radix(offset, 16)?;
        for (at, digits) in (start..).zip(hex.as_bytes().chunks(2)) {
            *bytes.get_mut(at).context("an offset")? = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
        }
    }
    Ok(bytes)
}

fn hostile_frame(random: &mut Random, connect: &[u8]) -> Frame {
    let mut payload = match random.below(4) {
        0 => (0..random.below(4096)).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect(),
        _ => connect.to_vec(),
    };
    for _ in 0..random.below(6) {
        let at = random.below(payload.len().max(1));
        if let Some(byte) = payload.get_mut(at) {
            *byte = if random.below(3) == 0 { 0xff } else { u8::try_from(random.below(256)).expect("a byte") };
        }
    }
    if random.below(8) == 0 {
        payload.truncate(random.below(payload.len() + 1));
    }
    let to = [portal::REQUEST, portal::REQUEST, portal::CANCEL, portal::CALLBACK_ANSWER][random.below(4)];
    let bits = u64::try_from(random.below(1 << 40)).expect("40 bits");
    let host = u8::try_from(100 + random.below(100)).expect("below 200");
    Frame { local: Process { nid: nid(host), pid: 12345 }, ..put(1, to, bits, &payload) }
}

/// Nodes that send nonsense and half-right connects, from a hundred addresses, beside one that works.
pub(crate) async fn a_hostile_node_costs_the_others_nothing() -> Result<()> {
    let mut mgs = Daemon::start()?;
    let connect = connect_request()?;
    let mut random = Random::new(0xbad_5eed);
    let mut hostile = End::node()?;
    let mut sent = 0;
    let began = Instant::now();
    while sent < 5_000 {
        ensure!(began.elapsed() < PATIENCE, "the MGS took {sent} messages in {PATIENCE:?}");
        match hostile.write(&hostile_frame(&mut random, &connect)) {
            Ok(()) => sent += 1,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(error) => return Err(error).context("a hostile frame"),
        }
        while hostile.try_read()?.is_some() {}
    }
    drop(hostile);
    let server = client(&node().await?).await?;
    in_time("a registration", server.register(&target(target_flag::MDT, "MDT", 0)?)).await??;
    ensure!(mgs.0.try_wait()?.is_none(), "the MGS ended");
    Ok(())
}
