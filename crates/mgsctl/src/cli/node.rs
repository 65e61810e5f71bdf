//! `mgsctl node`

use clap::Subcommand;
use lustre_api::Window;
use lustre_types::NodeName;

use super::{JobArgs, WriteArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Lists nodes.
    List,
    /// Shows a node.
    Show { node: NodeName },
    /// Shows a node's devices, what is on them, and why they may not be formatted.
    Devices { node: NodeName },
    /// Moves every target that a node runs to its partner node, by one job. Targets that are stopped stay so.
    Failover {
        node: NodeName,
        /// Move all of them to this node.
        #[arg(long, value_name = "NODE")]
        to: Option<NodeName>,
        /// The node is switched off: stop nothing there. Two nodes with one target destroy it.
        #[arg(long)]
        node_is_down: bool,
        /// Leave those where they are that can't be moved, instead of moving none.
        #[arg(long)]
        leave_others: bool,
        /// At most so many are moved at once.
        #[arg(long, value_name = "N")]
        at_once: Option<u32>,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Moves every target of a node back to it, by one job.
    Failback {
        node: NodeName,
        /// Leave those where they are that can't be moved, instead of moving none.
        #[arg(long)]
        leave_others: bool,
        /// At most so many are moved at once.
        #[arg(long, value_name = "N")]
        at_once: Option<u32>,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Has nodes look at their devices, by a job: with progress, and without waiting for a disk that does not answer.
    Scan {
        /// The nodes.
        #[arg(required_unless_present = "all")]
        nodes: Vec<NodeName>,
        /// All nodes that are heard of and not drained.
        #[arg(long, conflicts_with = "nodes")]
        all: bool,
        /// Seconds that each device may take; 10 when missing.
        #[arg(long, value_name = "SECONDS")]
        device_timeout: Option<u32>,
        /// At most so many nodes at once.
        #[arg(long, value_name = "N")]
        at_once: Option<u32>,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Lets no step of a job begin on a node; those at work go on.
    Drain {
        node: NodeName,
        /// Why, for those who wait.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Lets steps of jobs begin on a node again.
    Undrain { node: NodeName },
    /// Says when steps of jobs may begin on a node, and which enclosure it serves.
    Schedule {
        node: NodeName,
        /// A time of every day in UTC, as in `22:00-06:00`; may be given several times. At any time when there is none.
        #[arg(long, value_name = "WINDOW")]
        window: Vec<Window>,
        /// Nodes of one enclosure take only so many steps together.
        #[arg(long, value_name = "NAME")]
        enclosure: Option<String>,
    },
    /// Forgets a node that has no targets.
    Delete {
        node: NodeName,
        #[command(flatten)]
        write: WriteArgs,
    },
}
