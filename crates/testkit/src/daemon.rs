//! The daemons as processes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::device::LoopDevice;
use crate::network::Machine;
use crate::zfs_node::ZfsNode;

/// A daemon that says on standard output where it listens.
pub(crate) struct Daemon {
    process: Child,
    url: String,
    /// Where Lustre's nodes reach it, if they do.
    lnet: Option<SocketAddr>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let mut lnet = None;
        let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let url = line.strip_prefix("listening on ")?;
            if let Some(address) = url.strip_prefix("lnet://") {
                lnet = address.parse().ok();
            }
            Some(url).filter(|url| url.starts_with("http")).map(|url| url.trim_end_matches('/').to_owned())
        });
        // The pipe stays drained, or the daemon would stop at its next line.
        std::thread::spawn(move || lines.count());
        let url = url.context("it ended before it listened")?;
        Ok(Self { process, url, lnet })
    }

    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        crate::signal(&self.process, name)
    }

    /// SIGKILL, as a crash is.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An MGS on a redb file. Its NID is `10.9.0.1@tcp`, which nobody can reach; with LNet `127.0.0.1@tcp`.
pub struct Mgs {
    daemon: Daemon,
    dir: Arc<TempDir>,
    lnet: Lnet,
}

/// Whether targets are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lnet {
    /// No: they are on disk and in the configuration only.
    Off,
    /// By the userspace driver, over LNet on loopback.
    On,
}

impl Mgs {
    /// Starts a new one, in a directory of its own.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(Arc::new(tempfile::tempdir()?), Lnet::Off)
    }

    fn start_in(dir: Arc<TempDir>, lnet: Lnet) -> anyhow::Result<Self> {
        Ok(Self { daemon: Self::spawn(dir.path(), "127.0.0.1:0", lnet, "127.0.0.1:0")?, dir, lnet })
    }

    fn spawn(dir: &Path, listen: &str, lnet: Lnet, lnet_listen: &str) -> anyhow::Result<Daemon> {
        let mut command = Command::new(crate::binary("lustre-mgs")?);
        let nid = if lnet == Lnet::On { "127.0.0.1@tcp" } else { "10.9.0.1@tcp" };
        command.args(["--listen", listen, "--nid", nid, "--store"]).arg(dir.join("mgs.redb"));
        // Privileged ports are few, and many tests run at once.
        command.args(["--lnet-listen", lnet_listen, "--lnet-accept", "all"]);
        Daemon::start(&mut command, &dir.join("mgs.log")).context("lustre-mgs")
    }

    /// Where its API is.
    pub fn endpoint(&self) -> &str {
        &self.daemon.url
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.daemon.process.id()
    }

    /// Kills it with SIGKILL and starts it again at the same place.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        let listen = self.daemon.url.trim_start_matches("http://").to_owned();
        let lnet = self.lnet()?.to_string();
        self.daemon.kill();
        self.daemon = Self::spawn(self.dir.path(), &listen, self.lnet, &lnet)?;
        Ok(())
    }

    /// Takes a backup with `mgsctl`.
    pub fn backup(&self, file: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(crate::binary("mgsctl")?);
        crate::run(command.args(["--endpoint", self.endpoint(), "backup"]).arg(file)).map(drop)
    }

    /// Kills it with SIGKILL, and starts it at the same place on a store restored from a backup.
    pub fn restore(&mut self, backup: &Path) -> anyhow::Result<()> {
        self.daemon.kill();
        let store = self.dir.path().join("mgs.redb");
        std::fs::remove_file(&store)?;
        let mut command = Command::new(crate::binary("lustre-mgs")?);
        crate::run(command.arg("restore").arg(backup).arg("--store").arg(&store))?;
        self.crash_and_restart()
    }

    /// Where Lustre's nodes reach it.
    pub fn lnet(&self) -> anyhow::Result<SocketAddr> {
        self.daemon.lnet.context("the MGS doesn't listen for Lustre's nodes")
    }

    /// What it has logged.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("mgs.log"))?)
    }

    /// What `mgsctl -o json ARGUMENTS` prints; its error text when it fails.
    pub fn mgsctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(crate::binary("mgsctl")?);
        let output = command.args(["--endpoint", self.endpoint(), "-o", "json"]).args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// An agent of a node, whose devices are image files.
