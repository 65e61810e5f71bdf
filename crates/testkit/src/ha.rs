//! Three MGSs on three etcds, each on a machine of its own. Only inside [`crate::contained`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::daemon::{Agent, Daemon};
use crate::device::run;
use crate::etcd::Etcd;
use crate::network::{Machine, Network};

/// Members of the cluster, and instances of the MGS.
const COUNT: u8 = 3;
/// Size of the disk of each etcd: its log takes 64 MiB at once.
const DISK: &str = "size=192m";

/// The whole cluster; gone when dropped.
pub struct HaCluster {
    /// The network between all of them.
    pub network: Network,
    /// The stores.
    pub etcd: Vec<Etcd>,
    /// The instances.
    pub mgs: Vec<Instance>,
    /// Where the etcds run, in their order.
    pub etcd_machines: Vec<Machine>,
    /// A machine for nodes with agents.
    pub node_machine: Machine,
    dir: TempDir,
}

impl HaCluster {
    /// Starts it. `options` are further ones of each MGS. Their NID lists begin with their own NID.
    pub fn start(options: &[&str]) -> anyhow::Result<Self> {
        Self::start_program(&crate::binary("lustre-mgs")?, options)
    }

    /// As [`HaCluster::start`], with instances of this program.
    pub fn start_program(program: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let (network, mut machines) = Network::of(2 * COUNT + 1)?;
        let node_machine = machines.pop().context("there are several")?;
        let (etcd_machines, mgs_machines) = machines.split_at(usize::from(COUNT));
        let dir = tempfile::tempdir()?;
        let disks = etcd_machines.iter().map(|_| disk()).collect::<anyhow::Result<Vec<_>>>()?;
        let etcd = Etcd::start_on(etcd_machines, disks)?;
        let endpoints: Vec<String> = etcd.iter().map(Etcd::endpoint).collect();
        let store = format!("etcd://{}/lmgs/test", endpoints.join(","));
        let mut mgs = Vec::new();
        for (at, machine) in mgs_machines.iter().enumerate() {
            let mut nids: Vec<String> = mgs_machines.iter().map(|machine| machine.nid()).collect();
            nids.rotate_left(at);
            let home = dir.path().join(format!("mgs{at}"));
            std::fs::create_dir(&home)?;
            let options = options.iter().map(|&option| option.to_owned()).collect();
            let (store, nids) = (store.clone(), nids.join(":"));
            let program = program.to_owned();
            let mut instance = Instance { program, machine: *machine, home, store, nids, options, daemon: None };
            instance.start().with_context(|| format!("MGS {at}"))?;
            mgs.push(instance);
        }
        Ok(Self { network, etcd, mgs, etcd_machines: etcd_machines.to_vec(), node_machine, dir })
    }

    /// Starts the agent of a node, which knows all instances.
    pub fn agent(&self, node: &str) -> anyhow::Result<Agent> {
        let urls: Vec<String> = self.mgs.iter().map(Instance::url).collect();
        Agent::on(self.node_machine, node, self.dir.path().join(node), &urls.join(","))
    }

    /// Every link is whole again.
    pub fn heal(&self) -> anyhow::Result<()> {
        let mgs = self.mgs.iter().map(Instance::machine);
        let machines: Vec<Machine> = self.etcd_machines.iter().copied().chain(mgs).chain([self.node_machine]).collect();
        self.network.heal(&machines)
    }

    /// The member that leads, once one does.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let leader = self.etcd.iter().position(|etcd| etcd.is_leader().unwrap_or(false));
            if let Some(leader) = leader {
                return Ok(leader);
            }
            ensure!(Instant::now() < deadline, "no etcd leads");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Takes all that is left on the disk of an etcd, or gives it back.
    pub fn fill_disk(&self, etcd: usize, is_full: bool) -> anyhow::Result<()> {
        let filler = self.etcd[etcd].dir().join("filler");
        if !is_full {
            return std::fs::remove_file(filler).context("the disk was not filled");
        }
        // Till there is no room for another byte; `dd` says so.
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display()));
        let output = dd.output().context("dd")?;
        ensure!(!output.status.success(), "the disk has room for everything");
        Ok(())
    }
}

/// A small disk, in memory; gone with the mount namespace.
fn disk() -> anyhow::Result<TempDir> {
    let dir = tempfile::tempdir()?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(dir.path()))?;
    Ok(dir)
}

/// One MGS of several.
pub struct Instance {
    program: PathBuf,
    machine: Machine,
    home: PathBuf,
    store: String,
    nids: String,
    options: Vec<String>,
    daemon: Option<Daemon>,
}

impl Instance {
    /// Starts it, or starts it again after a kill, at the same place.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.kill();
        let mut command = self.machine.command(&self.program);
        command.args(["--listen", &format!("{}:7070", self.machine.ip()), "--store", &self.store]);
        command.args(["--nid", &self.nids, "--lnet-accept", "all"]).args(&self.options);
        let clock = self.clock();
        if !clock.exists() {
            std::fs::write(&clock, "+0\n")?;
        }
        command.env("LD_PRELOAD", faketime()?).env("FAKETIME_TIMESTAMP_FILE", &clock);
        command.env("FAKETIME_CACHE_DURATION", "1").env("DONT_FAKE_MONOTONIC", "1");
        self.daemon = Some(Daemon::start(&mut command, &self.home.join("log")).context("lustre-mgs")?);
        Ok(())
    }

    /// Starts this program in its place, after a kill: an upgrade, or the way back.
    pub fn replace(&mut self, program: &Path) -> anyhow::Result<()> {
        program.clone_into(&mut self.program);
        self.start()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.daemon.as_ref().context("it does not run")?.signal("STOP")
    }

    /// SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.daemon.as_ref().context("it does not run")?.signal("CONT")
    }

    /// From now on (within a second) its wall clock is so many seconds away from the right time. Monotonic clocks are right, as
    /// they are on a machine whose clock was set.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(std::fs::write(self.clock(), format!("{seconds:+}\n"))?)
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        format!("http://{}:7070", self.machine.ip())
    }

    /// Its NID.
    pub fn nid(&self) -> String {
        self.machine.nid()
    }

    /// Where Lustre's nodes reach it.
    pub fn lnet(&self) -> SocketAddr {
        SocketAddr::new(self.machine.ip().into(), 988)
    }

    /// Where it runs.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// What it has logged.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.home.join("log"))?)
    }

    fn clock(&self) -> PathBuf {
        self.home.join("clock")
    }
}

/// The library that gives a process another wall clock.
fn faketime() -> anyhow::Result<PathBuf> {
    let all = std::fs::read_dir(Path::new("/usr/lib"))?.flatten();
    let mut found = all.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().context("libfaketime is missing; tools/setup installs it (Debian: faketime)")
}
