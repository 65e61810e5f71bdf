//! `mgsctl plan` and `mgsctl apply`

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use lustre_api::filesystem::{DeleteFilesystem, FilesystemPath, PutFilesystem};
use lustre_api::job::{JobId, JobState};
use lustre_api::node::NodePath;
use lustre_api::nodemap::{DeleteNodemap, NodemapPath, NodemapsActive, PutNodemap, PutNodemapBody, PutNodemapsActive};
use lustre_api::param::{DeleteParam, ParamPath, PutParam};
use lustre_api::plan::{Action, Change, Desired, DesiredTarget, ObjectKey, Plan, PostPlan};
use lustre_api::pool::{DeletePool, PoolPath, PutPool};
use lustre_api::proxy::{EnsureProxy, RemoveProxy};
use lustre_api::target::{DeregisterTarget, EnsureTarget, PostTarget, TargetPath};
use lustre_api::{Nothing, WriteQuery};
use lustre_types::FsName;

use crate::cli::ApplyArgs;
use crate::output::{Output, print};
use crate::{Context, Failure, job};

/// Shows a plan. Ends with an error when it can't be applied.
pub(crate) async fn plan(context: &Context, file: &Path) -> Result<(), Failure> {
    let plan = made_of(context, &read(file)?).await?;
    context.output.show(&plan, text);
    if plan.has_errors() { Err(Failure::Shown) } else { Ok(()) }
}

async fn made_of(context: &Context, desired: &Desired) -> Result<Plan, Failure> {
    Ok(context.client.call::<PostPlan>(&Nothing {}, &Nothing {}, desired).await?)
}

fn text(plan: &Plan) -> String {
    lustre_plan::render(plan)
}

/// Shows a plan, asks, and carries it out change by change, each waited for.
pub(crate) async fn apply(context: &Context, args: &ApplyArgs) -> Result<(), Failure> {
    let desired = read(&args.file)?;
    let plan = made_of(context, &desired).await?;
    if context.output == Output::Table {
        print(&text(&plan));
    }
    if plan.has_errors() {
        return Err(Failure::Local("the plan can't be applied: see the errors above".into()));
    }
    if !plan.changes.is_empty() && !args.yes {
        confirm(&plan)?;
    }
    let query = WriteQuery { if_revision: Some(plan.revision), why: args.why.clone(), ..WriteQuery::default() };
    for (at, change) in plan.changes.iter().enumerate() {
        let job = one(context, &desired, change, &query).await.inspect_err(|_| {
            let left = plan.changes.len() - at;
            eprintln!("mgsctl: {} failed; {left} changes are not made, those before it are", change.object);
        })?;
        if let Some(id) = job {
            let job = job::watch(context, &id).await?;
            if job.state != JobState::Done {
                let error = job.error.unwrap_or_else(|| format!("job {id} is {}", job.state.as_str()));
                return Err(Failure::Local(error));
            }
        } else if context.output == Output::Table {
            print(&format!("{}: done\n", change.object));
        }
    }
    context.output.show(&plan, |plan| format!("{} changes made\n", plan.changes.len()));
    Ok(())
}

fn read(file: &Path) -> Result<Desired, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|err| Failure::Local(format!("can't read {}: {err}", file.display())))?;
    serde_json::from_str(&text).map_err(|err| Failure::Local(format!("{} is not a description: {err}", file.display())))
}

fn confirm(plan: &Plan) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Local("nobody can be asked here; say --yes to apply without".into()));
    }
    let losing = plan.changes.iter().filter(|change| change.destroys_data).count();
    let loss = if losing > 0 { format!(" {losing} of them LOSE DATA.") } else { String::new() };
    eprint!("Make these {} changes?{loss} Only 'yes' goes on: ", plan.changes.len());
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" { Ok(()) } else { Err(Failure::Local("nothing was changed".into())) }
}

