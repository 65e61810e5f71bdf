//! What the commands are told that start jobs.

use clap::Args;
use lustre_api::Window;
use lustre_api::job::JobId;
use lustre_types::{ByteSize, NidList, NodeName};

use super::{ParamArgs, WriteArgs};

/// What every command that starts a job may be told.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JobArgs {
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Start the job that --dry-run showed with this digest, and no other.
    #[arg(long, value_name = "DIGEST", conflicts_with = "dry_run")]
    pub(crate) plan: Option<String>,
    /// The job's name: the same again with the same name starts nothing.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<JobId>,
    /// Follow the job to its end; ends with an error when it does not reach its goal.
    #[arg(long, short, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
}

/// `mgsctl target move`
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The node; the other one of two when missing.
    pub(crate) node: Option<NodeName>,
    /// The node where it runs is switched off: don't stop it there. Two nodes with one target destroy it.
    #[arg(long)]
    pub(crate) node_is_down: bool,
    /// On ZFS: move everything that is in use in the target's pool with it.
    #[arg(long)]
    pub(crate) whole_pool: bool,
    #[command(flatten)]
    pub(crate) start: JobArgs,
}

/// `mgsctl target add-failover-node`, `remove-failover-node`
#[derive(Debug, Args)]
pub(crate) struct FailoverNodeArgs {
    /// The partner: the name of a node with an agent, or the NIDs of one node, as in `10.0.0.6@tcp,10.1.0.6@o2ib`.
    pub(crate) partner: String,
    /// Also write it onto the device of a target that is started: stops and starts it. The device of one that is stopped is
    /// written anyway.
    #[arg(long)]
    pub(crate) write_device: bool,
    /// Goes back by itself unless confirmed within so many seconds (mgsctl target confirm).
    #[arg(long, value_name = "SECONDS", conflicts_with = "write_device")]
    pub(crate) confirm_within: Option<u32>,
    #[command(flatten)]
    pub(crate) start: JobArgs,
}

/// `mgsctl target replace-nids`
#[derive(Debug, Args)]
pub(crate) struct ReplaceNidsArgs {
    /// NIDs of its node, then of each partner: `10.0.0.5@tcp,10.1.0.5@o2ib:10.0.0.6@tcp`.
    pub(crate) nids: NidList,
    /// Put back what it has now, by another such job, unless somebody confirms the new ones within so many seconds after the end
    /// of this one (mgsctl target confirm).
    #[arg(long, value_name = "SECONDS")]
    pub(crate) confirm_within: Option<u32>,
    #[command(flatten)]
    pub(crate) start: JobArgs,
}

/// `mgsctl target evacuate`
#[derive(Debug, Args)]
pub(crate) struct EvacuateArgs {
    /// The node that moves the files: it has an agent and has mounted the file system.
    #[arg(long, value_name = "NODE")]
    pub(crate) client: NodeName,
    /// Where it is mounted there; looked up when missing.
    #[arg(long, value_name = "PATH")]
    pub(crate) mountpoint: Option<String>,
    /// At most so much a second, as in 200M.
    #[arg(long, value_name = "SIZE")]
    pub(crate) rate: Option<ByteSize>,
    /// Only in this time of the day, UTC: `22:00-06:00`.
    #[arg(long, value_name = "FROM-TO")]
    pub(crate) window: Option<Window>,
    #[command(flatten)]
    pub(crate) start: JobArgs,
}

/// What a job sets on nodes.
#[derive(Debug, Args)]
pub(crate) struct SpreadArgs {
    #[command(flatten)]
    pub(crate) param: ParamArgs,
    /// Its value.
    pub(crate) value: String,
    /// Set it although the catalogue does not know it.
    #[arg(long)]
    pub(crate) allow_unknown: bool,
    /// Only until the nodes restart, instead of permanently once all of them have it.
    #[arg(long, conflicts_with_all = ["allow_unknown", "confirm_within"])]
    pub(crate) temporary: bool,
    /// With --temporary: put the value before it back after so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "temporary")]
    pub(crate) expires: Option<u32>,
    /// Only on this node. Repeatable.
    #[arg(long = "node", value_name = "NODE")]
    pub(crate) nodes: Vec<NodeName>,
    /// On this node first: no other is touched unless it takes the value and reads it back.
    #[arg(long, value_name = "NODE")]
    pub(crate) canary: Option<NodeName>,
    /// Goes back by itself unless confirmed within so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) confirm_within: Option<u32>,
    #[command(flatten)]
    pub(crate) start: JobArgs,
}
