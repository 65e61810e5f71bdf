//! A real etcd on loopback.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::network::Machine;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// One etcd server, of a cluster of one unless made by [`Etcd::start_cluster`]; killed, and its data removed, when dropped.
pub struct Etcd {
    process: Child,
    dir: TempDir,
    port: u16,
    member: Member,
}

/// How a server is started, each time.
struct Member {
    name: String,
    /// Where it runs; here when missing.
    machine: Option<Machine>,
    scheme: &'static str,
    peer: String,
    cluster: String,
    options: Vec<String>,
}

impl Member {
    fn alone(scheme: &'static str, options: Vec<String>) -> Self {
        let peer = "http://127.0.0.1:0".to_owned();
        Self { name: "one".into(), machine: None, scheme, cluster: format!("one={peer}"), peer, options }
    }

    fn host(&self) -> String {
        self.machine.map_or_else(|| "127.0.0.1".to_owned(), |machine| machine.ip().to_string())
    }
}

impl Etcd {
    /// Starts one on a port that the kernel chose. Errors: it is not installed, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Etcd::start`], with more options.
    pub fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        // In memory where there is such a place: what survives a power loss is etcd's business, not ours.
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }?;
        Self::start_at(dir, options)
    }

    /// One that keeps its data below a directory, on whatever disk that is.
    pub fn start_in(parent: &Path) -> anyhow::Result<Self> {
        Self::start_at(tempfile::tempdir_in(parent)?, &[])
    }

    fn start_at(dir: TempDir, options: &[&str]) -> anyhow::Result<Self> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let member = Member::alone("http", options);
        let (process, port) = served(run(dir.path(), 0, &member)?, dir.path())?;
        Ok(Self { process, dir, port, member })
    }

    /// One that speaks TLS only, and only with clients that have a certificate of the authority `ca` (PEM files).
    pub fn start_tls(ca: &Path, cert: &Path, key: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = |path: &Path| path.display().to_string();
        let options = [
            "--client-cert-auth",
            "--trusted-ca-file",
            &path(ca),
            "--cert-file",
            &path(cert),
            "--key-file",
            &path(key),
        ];
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let member = Member::alone("https", options);
        let (process, port) = served(run(dir.path(), 0, &member)?, dir.path())?;
        Ok(Self { process, dir, port, member })
    }

    /// A cluster of so many members. Their ports for each other were free a moment before.
    pub fn start_cluster(count: usize) -> anyhow::Result<Vec<Self>> {
        let free = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let peers = free.iter().map(|listener| Ok(format!("http://{}", listener.local_addr()?)));
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
        drop(free);
        let all: Vec<String> = peers.iter().enumerate().map(|(at, peer)| format!("m{at}={peer}")).collect();
        let mut started = Vec::new();
        for (at, peer) in peers.into_iter().enumerate() {
            let dir = tempfile::tempdir()?;
            let (name, cluster) = (format!("m{at}"), all.join(","));
            let member = Member { name, machine: None, scheme: "http", peer, cluster, options: Vec::new() };
            // They serve once most of them are there.
            started.push((run(dir.path(), 0, &member)?, dir, member));
        }
        started.into_iter().map(Self::wait).collect()
    }

    /// A cluster with a member on each machine, on etcd's own ports; each one's data in the directory made for it.
    pub fn start_on(machines: &[Machine], dirs: Vec<TempDir>) -> anyhow::Result<Vec<Self>> {
        let peer = |machine: &Machine| format!("http://{}:2380", machine.ip());
        let all: Vec<String> = machines.iter().enumerate().map(|(at, m)| format!("m{at}={}", peer(m))).collect();
        let mut started = Vec::new();
        for ((at, machine), dir) in machines.iter().enumerate().zip(dirs) {
            let (name, cluster, peer) = (format!("m{at}"), all.join(","), peer(machine));
            let member = Member { name, machine: Some(*machine), scheme: "http", peer, cluster, options: Vec::new() };
            started.push((run(dir.path(), 2379, &member)?, dir, member));
        }
        started.into_iter().map(Self::wait).collect()
    }

    fn wait((running, dir, member): (Running, TempDir, Member)) -> anyhow::Result<Self> {
        let (process, port) = served(running, dir.path())?;
        Ok(Self { process, dir, port, member })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where its data and its log are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whether it is the leader of its cluster. Errors: it does not answer.
    pub fn is_leader(&self) -> anyhow::Result<bool> {
        let status = self.ctl(&["endpoint", "status", "-w", "fields"])?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.rsplit(" : ").next().map(str::to_owned)
        };
        let (member, leader) = (field("\"MemberID\""), field("\"Leader\""));
        ensure!(member.is_some() && leader.is_some(), "etcdctl says: {status}");
        Ok(member == leader)
    }

    /// `host:port` of its clients.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.member.host(), self.port)
    }

    /// The URL of a store in it.
    pub fn url(&self, prefix: &str) -> String {
        format!("etcd://{}/{prefix}", self.endpoint())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, with the same data on the same port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = served(run(self.dir.path(), self.port, &self.member)?, self.dir.path())?.0;
        Ok(())
    }

    /// Starts all members of a cluster again: none serves before most of them are there.
    pub fn restart_all(members: &mut [Self]) -> anyhow::Result<()> {
        let mut started = Vec::new();
        for member in &mut *members {
            member.kill();
            started.push(run(member.dir.path(), member.port, &member.member)?);
        }
        for (member, running) in members.iter_mut().zip(started) {
            member.process = served(running, member.dir.path())?.0;
        }
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        crate::signal(&self.process, "STOP")
    }

    /// SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        crate::signal(&self.process, "CONT")
    }

    /// What `etcdctl` answers. Errors: it failed, with what it said.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint()]).args(args);
        let output = command.output().context("can't run etcdctl; tools/setup installs etcd-client")?;
        ensure!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that was started, and where it says on which port it serves.
type Running = (Child, mpsc::Receiver<u16>);

fn run(dir: &Path, port: u16, member: &Member) -> anyhow::Result<Running> {
    let Member { name, machine, scheme, peer, cluster, options } = member;
    let client = format!("{scheme}://{}:{port}", member.host());
    let serves = format!("client requests on {}:", member.host());
    let mut command = machine.map_or_else(|| Command::new("etcd"), |machine| machine.command("etcd"));
    command.args(["--name", name, "--data-dir"]).arg(dir.join("data"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster]);
    // Elected, and leases ended, sooner than by default.
    command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().context("can't run etcd; tools/setup installs it (Debian: etcd-server)")?;
    let log = BufReader::new(process.stderr.take().context("stderr is piped")?);
    let mut copy = File::options().create(true).append(true).open(dir.join("log"))?;
    let (found, ports) = mpsc::channel();
    // Reads on for as long as etcd lives, or etcd would stop at its next line.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = writeln!(copy, "{line}");
            let address = line.split(&serves).nth(1);
            if let Some(port) = address.and_then(|rest| rest.split(',').next()?.parse().ok()) {
                let _ = found.send(port);
            }
        }
    });
    Ok((process, ports))
}

/// Waits until it serves. Errors: it does not, with the end of its log.
fn served((mut process, ports): Running, dir: &Path) -> anyhow::Result<(Child, u16)> {
    if let Ok(port) = ports.recv_timeout(PATIENCE) {
        return Ok((process, port));
    }
    let _ = process.kill();
    let _ = process.wait();
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    bail!("etcd did not start: {}", log.lines().rev().take(5).collect::<Vec<_>>().join(" | "))
}
