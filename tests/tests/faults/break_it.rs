//! What breaks, and how it is mended.

use std::time::Duration;

use testkit::{Agent, HaCluster};

use crate::random::Random;

/// One thing that breaks. Numbers are those of instances and members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of an MGS.
    KillMgs(usize),
    /// SIGKILL of an etcd.
    KillEtcd(usize),
    /// SIGKILL of the etcd that leads.
    KillLeader,
    /// SIGSTOP of an MGS: it wakes up with what it knew.
    FreezeMgs(usize),
    /// SIGSTOP of the etcd that leads: its connections stay.
    FreezeLeader,
    /// An MGS and all etcds don't hear of each other.
    CutMgsFromStore(usize),
    /// An etcd is alone.
    CutEtcd(usize),
    /// An MGS hears the etcds, and they don't hear it.
    CutOneWay(usize),
    /// Lustre's nodes and an MGS don't hear of each other; it has its store.
    CutNodesFrom(usize),
    /// Three of ten packets between an MGS and the etcds are lost.
    Loss(usize),
    /// The link to an etcd has 48 kbit/s.
    SlowStore(usize),
    /// The disk of an etcd is full: it ends.
    FullDisk(usize),
    /// The wall clock of an MGS is set an hour ahead.
    ClockAhead(usize),
    /// The wall clock of an MGS is set an hour back.
    ClockBack(usize),
    /// SIGKILL of the node's agent; what it had begun goes on.
    KillAgent,
    /// The node's agent and an MGS don't hear of each other.
    CutAgentFrom(usize),
    /// SIGKILL of everything at once.
    KillAll,
}

impl Fault {
    /// One of each kind, at places of the seed's choice, in an order of its choice.
    pub(crate) fn all(random: &mut Random) -> Vec<Self> {
        let mut one = || random.below(3);
        let mut all = vec![
            Self::KillMgs(one()),
            Self::KillEtcd(one()),
            Self::KillLeader,
            Self::FreezeMgs(one()),
            Self::FreezeLeader,
            Self::CutMgsFromStore(one()),
            Self::CutEtcd(one()),
            Self::CutOneWay(one()),
            Self::CutNodesFrom(one()),
            Self::Loss(one()),
            Self::SlowStore(one()),
            Self::FullDisk(one()),
            Self::ClockAhead(one()),
            Self::ClockBack(one()),
            Self::KillAgent,
            Self::CutAgentFrom(one()),
            Self::KillAll,
        ];
        random.shuffle(&mut all);
        all
    }

    /// How long it lasts: long enough for leases, elections and pings to notice.
    pub(crate) fn lasts(self) -> Duration {
        match self {
            Self::KillAll => Duration::from_millis(300),
            Self::ClockAhead(_) | Self::ClockBack(_) => Duration::from_millis(2500),
            _ => Duration::from_millis(1500),
        }
    }

    pub(crate) fn strike(self, cluster: &mut HaCluster, agent: &mut Agent) -> anyhow::Result<Struck> {
        let all_etcd = cluster.etcd_machines.clone();
        let mut struck = Struck { fault: self, etcd: None };
        match self {
            Self::KillMgs(at) => cluster.mgs[at].kill(),
            Self::KillEtcd(at) => cluster.etcd[at].kill(),
            Self::KillLeader => {
                let leader = cluster.leader()?;
                cluster.etcd[leader].kill();
                struck.etcd = Some(leader);
            }
            Self::FreezeMgs(at) => cluster.mgs[at].freeze()?,
            Self::FreezeLeader => {
                let leader = cluster.leader()?;
                cluster.etcd[leader].freeze()?;
                struck.etcd = Some(leader);
            }
            Self::CutMgsFromStore(at) => {
                for etcd in all_etcd {
                    cluster.network.cut(cluster.mgs[at].machine(), etcd)?;
                }
            }
            Self::CutEtcd(at) => {
                let others = all_etcd.iter().copied().filter(|etcd| *etcd != all_etcd[at]);
                for other in others.chain(cluster.mgs.iter().map(testkit::Instance::machine)) {
                    cluster.network.cut(all_etcd[at], other)?;
                }
            }
            Self::CutOneWay(at) => {
                for etcd in all_etcd {
                    cluster.network.cut_one_way(cluster.mgs[at].machine(), etcd)?;
                }
            }
            Self::CutNodesFrom(at) => cluster.network.cut_off_from_test(cluster.mgs[at].machine())?,
            Self::Loss(at) => cluster.network.lose(3, cluster.mgs[at].machine(), &all_etcd)?,
            Self::SlowStore(at) => cluster.network.slow_down(all_etcd[at], 48)?,
            Self::FullDisk(at) => cluster.fill_disk(at, true)?,
            Self::ClockAhead(at) => cluster.mgs[at].set_clock(3600)?,
            Self::ClockBack(at) => cluster.mgs[at].set_clock(-3600)?,
            Self::KillAgent => agent.kill(),
            Self::CutAgentFrom(at) => cluster.network.cut(cluster.node_machine, cluster.mgs[at].machine())?,
            Self::KillAll => {
                cluster.mgs.iter_mut().for_each(testkit::Instance::kill);
                cluster.etcd.iter_mut().for_each(testkit::Etcd::kill);
            }
        }
        Ok(struck)
    }
}

/// A fault at work.
pub(crate) struct Struck {
    fault: Fault,
    etcd: Option<usize>,
}

impl Struck {
    pub(crate) fn mend(self, cluster: &mut HaCluster, agent: &mut Agent) -> anyhow::Result<()> {
        match self.fault {
            Fault::KillMgs(at) => cluster.mgs[at].start()?,
            Fault::KillEtcd(at) => cluster.etcd[at].restart()?,
            Fault::KillLeader => cluster.etcd[self.etcd.unwrap()].restart()?,
            Fault::FreezeMgs(at) => cluster.mgs[at].thaw()?,
            Fault::FreezeLeader => cluster.etcd[self.etcd.unwrap()].thaw()?,
            Fault::FullDisk(at) => {
                cluster.fill_disk(at, false)?;
                cluster.etcd[at].restart()?;
            }
            Fault::ClockAhead(at) | Fault::ClockBack(at) => cluster.mgs[at].set_clock(0)?,
            Fault::KillAgent => agent.crash_and_restart()?,
            Fault::KillAll => {
                testkit::Etcd::restart_all(&mut cluster.etcd)?;
                for mgs in &mut cluster.mgs {
                    mgs.start()?;
                }
            }
            _ => {}
        }
        cluster.heal()
    }
}
