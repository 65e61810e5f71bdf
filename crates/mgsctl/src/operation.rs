//! Operations on file systems and targets that exist: `mgsctl fs writeconf`, `mgsctl target move|replace-nids|evacuate`,
//! `mgsctl job pause|resume`.

use std::path::Path;

use lustre_api::filesystem::FilesystemPath;
use lustre_api::job::{Job, JobPath};
use lustre_api::operation::{
    EvacuateTarget, GrowFilesystem, MoveTarget, PauseJob, PostEvacuate, PostGrow, PostMove, PostReplaceNids,
    PostWriteconf, ReplaceNids, ResumeJob, WriteconfFilesystem,
};
use lustre_api::target::{TargetPath, TargetSpec};
use lustre_api::{WriteQuery, Written};
use lustre_types::{FsName, NidList, SvName, TargetKind};

use crate::cli::{EvacuateArgs, MoveArgs, ReplaceNidsArgs, WriteArgs};
use crate::job::details;
use crate::{Context, Failure, file};

pub(crate) async fn writeconf(
    context: &Context,
    fsname: FsName,
    set_mgs_nids: bool,
    write: &WriteArgs,
) -> Result<(), Failure> {
    let body = WriteconfFilesystem { set_mgs_nids };
    let written = context.client.call::<PostWriteconf>(&FilesystemPath { fsname }, &write.query(), &body).await?;
    show(context, &written, write);
    Ok(())
}

pub(crate) async fn grow(
    context: &Context,
    fsname: FsName,
    body: &GrowFilesystem,
    plan: Option<String>,
    write: &WriteArgs,
) -> Result<(), Failure> {
    let query = WriteQuery { plan, ..write.query() };
    let written = context.client.call::<PostGrow>(&FilesystemPath { fsname }, &query, body).await?;
    show(context, &written, write);
    Ok(())
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
    let body = MoveTarget { node: args.node, node_is_down: args.node_is_down };
    let written = context.client.call::<PostMove>(&TargetPath { svname }, &args.write.query(), &body).await?;
    show(context, &written, &args.write);
    Ok(())
}

pub(crate) async fn replace_nids(context: &Context, svname: SvName, args: ReplaceNidsArgs) -> Result<(), Failure> {
    let body = ReplaceNids { nids: args.nids, confirm_within_s: args.confirm_within };
    let written = context.client.call::<PostReplaceNids>(&TargetPath { svname }, &args.write.query(), &body).await?;
    show(context, &written, &args.write);
    Ok(())
}

pub(crate) async fn evacuate(context: &Context, svname: SvName, args: EvacuateArgs) -> Result<(), Failure> {
    let body = EvacuateTarget {
        client: args.client,
        mountpoint: args.mountpoint,
        rate_bytes_per_s: args.rate.map(|rate| rate.0),
        window: args.window,
    };
    let written = context.client.call::<PostEvacuate>(&TargetPath { svname }, &args.write.query(), &body).await?;
    show(context, &written, &args.write);
    Ok(())
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

/// What was started; for a dry run the steps that it would take.
pub(crate) fn show(context: &Context, written: &Written<Job>, write: &WriteArgs) {
    if write.dry_run {
        context.output.show(written, |written| {
            let warnings: String = written.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            format!("{}{warnings}dry run: nothing was changed\n", details(&written.object))
        });
        return;
    }
    context.show_written(written, write, |job| format!("job {}", job.id), "is started");
}
