//! The server process and what it uses; the targets that fill it.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use lustre_wire::fixed::Text;
use lustre_wire::mgs::{NidEncoding, Registration, RegistrationNids, TargetInfo, nidlist_flag, target_flag};

use crate::Args;

/// A process that is killed in the end.
pub(crate) struct Process(Child);

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_kb: u64,
}

impl Usage {
    /// Microseconds of CPU since an earlier look.
    pub(crate) fn us_since(&self, before: &Self) -> f64 {
        self.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s of CPU, {} MB of memory", self.cpu.as_secs_f64(), self.rss_kb / 1024)
    }
}

impl Process {
    /// An MGS from the directory of this program, with its state in this file, or else in memory; for Lustre's nodes it
    /// listens there.
    pub(crate) fn mgs(store: Option<&Path>, listen: SocketAddr) -> anyhow::Result<(Self, SocketAddr)> {
        let path = std::env::current_exe()?.with_file_name("lustre-mgs");
        ensure!(path.exists(), "{} is not built: cargo build --release -p lustre-mgs", path.display());
        let mut command = Command::new(path);
        command.arg("--store").arg(store.unwrap_or(Path::new("memory:")));
        command.args(["--listen", "127.0.0.1:0", "--nid", "127.0.0.1@tcp", "--log", "error"]);
        command.args(["--lnet-listen", &listen.to_string(), "--lnet-accept", "all"]);
        Self::start(&mut command, "listening on lnet://")
    }

    /// Starts a process that says where it listens.
    pub(crate) fn start(command: &mut Command, says: &str) -> anyhow::Result<(Self, SocketAddr)> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let process = Self(child);
        for line in lines {
            if let Some(address) = line?.strip_prefix(says) {
                return Ok((process, address.trim_end_matches('/').parse()?));
            }
        }
        anyhow::bail!("it ended before it listened")
    }

    /// Counts the process's system calls from now on.
    pub(crate) fn trace(&self) -> anyhow::Result<Trace> {
        let table = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-p", &self.0.id().to_string(), "-o"]).arg(table.path());
        let mut strace =
            command.stderr(Stdio::piped()).spawn().context("strace counts system calls; is it installed?")?;
        let mut said = BufReader::new(strace.stderr.take().context("stderr is piped")?).lines();
        let attached = said.next().context("strace ended before it attached; may it trace other processes?")??;
        ensure!(attached.contains("attached"), "{attached}");
        Ok(Trace { strace, table, _said: said })
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.0.id();
        let cpu = testkit::cpu_of(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has VmRSS")?;
        let rss_kb = rss.trim().trim_end_matches(" kB").parse()?;
        Ok(Usage { cpu, rss_kb })
    }
}

/// A strace that counts.
pub(crate) struct Trace {
    strace: Child,
    table: tempfile::NamedTempFile,
    /// Kept open: whom nobody listens to dies when it speaks.
    _said: Lines<BufReader<ChildStderr>>,
}

impl Trace {
    /// Ends it; gives how many system calls there were.
    pub(crate) fn calls(mut self) -> anyhow::Result<u64> {
        let pid = nix::unistd::Pid::from_raw(self.strace.id().try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        self.strace.wait()?;
        let table = fs::read_to_string(self.table.path())?;
        let total = table.lines().find(|line| line.ends_with(" total")).context("strace wrote no table")?;
        // Percent, seconds, microseconds per call, calls, perhaps errors, "total".
        total.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).context("the table's last line has calls")
    }
}

/// KiB that the kernel keeps in slabs, sockets among them; of the whole machine.
pub(crate) fn slab_kb() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let slab = text.lines().find_map(|line| line.strip_prefix("Slab:")).context("meminfo has Slab")?;
    Ok(slab.trim().trim_end_matches(" kB").parse()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What targets say to the MGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// "Register me."
    Register,
    /// "I am up", for the first time.
    Up,
    /// The same, to an MGS that was started anew.
    UpAgain,
}

/// All targets, MDTs first, as their requests' buffers.
pub(crate) fn targets(says: Says, args: &Args) -> Vec<Vec<Vec<u8>>> {
    let mdts = (0..args.mdts).map(|index| request(says, "MDT", target_flag::MDT, index));
    mdts.chain(osts(says, 0..args.osts)).collect()
}

/// OSTs, as their requests' buffers.
pub(crate) fn osts(says: Says, indices: Range<u16>) -> Vec<Vec<Vec<u8>>> {
    indices.map(|index| request(says, "OST", target_flag::OST, index)).collect()
}

fn request(says: Says, kind: &str, flag: u32, index: u16) -> Vec<Vec<u8>> {
    let [high, low] = index.to_be_bytes();
    let flags = match says {
        Says::Register => target_flag::OPC_REG | target_flag::VIRGIN | target_flag::UPDATE,
        Says::Up => target_flag::OPC_READY | target_flag::VIRGIN | target_flag::UPDATE,
        Says::UpAgain => target_flag::OPC_READY,
    };
    let is_again = says == Says::UpAgain;
    let params = if is_again { String::new() } else { format!("failover.node=10.252.{high}.{low}@tcp ") };
    let target = TargetInfo {
        lustre_version: if is_again { 0 } else { 0x0211_393E },
        stripe_index: index.into(),
        flags: flags | target_flag::LARGE_NID | flag,
        nid_count: 1,
        instance: u32::from(says != Says::Register),
        fsname: Text::new("storm").expect("shorter than its field"),
        svname: Text::new(&format!("storm-{kind}{index:04x}")).expect("shorter than its field"),
        params: Text::new(&params).expect("shorter than its field"),
        ..TargetInfo::default()
    };
    let nids = RegistrationNids::Texts(vec![format!("10.251.{high}.{low}@tcp")]);
    let nidlist_flags = if is_again { nidlist_flag::APPEND } else { 0 };
    Registration { target, nids, encoding: NidEncoding::List, nidlist_flags }.encode()
}