pub struct Agent {
    /// The node's name.
    pub node: String,
    daemon: Daemon,
    dir: PathBuf,
    mgs: String,
    started: Vec<String>,
    place: Place,
}

/// Where an agent runs.
#[derive(Clone)]
enum Place {
    /// Here.
    Here,
    /// On a machine of a network.
    Machine(Machine),
    /// Where the node has a ZFS of its own.
    Zfs(Arc<Mutex<ZfsNode>>),
}

impl Place {
    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Machine(machine) => machine.command(program),
            Self::Zfs(zfs) => locked(zfs).command(program),
        }
    }
}

fn locked(zfs: &Mutex<ZfsNode>) -> MutexGuard<'_, ZfsNode> {
    zfs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Starts the agent of a node that runs on a machine of a network and keeps everything in `dir`. `mgs` is where it enrols;
    /// it starts no targets.
    pub fn on(machine: Machine, node: &str, dir: PathBuf, mgs: &str) -> anyhow::Result<Self> {
        let started = ["--nid".to_owned(), machine.nid()].to_vec();
        let listen = format!("{}:0", machine.ip());
        let place = Place::Machine(machine);
        let daemon = Self::spawn(node, &dir, mgs, &listen, &started, &place)?;
        let (node, mgs) = (node.to_owned(), mgs.to_owned());
        Ok(Self { node, daemon, dir, mgs, started, place })
    }

    /// `started` is how it starts targets, and its NID.
    fn spawn(
        node: &str,
        dir: &Path,
        mgs: &str,
        listen: &str,
        started: &[String],
        place: &Place,
    ) -> anyhow::Result<Daemon> {
        std::fs::create_dir_all(dir.join("images"))?;
        let mut command = place.command(&crate::binary("lustre-agent")?);
        command.args(["--node", node, "--listen", listen, "--mgs", mgs]).args(started);
        command.arg("--state-dir").arg(dir.join("state")).arg("--image-dir").arg(dir.join("images"));
        command.arg("--socket").arg(dir.join("agent.sock")).arg("--param-root").arg(dir.join("root"));
        // Programs that a test puts there come before those of the machine.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", dir.join("bin").display()));
        Daemon::start(&mut command, &dir.join("agent.log")).with_context(|| format!("lustre-agent of {node}"))
    }

    /// Where an image file of the node is, or would be.
    pub fn path(&self, image: &str) -> PathBuf {
        self.dir.join("images").join(image)
    }

    /// Makes an image file of `size_bytes`, sparse and blank, that serves as a device. Returns its path.
    pub fn image(&self, name: &str, size_bytes: u64) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("images").join(name);
        File::create_new(&path)?.set_len(size_bytes)?;
        Ok(path)
    }

    /// Sets a tunable behind everybody's back, as `echo` into the kernel's file would: `osc/<device>/max_dirty_mb`.
    pub fn set_tunable(&self, path: &str, value: &str) -> anyhow::Result<()> {
        let path = self.dir.join("root/sys/fs/lustre").join(path);
        std::fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        Ok(std::fs::write(path, format!("{value}\n"))?)
    }

    /// The node's ZFS.
    ///
    /// # Panics
    /// When the cluster was started without.
    pub fn zfs(&self) -> MutexGuard<'_, ZfsNode> {
        match &self.place {
            Place::Zfs(zfs) => locked(zfs),
            _ => panic!("{} has no ZFS of its own", self.node),
        }
    }

    /// Makes a file in another node's directory a device of this node, too: a shared disk. Returns its path here.
    pub fn share(&self, image: &Path) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("images").join(image.file_name().context("an image has a name")?);
        std::fs::hard_link(image, &path)?;
        Ok(path)
    }

    /// Makes a tunable one that can, or can't, be written.
    pub fn set_tunable_mode(&self, path: &str, mode: u32) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.join("root/sys/fs/lustre").join(path);
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
    }

    /// What a tunable is on the node.
    pub fn tunable(&self, path: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.join("root/sys/fs/lustre").join(path))?.trim_end().to_owned())
    }

    /// The directory of programs that the agent runs rather than those of the machine; empty at first.
    pub fn bin(&self) -> anyhow::Result<PathBuf> {
        let bin = self.dir.join("bin");
        std::fs::create_dir_all(&bin)?;
        Ok(bin)
    }

    /// The agent's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// Where its API is.
    pub fn endpoint(&self) -> &str {
        &self.daemon.url
    }

    /// Makes a sparse file of `size_bytes`, and a loop device on it. Needs root. Returns the device, with its path.
    pub fn loop_device(&self, name: &str, size_bytes: u64) -> anyhow::Result<LoopDevice> {
        let path = self.dir.join(name);
        File::create_new(&path)?.set_len(size_bytes)?;
        LoopDevice::on(&path)
    }

    /// Stops it where it is, with SIGSTOP: it answers nobody.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.daemon.signal("STOP")
    }

    /// Lets it go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.daemon.signal("CONT")
    }

    /// SIGKILL; what it had started may go on.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Kills it with SIGKILL and starts it again at the same place; what it had started may go on meanwhile.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        let listen = self.daemon.url.trim_start_matches("http://").to_owned();
        self.daemon.kill();
        self.daemon = Self::spawn(&self.node, &self.dir, &self.mgs, &listen, &self.started, &self.place)?;
        Ok(())
    }
}

