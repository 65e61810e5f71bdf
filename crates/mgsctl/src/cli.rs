//! Commands and options.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lustre_api::event::EventKind;
use lustre_api::job::{JobId, JobState};
use lustre_types::{FsName, Nid, NidList, NidRange, NodeName, NodemapName, ParamName, ParamScope, PoolName, SvName};

use crate::output::Output;

mod node;
mod operation;

pub(crate) use node::NodeCommand;
pub(crate) use operation::{EvacuateArgs, FailoverNodeArgs, JobArgs, MoveArgs, ReplaceNidsArgs, SpreadArgs};

/// Looks at and changes the configuration of Lustre file systems on a userspace MGS.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The MGS: `http://host:port` or `unix:///path`; of several instances all, with commas between.
    #[arg(
        long,
        global = true,
        env = "LUSTRE_MGS_ENDPOINT",
        default_value = "http://127.0.0.1:7070",
        value_name = "URL"
    )]
    pub(crate) endpoint: String,
    /// A token, where the MGS wants one.
    #[arg(long, global = true, env = "LUSTRE_MGS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// How to show the answer.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the MGS and what is not as it should be.
    Status,
    /// File systems.
    #[command(subcommand)]
    Fs(FsCommand),
    /// Targets: MGT, MDTs, OSTs.
    #[command(subcommand)]
    Target(TargetCommand),
    /// Nodes and their devices.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Lustre's nodes that are connected over LNet.
    #[command(subcommand)]
    Export(ExportCommand),
    /// Tunables.
    #[command(subcommand)]
    Param(ParamCommand),
    /// Nodemaps: whose ids are mapped how.
    #[command(subcommand)]
    Nodemap(NodemapCommand),
    /// OST pools.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Any MGS, over its network protocol: what its clients see.
    #[command(subcommand)]
    Mgs(MgsCommand),
    /// Config logs: what clients and targets read.
    #[command(subcommand)]
    Log(LogCommand),
    /// Jobs.
    #[command(subcommand)]
    Job(JobCommand),
    /// Lists changes: who changed what, when and why.
    History(HistoryArgs),
    /// Shows changes as they happen.
    Events(EventsArgs),
    /// Writes everything that the MGS knows into a file, while it runs; `lustre-mgs restore` makes a store of it.
    Backup {
        /// The file; replaced when the backup is complete.
        file: PathBuf,
    },
    /// Shows what would have to change for things to be as a file says. Changes nothing.
    Plan(PlanArgs),
    /// Makes things as a file says, after showing the plan and asking.
    Apply(ApplyArgs),
    /// The configuration that the MGS reads by itself (`lustre-mgs --source`).
    #[command(subcommand)]
    Source(SourceCommand),
    /// Prints what makes a shell complete this program's commands, as in `source <(mgsctl completion bash)`.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// Shows where it is, what it differs in, and what came of it.
    Show,
    /// Reads it now.
    Read {
        /// Apply what it says, also what was applied before or is only reported otherwise. Never what loses data.
        #[arg(long)]
        apply: bool,
    },
}