/// Makes one change; gives the job that carries it out.
async fn one(
    context: &Context,
    desired: &Desired,
    change: &Change,
    query: &WriteQuery,
) -> Result<Option<JobId>, Failure> {
    let client = &context.client;
    let vanished = || Failure::Local(format!("the plan names {}, the description does not", change.object));
    let is_delete = change.action == Action::Delete;
    match &change.object {
        ObjectKey::Filesystem { name } => {
            let path = FilesystemPath { fsname: name.clone() };
            if is_delete {
                client.call::<DeleteFilesystem>(&path, query, &Nothing {}).await?;
            } else {
                let spec = desired.filesystems.iter().find(|spec| spec.name == *name).ok_or_else(vanished)?;
                client.call::<PutFilesystem>(&path, query, spec).await?;
            }
            Ok(None)
        }
        ObjectKey::Target { svname } if is_delete => {
            let path = TargetPath { svname: svname.clone() };
            Ok(client.call::<DeregisterTarget>(&path, query, &Nothing {}).await?.job)
        }
        ObjectKey::Target { svname } => {
            let is_it = |wanted: &&DesiredTarget| {
                let spec = &wanted.target;
                spec.kind == svname.kind()
                    && spec.filesystem.as_ref() == svname.fsname()
                    && spec.index == svname.index()
            };
            let wanted = desired.targets.iter().find(is_it).ok_or_else(vanished)?;
            ensure(context, wanted, change, query).await
        }
        ObjectKey::NewTarget { node, device } => {
            let is_it = |wanted: &&DesiredTarget| wanted.target.node == *node && wanted.target.device == *device;
            let wanted = desired.targets.iter().find(is_it).ok_or_else(vanished)?;
            ensure(context, wanted, change, query).await
        }
        ObjectKey::Param { filesystem, scope, name } => {
            let fsname = filesystem.as_ref().map_or("*", FsName::as_str).to_owned();
            let path = ParamPath { fsname, scope: scope.clone(), name: name.clone() };
            if is_delete {
                client.call::<DeleteParam>(&path, query, &Nothing {}).await?;
            } else {
                let is_it = |spec: &&lustre_api::param::ParamSpec| {
                    spec.filesystem == *filesystem && spec.scope == *scope && spec.name == *name
                };
                let spec = desired.params.iter().find(is_it).ok_or_else(vanished)?;
                client.call::<PutParam>(&path, query, spec).await?;
            }
            Ok(None)
        }
        ObjectKey::Pool { filesystem, name } => {
            let path = PoolPath { fsname: filesystem.clone(), pool: name.clone() };
            if is_delete {
                client.call::<DeletePool>(&path, query, &Nothing {}).await?;
            } else {
                let is_it = |spec: &&lustre_api::pool::PoolSpec| spec.filesystem == *filesystem && spec.name == *name;
                let spec = desired.pools.iter().find(is_it).ok_or_else(vanished)?;
                client.call::<PutPool>(&path, query, spec).await?;
            }
            Ok(None)
        }
        ObjectKey::Nodemap { name } => {
            let path = NodemapPath { name: name.clone() };
            if is_delete {
                client.call::<DeleteNodemap>(&path, query, &Nothing {}).await?;
            } else {
                let spec = desired.nodemaps.iter().find(|spec| spec.name == *name).ok_or_else(vanished)?.clone();
                client.call::<PutNodemap>(&path, query, &PutNodemapBody { spec, confirm_within_s: None }).await?;
            }
            Ok(None)
        }
        ObjectKey::Nodemaps {} => {
            let active = !is_delete && desired.nodemaps_active.is_some_and(|wanted| wanted.active);
            let body = NodemapsActive { active, confirm_within_s: None };
            client.call::<PutNodemapsActive>(&Nothing {}, query, &body).await?;
            Ok(None)
        }
        ObjectKey::MgsProxy { node } => {
            let path = NodePath { node: node.clone() };
            let written = if is_delete {
                client.call::<RemoveProxy>(&path, query, &Nothing {}).await?
            } else {
                client.call::<EnsureProxy>(&path, query, &Nothing {}).await?
            };
            Ok(written.job)
        }
    }
}

/// Ensures a target, on the device as the plan saw it.
async fn ensure(
    context: &Context,
    wanted: &DesiredTarget,
    change: &Change,
    query: &WriteQuery,
) -> Result<Option<JobId>, Failure> {
    // A plan that could not look at the device names no content; the MGS looks before it accepts.
    let seen = change.fields.iter().find(|field| field.path == "formatted_over");
    let seen = seen.filter(|field| field.after != lustre_plan::LATER);
    let body = EnsureTarget {
        target: wanted.target.clone(),
        expect_content: seen.and_then(|field| field.after.as_str()).map(str::to_owned),
        expect_size_bytes: None,
        allow_reformat: wanted.allow_reformat,
        confirm_within_s: None,
    };
    let written = context.client.call::<PostTarget>(&Nothing {}, query, &body).await?;
    for warning in &written.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(written.job)
}
