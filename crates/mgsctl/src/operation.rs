//! Operations on file systems and targets that exist: `mgsctl fs writeconf`, `mgsctl target move|replace-nids|evacuate`,
//! `mgsctl job pause|resume`.

use std::path::Path;

use lustre_api::filesystem::FilesystemPath;
use lustre_api::job::{Job, JobPath};
use lustre_api::operation::{
    EvacuateTarget, FailoverNode, GrowFilesystem, MoveTarget, PauseJob, PostAddFailoverNode, PostEvacuate, PostGrow,
    PostMove, PostRelabel, PostRemoveFailoverNode, PostReplaceNids, PostWriteconf, RelabelTarget, ReplaceNids,
    ResumeJob, WriteconfFilesystem,
};
use lustre_api::target::{TargetPath, TargetSpec};
use lustre_api::{WriteQuery, Written};
use lustre_types::{FsName, NidList, SvName, TargetKind};
use serde::Serialize;

use crate::cli::{EvacuateArgs, FailoverNodeArgs, JobArgs, MoveArgs, ReplaceNidsArgs, WriteArgs};
use crate::output::Output;
use crate::{Context, Failure, file, job};

pub(crate) async fn writeconf(
    context: &Context,
    fsname: FsName,
    set_mgs_nids: bool,
    start: &JobArgs,
) -> Result<(), Failure> {
    let body = WriteconfFilesystem { set_mgs_nids };
    let written = context.client.call::<PostWriteconf>(&FilesystemPath { fsname }, &start.query(), &body).await?;
    show(context, &written, start).await
}

pub(crate) async fn grow(
    context: &Context,
    fsname: FsName,
    body: &GrowFilesystem,
    start: &JobArgs,
) -> Result<(), Failure> {
    let written = context.client.call::<PostGrow>(&FilesystemPath { fsname }, &start.query(), body).await?;
    show(context, &written, start).await
}

/// What a file says is to be added; `at_once` counts more than what it says.
pub(crate) fn grow_file(file: &Path, at_once: Option<u32>) -> Result<GrowFilesystem, Failure> {
    let body: GrowFilesystem = file::read(file, "list of targets")?;
    Ok(GrowFilesystem { at_once: at_once.or(body.at_once), ..body })
}

/// OSTs on these devices, `oss1:/dev/sdb`.
pub(crate) fn grow_devices(
    fsname: &FsName,
    devices: &[String],
    failover_nodes: &[NidList],
    at_once: Option<u32>,
) -> Result<GrowFilesystem, Failure> {
    let target = |text: &String| {
        let (node, device) = text.split_once(':').ok_or("it is not NODE:DEVICE".to_owned())?;
        let node = node.parse().map_err(|err| format!("{err}"))?;
        let spec = TargetSpec::new(TargetKind::Ost, Some(fsname.clone()), node, device);
        Ok(TargetSpec { failover_nodes: failover_nodes.to_vec(), ..spec }.into())
    };
    let named = |text: &String| target(text).map_err(|why: String| Failure::Local(format!("{text:?}: {why}")));
    Ok(GrowFilesystem { targets: devices.iter().map(named).collect::<Result<_, _>>()?, at_once })
}

pub(crate) async fn move_target(context: &Context, svname: SvName, args: MoveArgs) -> Result<(), Failure> {
    let body = MoveTarget { node: args.node, node_is_down: args.node_is_down, whole_pool: args.whole_pool };
    let written = context.client.call::<PostMove>(&TargetPath { svname }, &args.start.query(), &body).await?;
    show(context, &written, &args.start).await
}

pub(crate) async fn replace_nids(context: &Context, svname: SvName, args: ReplaceNidsArgs) -> Result<(), Failure> {
    let body = ReplaceNids { nids: args.nids, confirm_within_s: args.confirm_within };
    let written = context.client.call::<PostReplaceNids>(&TargetPath { svname }, &args.start.query(), &body).await?;
    show(context, &written, &args.start).await
}

pub(crate) async fn relabel(context: &Context, svname: SvName, start: &JobArgs) -> Result<(), Failure> {
    let written = context.client.call::<PostRelabel>(&TargetPath { svname }, &start.query(), &RelabelTarget {}).await?;
    show(context, &written, start).await
}

pub(crate) async fn change_failover_node(
    context: &Context,
    svname: SvName,
    args: FailoverNodeArgs,
    is_added: bool,
) -> Result<(), Failure> {
    // No name of a node has an `@`, and no NID is without one.
    let (node, nids) = match args.partner.contains('@') {
        true => (None, Some(parsed(&args.partner)?)),
        false => (Some(parsed(&args.partner)?), None),
    };
    let body = FailoverNode { node, nids, write_device: args.write_device, confirm_within_s: args.confirm_within };
    let (path, query) = (TargetPath { svname }, args.start.query());
    let written = match is_added {
        true => context.client.call::<PostAddFailoverNode>(&path, &query, &body).await?,
        false => context.client.call::<PostRemoveFailoverNode>(&path, &query, &body).await?,
    };
    show(context, &written, &args.start).await
}

fn parsed<T>(text: &str) -> Result<T, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|err| Failure::Local(format!("{text:?}: {err}")))
}

pub(crate) async fn evacuate(context: &Context, svname: SvName, args: EvacuateArgs) -> Result<(), Failure> {
    let body = EvacuateTarget {
        client: args.client,
        mountpoint: args.mountpoint,
        rate_bytes_per_s: args.rate.map(|rate| rate.0),
        window: args.window,
    };
    let written = context.client.call::<PostEvacuate>(&TargetPath { svname }, &args.start.query(), &body).await?;
    show(context, &written, &args.start).await
}

pub(crate) async fn pause(context: &Context, path: JobPath, is_paused: bool, write: &WriteArgs) -> Result<(), Failure> {
    let (client, query) = (&context.client, write.query());
    let written = match is_paused {
        true => client.call::<PauseJob>(&path, &query, &lustre_api::Nothing {}).await?,
        false => client.call::<ResumeJob>(&path, &query, &lustre_api::Nothing {}).await?,
    };
    let done = if is_paused { "rests; what it has set stays set" } else { "goes on" };
    context.show_written(&written, write, |job| format!("job {}", job.id), done);
    Ok(())
}

impl JobArgs {
    /// The query of what starts a job.
    pub(crate) fn query(&self) -> WriteQuery {
        WriteQuery { plan: self.plan.clone(), job: self.job.clone(), ..self.write.query() }
    }
}

/// The job that was started, or would be.
pub(crate) async fn show(context: &Context, written: &Written<Job>, start: &JobArgs) -> Result<(), Failure> {
    show_started(context, written, start, |job| format!("{} of {}", job.kind.verb(), job.object), "is done").await
}

/// What a request that starts a job came to. Who waits sees the job to its end; a program gets that instead.
pub(crate) async fn show_started<T: Serialize>(
    context: &Context,
    written: &Written<T>,
    start: &JobArgs,
    name: impl Fn(&T) -> String,
    done: &str,
) -> Result<(), Failure> {
    let awaited = written.job.as_ref().filter(|_| start.wait);
    if awaited.is_none() || context.output == Output::Table {
        context.show_written(written, &start.write, name, done);
    }
    match awaited {
        Some(id) => job::watch_to_its_end(context, id).await,
        None => Ok(()),
    }
}
