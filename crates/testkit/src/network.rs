//! Machines in a network whose links can be cut, thinned out and slowed down. Only inside [`crate::contained`].
//!
//! Each machine is a network namespace with one address, `10.88.<number>.2`; the test itself is the router between them all,
//! and reaches each one. Faults are rules of the router's: nothing on a machine notices how it is done.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

use crate::device::run;

/// A namespace with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine(u8);

impl Machine {
    /// Its address.
    pub fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, self.0, 2)
    }

    /// The test's own address on the link to it.
    pub fn router(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, self.0, 1)
    }

    /// Its NID.
    pub fn nid(self) -> String {
        format!("{}@tcp", self.ip())
    }

    /// A command that runs on it.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name()]).arg(program);
        command
    }

    fn name(self) -> String {
        format!("m{}", self.0)
    }

    fn link(self) -> String {
        format!("v{}", self.0)
    }
}

/// What happens to packets from one address to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// None arrive.
    Dropped,
    /// So many of ten are lost, at random.
    Lossy(u8),
}

/// All machines.
#[derive(Default)]
pub struct Network {
    rules: Mutex<BTreeMap<(Ipv4Addr, Ipv4Addr), Fate>>,
}

impl Network {
    /// A network of so many machines, numbered from 1. Errors: no root, no iproute2, no nftables.
    pub fn of(count: u8) -> anyhow::Result<(Self, Vec<Machine>)> {
        let machines: Vec<Machine> = (1..=count).map(Machine).collect();
        for machine in &machines {
            let (name, link) = (machine.name(), machine.link());
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {link} type veth peer name eth0 netns {name}"))?;
            ip(&format!("addr add {}/24 dev {link}", machine.router()))?;
            ip(&format!("link set {link} up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", machine.ip()))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} route add default via {}", machine.router()))?;
        }
        Ok((Self::default(), machines))
    }

    /// Nothing goes from one to the other any more, nor back. Connections stay, and hear nothing.
    pub fn cut(&self, one: Machine, other: Machine) -> anyhow::Result<()> {
        self.change(|rules| {
            rules.insert((one.ip(), other.ip()), Fate::Dropped);
            rules.insert((other.ip(), one.ip()), Fate::Dropped);
        })
    }

    /// Nothing goes from one to the other any more; the way back stays.
    pub fn cut_one_way(&self, from: Machine, to: Machine) -> anyhow::Result<()> {
        self.change(|rules| {
            rules.insert((from.ip(), to.ip()), Fate::Dropped);
        })
    }

    /// A machine and the test itself don't hear of each other any more.
    pub fn cut_off_from_test(&self, machine: Machine) -> anyhow::Result<()> {
        self.change(|rules| {
            rules.insert((machine.ip(), machine.router()), Fate::Dropped);
            rules.insert((machine.router(), machine.ip()), Fate::Dropped);
        })
    }

    /// So many of ten packets between a machine and each of the others are lost.
    pub fn lose(&self, of_ten: u8, machine: Machine, others: &[Machine]) -> anyhow::Result<()> {
        ensure!(of_ten < 10, "{of_ten} of ten is all: cut it");
        self.change(|rules| {
            for other in others {
                rules.insert((machine.ip(), other.ip()), Fate::Lossy(of_ten));
                rules.insert((other.ip(), machine.ip()), Fate::Lossy(of_ten));
            }
        })
    }

    /// A machine receives no more than so many kilobits in a second; what waits longer than 400 ms is lost.
    pub fn slow_down(&self, machine: Machine, kbit: u32) -> anyhow::Result<()> {
        tc(&format!("qdisc replace dev {} root tbf rate {kbit}kbit burst 16kb latency 400ms", machine.link()))
    }

    /// Every link is whole again.
    pub fn heal(&self, machines: &[Machine]) -> anyhow::Result<()> {
        for machine in machines {
            // There is nothing to take away from most.
            let _ = tc(&format!("qdisc del dev {} root", machine.link()));
        }
        self.change(BTreeMap::clear)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<(Ipv4Addr, Ipv4Addr), Fate>)) -> anyhow::Result<()> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rules);
        let lines: String = rules.iter().map(|((from, to), fate)| line(*from, *to, *fate)).collect();
        let chain = |hook: &str| {
            format!("  chain {hook} {{\n    type filter hook {hook} priority 0; policy accept;\n{lines}  }}\n")
        };
        let chains: String = ["forward", "input", "output"].iter().map(|hook| chain(hook)).collect();
        nft(&format!("table inet faults\ndelete table inet faults\ntable inet faults {{\n{chains}}}\n"))
    }
}

fn line(from: Ipv4Addr, to: Ipv4Addr, fate: Fate) -> String {
    let some = match fate {
        Fate::Dropped => String::new(),
        Fate::Lossy(of_ten) => format!("numgen random mod 10 < {of_ten} "),
    };
    format!("    ip saddr {from} ip daddr {to} {some}drop\n")
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(arguments.split(' '))).map(drop)
}

fn tc(arguments: &str) -> anyhow::Result<()> {
    run(Command::new("tc").args(arguments.split(' '))).map(drop)
}

/// Sets the rules that `text` describes, all at once.
fn nft(text: &str) -> anyhow::Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().context("can't run nft; tools/setup installs nftables")?;
    process.stdin.take().context("stdin is piped")?.write_all(text.as_bytes())?;
    let output = process.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}\n{text}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
