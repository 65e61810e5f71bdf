//! The daemons as processes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// How long a daemon may take for what takes moments on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that says on standard output where it listens.
struct Daemon {
    process: Child,
    url: String,
}

impl Daemon {
    fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening on ")
                .filter(|url| url.starts_with("http"))
                .map(|url| url.trim_end_matches('/').to_owned())
        });
        // The pipe stays drained, or the daemon would stop at its next line.
        std::thread::spawn(move || lines.count());
        let url = url.context("it ended before it listened")?;
        Ok(Self { process, url })
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

/// An MGS on a redb file.
pub struct Mgs {
    daemon: Daemon,
    dir: PathBuf,
}

impl Mgs {
    fn start(dir: &Path, listen: &str) -> anyhow::Result<Daemon> {
        let mut command = Command::new(crate::binary("lustre-mgs")?);
        command.args(["--listen", listen, "--nid", "10.9.0.1@tcp", "--store"]).arg(dir.join("mgs.redb"));
        Daemon::start(&mut command, &dir.join("mgs.log")).context("lustre-mgs")
    }

    /// Where its API is.
    pub fn endpoint(&self) -> &str {
        &self.daemon.url
    }

    /// Kills it with SIGKILL and starts it again at the same place.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        let listen = self.daemon.url.trim_start_matches("http://").to_owned();
        self.daemon.kill();
        self.daemon = Self::start(&self.dir, &listen)?;
        Ok(())
    }
}

/// An agent of a node, whose devices are image files.
pub struct Agent {
    /// The node's name.
    pub node: String,
    daemon: Daemon,
    dir: PathBuf,
    mgs: String,
}

impl Agent {
    fn start(node: &str, dir: &Path, mgs: &str, listen: &str) -> anyhow::Result<Daemon> {
        std::fs::create_dir_all(dir.join("images"))?;
        let mut command = Command::new(crate::binary("lustre-agent")?);
        command.args(["--node", node, "--listen", listen, "--mgs", mgs, "--nid", "10.9.0.2@tcp"]);
        command.arg("--state-dir").arg(dir.join("state")).arg("--image-dir").arg(dir.join("images"));
        command.arg("--socket").arg(dir.join("agent.sock"));
        Daemon::start(&mut command, &dir.join("agent.log")).with_context(|| format!("lustre-agent of {node}"))
    }

    /// Makes an image file of `size_bytes`, sparse and blank, that serves as a device. Returns its path.
    pub fn image(&self, name: &str, size_bytes: u64) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("images").join(name);
        File::create_new(&path)?.set_len(size_bytes)?;
        Ok(path)
    }

    /// The agent's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// Where its API is.
    pub fn endpoint(&self) -> &str {
        &self.daemon.url
    }

    /// Kills it with SIGKILL and starts it again at the same place; what it had started may go on meanwhile.
    pub fn crash_and_restart(&mut self) -> anyhow::Result<()> {
        let listen = self.daemon.url.trim_start_matches("http://").to_owned();
        self.daemon.kill();
        self.daemon = Self::start(&self.node, &self.dir, &self.mgs, &listen)?;
        Ok(())
    }
}

/// An MGS and its agents, in one directory.
pub struct Cluster {
    /// The MGS.
    pub mgs: Mgs,
    /// The agents, as started.
    pub agents: Vec<Agent>,
    dir: TempDir,
}

impl Cluster {
    /// Starts an MGS and an agent for each node, and waits until all nodes have enrolled.
    pub fn start(nodes: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let daemon = Mgs::start(dir.path(), "127.0.0.1:0")?;
        let mgs = Mgs { daemon, dir: dir.path().to_owned() };
        let mut agents = Vec::new();
        for node in nodes {
            let home = dir.path().join(node);
            std::fs::create_dir_all(&home)?;
            let daemon = Agent::start(node, &home, mgs.endpoint(), "127.0.0.1:0")?;
            agents.push(Agent { node: (*node).to_owned(), daemon, dir: home, mgs: mgs.endpoint().to_owned() });
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

    /// What `mgsctl -o json ARGUMENTS` prints; its error text when it fails.
    pub fn mgsctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(crate::binary("mgsctl")?);
        let output = command.args(["--endpoint", self.mgs.endpoint(), "-o", "json"]).args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Waits until `holds`, with a deadline.
    pub fn wait_for(&self, what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds()? {
            if Instant::now() > deadline {
                bail!("waited {} s for {what}", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