/// An MGS and its agents, in one directory.
pub struct Cluster {
    /// The MGS.
    pub mgs: Mgs,
    /// The agents, as started.
    pub agents: Vec<Agent>,
    dir: Arc<TempDir>,
}

impl Cluster {
    /// Starts an MGS and an agent for each node, and waits until all nodes have enrolled.
    pub fn start(nodes: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(nodes, Lnet::Off, |_| Ok(Place::Here))
    }

    /// As [`Cluster::start`]; the userspace driver starts targets, which register over LNet on loopback. The nodes' NIDs are
    /// `127.0.0.2@tcp` and so on.
    pub fn start_userspace(nodes: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(nodes, Lnet::On, |_| Ok(Place::Here))
    }

    /// As [`Cluster::start_userspace`]; each node has a ZFS of its own, and a host id.
    pub fn start_zfs(nodes: &[&str]) -> anyhow::Result<Self> {
        let zfs = |at: usize| ZfsNode::start(0x0a00_0000 + u32::try_from(at)?);
        Self::start_with(nodes, Lnet::On, |at| Ok(Place::Zfs(Arc::new(Mutex::new(zfs(at)?)))))
    }

    fn start_with(nodes: &[&str], lnet: Lnet, place: impl Fn(usize) -> anyhow::Result<Place>) -> anyhow::Result<Self> {
        let dir = Arc::new(tempfile::tempdir()?);
        let mgs = Mgs::start_in(Arc::clone(&dir), lnet)?;
        let mut agents = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let home = dir.path().join(node);
            std::fs::create_dir_all(&home)?;
            let started: Vec<String> = match lnet {
                Lnet::Off => ["--nid", "10.9.0.2@tcp"].map(str::to_owned).into(),
                Lnet::On => {
                    let (nid, port) = (format!("127.0.0.{}@tcp", at + 2), mgs.lnet()?.port().to_string());
                    ["--nid", &nid, "--lnet-port", &port, "--start-driver", "userspace"].map(str::to_owned).into()
                }
            };
            let place = place(at)?;
            let daemon = Agent::spawn(node, &home, mgs.endpoint(), "127.0.0.1:0", &started, &place)?;
            let (node, mgs) = ((*node).to_owned(), mgs.endpoint().to_owned());
            agents.push(Agent { node, daemon, dir: home, mgs, started, place });
        }
        let cluster = Self { mgs, agents, dir };
        cluster.wait_for("all nodes to enrol", || {
            let nodes = cluster.mgsctl(&["node", "list"])?;
            Ok(nodes.as_array().is_some_and(|list| list.len() == cluster.agents.len()))
        })?;
        Ok(cluster)
    }

    /// The agent of `node`.
    ///
    /// # Panics
    /// When the cluster was started without it.
    pub fn agent(&self, node: &str) -> &Agent {
        self.agents.iter().find(|agent| agent.node == node).expect("the cluster was started with this node")
    }

    /// The directory of everything; gone when the cluster is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// As [`Cluster::agent`], to kill and restart it.
    ///
    /// # Panics
    /// When the cluster was started without it.
    pub fn agent_mut(&mut self, node: &str) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.node == node).expect("the cluster was started with this node")
    }

    /// What `mgsctl -o json ARGUMENTS` prints; its error text when it fails.
    pub fn mgsctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.mgs.mgsctl(arguments)
    }

    /// Waits until `holds`, with a deadline.
    pub fn wait_for(&self, what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        crate::wait_for(what, holds)
    }
}