/// What every write may be told.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WriteArgs {
    /// Show what it would do, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FsCommand {
    /// Lists file systems.
    List,
    /// Shows a file system and its targets.
    Show { fsname: FsName },
    /// Creates a file system, or changes its description.
    Create {
        fsname: FsName,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Has the configuration written anew: stops the targets, marks them, starts them in the right order. Every client must
    /// have unmounted the file system. Tunables, pools and partner nodes come back by themselves.
    Writeconf {
        fsname: FsName,
        /// Also write this MGS's NIDs onto the targets: for an MGS that moved.
        #[arg(long)]
        mgs_nids: bool,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Adds OSTs, each by a job that is a part of one. Those that are there already are left out, so the same again goes on
    /// where it ended.
    Grow {
        fsname: FsName,
        /// Devices, as in `oss1:/dev/disk/by-id/wwn-0x5000c5`.
        #[arg(value_name = "NODE:DEVICE", required_unless_present = "file")]
        devices: Vec<String>,
        /// A file with the targets and all that they may be told, as `POST /v1/filesystems/{fsname}/grow` takes it; `-` reads
        /// standard input.
        #[arg(long, conflicts_with = "devices")]
        file: Option<PathBuf>,
        /// NIDs of a partner node that can serve them too. Repeatable.
        #[arg(long = "failover-node", value_name = "NIDS", conflicts_with = "file")]
        failover_nodes: Vec<NidList>,
        /// At most so many are at work at once.
        #[arg(long, value_name = "N")]
        at_once: Option<u32>,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Removes a file system that has nothing left in it.
    Delete {
        fsname: FsName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// Lists targets.
    List {
        /// Only those of this file system.
        fsname: Option<FsName>,
    },
    /// Shows a target.
    Show { svname: SvName },
    /// Starts a target.
    Start {
        svname: SvName,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Keeps partner nodes of a target that would go back to those before.
    Confirm {
        svname: SvName,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Stops a target.
    Stop {
        svname: SvName,
        /// Seconds that it is given; 300 when missing.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// When they are over: `umount -f`, which cuts clients off.
        #[arg(long)]
        force: bool,
        /// Then `umount -l`: it is out of sight, and the kernel may still write to its device.
        #[arg(long, requires = "force")]
        lazy: bool,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Stops a target where it runs and starts it on its partner node, or back on its own.
    Move {
        svname: SvName,
        #[command(flatten)]
        args: MoveArgs,
    },
    /// Writes other NIDs of a target into the configuration; its file system is stopped for that.
    ReplaceNids {
        svname: SvName,
        #[command(flatten)]
        args: ReplaceNidsArgs,
    },
    /// Writes the label onto the device of a stopped target that it should have, as after e2label by hand. Its mountdata says
    /// which target it is; any other is refused.
    Relabel {
        svname: SvName,
        #[command(flatten)]
        start: JobArgs,
    },
    /// Gives a target another partner node, without stopping it.
    AddFailoverNode {
        svname: SvName,
        #[command(flatten)]
        args: FailoverNodeArgs,
    },
    /// Takes a partner node from a target, without stopping it.
    RemoveFailoverNode {
        svname: SvName,
        #[command(flatten)]
        args: FailoverNodeArgs,
    },
    /// Moves every file off an OST and takes it out of the configuration; may take days, rests and goes on
    /// (mgsctl job pause, resume).
    Evacuate {
        svname: SvName,
        #[command(flatten)]
        args: EvacuateArgs,
    },
    /// Takes a target out of the configuration. Its device and the data on it are left as they are.
    Delete {
        svname: SvName,
        /// The node where it runs is switched off: don't stop it there, which would be waited for.
        #[arg(long)]
        node_is_down: bool,
        #[command(flatten)]
        start: JobArgs,
    },
}

/// `mgsctl export`
#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Connected clients and servers: where they are, what they read, which locks they hold.
    List,
    /// Totals: what is listened on, clients, locks, requests.
    Status,
}

/// A revision: `17` or `@17`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevisionArg(pub(crate) u64);

impl std::str::FromStr for RevisionArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('@').unwrap_or(text);
        number.parse().map(Self).map_err(|_| format!("{text:?} is not a revision; mgsctl param log shows them"))
    }
}

/// Names a tunable.
#[derive(Debug, Clone, Args)]
pub(crate) struct ParamArgs {
    /// The file system; `*` for every one.
    pub(crate) fsname: String,
    /// The tunable, as in `osc.*.max_dirty_mb`.
    pub(crate) name: ParamName,
    /// Whom it concerns: `filesystem`, `mdts`, `osts`, `clients`, or a target.
    #[arg(long, default_value = "filesystem")]
    pub(crate) scope: ParamScope,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParamCommand {
    /// Lists the tunables that are set.
    List {
        /// Only those of this file system.
        fsname: Option<FsName>,
    },
    /// Shows what a tunable is set to.
    Get {
        #[command(flatten)]
        param: ParamArgs,
    },
    /// Sets a tunable.
    Set {
        #[command(flatten)]
        param: ParamArgs,
        /// Its value.
        value: String,
        /// Set it although the catalogue does not know it.
        #[arg(long)]
        allow_unknown: bool,
        /// Only on the nodes, until they restart; nothing is kept in the configuration.
        #[arg(long, conflicts_with_all = ["allow_unknown", "canary", "confirm_within"])]
        temporary: bool,
        /// With --temporary: put the value before it back after so many seconds.
        #[arg(long, value_name = "SECONDS", requires = "temporary")]
        expires: Option<u32>,
        /// With --temporary: only on this node. Repeatable.
        #[arg(long = "node", value_name = "NODE", requires = "temporary")]
        nodes: Vec<NodeName>,
        /// Try it on this node first, then on all, and keep it only if every node takes it.
        #[arg(long, value_name = "NODE")]
        canary: Option<NodeName>,
        /// Goes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Sets a tunable by a job, a step for each node that has it; `mgsctl job retry` does those again that failed.
    Spread(SpreadArgs),
    /// Keeps a tunable that would go back by itself.
    Confirm {
        #[command(flatten)]
        param: ParamArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Shows what every node has of a tunable, and which layer its value comes from.
    Explain {
        #[command(flatten)]
        param: ParamArgs,
    },
    /// Translates a name of `lctl conf_param`, as in `scratch-OST0001.osc.max_dirty_mb`.
    Name { conf_param: String },
    /// Lists values that nodes have for the time being.
    Temporary,
    /// Ends a value that nodes have for the time being: what was there before comes back.
    EndTemporary {
        /// Its name, as `mgsctl param temporary` lists it.
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Lists changes of tunables: who, when, why, old and new.
    Log {
        /// Only tunables whose id begins with this, as in `scratch/`.
        id: Option<String>,
    },
    /// Shows who set each tunable last, and why.
    Blame {
        /// Only those of this file system.
        fsname: Option<FsName>,
    },
    /// Shows what changed since a revision.
    Diff {
        /// The revision, as in `@17` or `17`.
        revision: RevisionArg,
        /// Only tunables of this file system.
        #[arg(long)]
        fsname: Option<FsName>,
    },
    /// Puts tunables back to what they were at a revision, all in one change.
    Revert {
        /// The revision, as in `@17` or `17`.
        revision: RevisionArg,
        /// Only tunables of this file system.
        #[arg(long)]
        fsname: Option<FsName>,
        /// Only this tunable, by id. Repeatable.
        #[arg(long = "id", value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Unsets a tunable: nodes go back to its default.
    Unset {
        #[command(flatten)]
        param: ParamArgs,
        /// Comes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Lists the tunables that can be set.
    Known {
        /// Only names that contain this.
        contains: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodemapCommand {
    /// Lists nodemaps and whether they are in force.
    List,
    /// Shows a nodemap.
    Show { name: NodemapName },
    /// Makes a nodemap exactly as a file says (`PUT /v1/nodemaps/{name}` describes it: `spec`); `-` reads standard input.
    Set {
        /// JSON.
        file: PathBuf,
        /// Goes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Keeps a nodemap that would go back by itself; without a name: nodemaps in force, or out of it.
    Confirm {
        name: Option<NodemapName>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Gives a nodemap more NIDs and ids; makes it where there is none. What it has already is no error.
    Add {
        name: NodemapName,
        #[command(flatten)]
        parts: NodemapParts,
    },
    /// Takes NIDs and ids from a nodemap. What it does not have is no error.
    Remove {
        name: NodemapName,
        #[command(flatten)]
        parts: NodemapParts,
    },
    /// Removes a nodemap; its NIDs belong to the default one then.
    Delete {
        name: NodemapName,
        /// Comes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Puts all nodemaps in force.
    Activate {
        /// Goes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Puts all nodemaps out of force: no ids are mapped then.
    Deactivate {
        /// Goes back by itself unless confirmed within so many seconds.
        #[arg(long, value_name = "SECONDS")]
        confirm_within: Option<u32>,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// What a nodemap is given, or loses.
#[derive(Debug, Args)]
pub(crate) struct NodemapParts {
    /// NIDs, as in `10.0.0.[1-9]@tcp`.
    #[arg(long, value_name = "RANGE")]
    pub(crate) range: Vec<NidRange>,
    /// NIDs on its ban list.
    #[arg(long, value_name = "RANGE")]
    pub(crate) banned: Vec<NidRange>,
    /// A user id of the client with that of the file system, as in `500:600`; to take one away, also `500`.
    #[arg(long, value_name = "ID:ID")]
    pub(crate) uid: Vec<String>,
    /// A group id, likewise.
    #[arg(long, value_name = "ID:ID")]
    pub(crate) gid: Vec<String>,
    /// A project id, likewise.
    #[arg(long, value_name = "ID:ID")]
    pub(crate) projid: Vec<String>,
    /// Goes back by itself unless confirmed within so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) confirm_within: Option<u32>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Lists pools.
    List {
        /// Only those of this file system.
        fsname: Option<FsName>,
    },
    /// Shows a pool.
    Show { fsname: FsName, pool: PoolName },
    /// Gives a pool members; makes it where there is none.
    Set {
        fsname: FsName,
        pool: PoolName,
        /// OSTs, as in `scratch-OST0001`, `OST0001` or `OST[0-3]`.
        members: Vec<String>,
        /// `exact`: it has these and no other; `add`: it has these too; `remove`: it has none of these.
        #[arg(long, default_value = "exact")]
        mode: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Removes a pool. Its OSTs and the files on them stay.
    Delete {
        fsname: FsName,
        pool: PoolName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// Which MGS, and how to reach it.
#[derive(Debug, Args)]
pub(crate) struct MgsNetwork {
    /// Its NID, or `tcp://<address>[@<network>][:<port>]`.
    pub(crate) mgs: String,
    /// The NID that this host has for it; found by the route when not given.
    #[arg(long, value_name = "NID")]
    pub(crate) nid: Option<Nid>,
    /// How long to wait for each answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MgsCommand {
    /// Asks the MGS's node for its NIDs.
    Ping {
        #[command(flatten)]
        network: MgsNetwork,
    },
    /// Shows what it has: targets, NIDs, pools, parameters, nodemaps.
    Read {
        #[command(flatten)]
        network: MgsNetwork,
        /// File systems to show, as an MGS doesn't list them to clients. A kernel's MGS makes an empty log for a name that
        /// it doesn't know.
        #[arg(long, value_name = "FSNAME", value_delimiter = ',')]
        fsname: Vec<FsName>,
    },
    /// Prints a config log as `lctl llog_print` does (YAML).
    Log {
        #[command(flatten)]
        network: MgsNetwork,
        /// The log, as in `scratch-client`.
        name: String,
        /// Markers and what doesn't count any more, too.
        #[arg(long)]
        raw: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Lists config logs.
    List {
        /// Only those of this file system.
        fsname: Option<FsName>,
    },
    /// Prints a config log as `lctl llog_print` does.
    Show {
        /// Its name, as in `scratch-client`, `scratch-OST0001` or `params`.
        name: String,
        /// Markers and skipped sections too, as `lctl llog_print --raw`.
        #[arg(long)]
        raw: bool,
    },
    /// Writes a config log to standard output as the file that a kernel MGS has in CONFIGS.
    Raw {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Lists jobs, newest last.
    List {
        /// Only those on this file system and its targets.
        fsname: Option<FsName>,
        /// Also those that are over.
        #[arg(long)]
        all: bool,
        /// Only those on this target, file system or node.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// Only the parts of this job.
        #[arg(long, value_name = "JOB")]
        parent: Option<JobId>,
        /// Only those in this state, as in `failed`.
        #[arg(long, value_parser = job_state, value_name = "STATE")]
        state: Option<JobState>,
    },
    /// Shows the steps that a job would have, and what else changes its state with it. Starts nothing.
    Plan {
        /// What would be done.
        what: JobVerb,
        /// The target.
        svname: SvName,
    },
    /// Shows a job and its steps.
    Show { id: JobId },
    /// Follows a job to its end; ends with an error when the job does not reach its goal.
    #[command(alias = "wait")]
    Watch {
        /// The job; all jobs, until interrupted, when missing.
        id: Option<JobId>,
    },
    /// Has a job that failed or was cancelled try its unfinished steps again, where that is safe.
    Retry { id: JobId },
    /// Says why a job is where it is, and what a person must do.
    Explain { id: JobId },
    /// Shows what each step's program was, printed and exited with, for every attempt.
    Log { id: JobId },
    /// Asks a job to stop. What has been done is not undone.
    Cancel { id: JobId },
    /// Lets an evacuation rest. What it has set stays set.
    Pause {
        id: JobId,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Lets an evacuation that rests go on.
    Resume {
        id: JobId,
        #[command(flatten)]
        write: WriteArgs,
    },
}

/// What a job does to a target.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum JobVerb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Take it out of the configuration.
    Delete,
}

fn job_state(text: &str) -> Result<JobState, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "a job is queued, running, cancelling, cancelled, failed or done".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only objects whose name begins with this, as in `target scratch-`.
    #[arg(long, value_name = "OBJECT")]
    pub(crate) object: Option<String>,
    /// Only changes after this revision.
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    pub(crate) after: u64,
    /// At most so many, the first after `--after`.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// Goes on for ever; without it, shows what happened since `--after` and ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin after this revision; with now when not given.
    #[arg(long, value_name = "REVISION")]
    pub(crate) after: Option<u64>,
    /// Only objects of this kind: filesystem, target, param, nodemap, pool, node, job, log, running, source, mgs.
    #[arg(long)]
    pub(crate) kind: Option<EventKind>,
    /// Only objects whose name begins with this, as in `target scratch-`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) object: Option<String>,
    /// Only objects of this file system.
    #[arg(long)]
    pub(crate) fsname: Option<FsName>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// What is wanted, as JSON (`POST /v1/plan` describes it); `-` reads standard input.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// What is wanted, as JSON; `-` reads standard input and needs `--yes`.
    pub(crate) file: PathBuf,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
