//! Carrying out a plan, change by change, as `mgsctl apply` does.

use std::sync::Arc;

use lustre_api::filesystem::FilesystemPath;
use lustre_api::job::{JobId, JobPath, JobState, WaitQuery};
use lustre_api::node::NodePath;
use lustre_api::nodemap::{NodemapPath, NodemapsActive, PutNodemapBody};
use lustre_api::param::ParamPath;
use lustre_api::plan::{Action, Change, DesiredTarget, ObjectKey, Plan, Severity};
use lustre_api::pool::PoolPath;
use lustre_api::target::{EnsureTarget, TargetPath};
use lustre_api::{Problem, ProblemCode, WriteQuery};
use lustre_types::FsName;

use super::Found;
use crate::api::Api;
use crate::engine::Caller;

/// How long to wait for a job before asking again.
const WAIT_S: u32 = 60;

/// How far it came.
pub(super) struct Applied {
    /// Changes that are made.
    pub(super) made: usize,
    /// What the next one failed with.
    pub(super) error: String,
    /// Whether it may succeed when it is tried again as it is.
    pub(super) is_passing: bool,
}

/// Why a plan is not carried out without a person.
pub(super) fn refusal(plan: &Plan) -> Option<String> {
    let errors: Vec<_> = plan.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if let Some(first) = errors.first() {
        let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
        return Some(format!("{}: {}{more}", first.object, first.message));
    }
    let losing = plan.changes.iter().find(|change| change.destroys_data)?;
    Some(format!("{} would lose data: that takes a person, with mgsctl apply", losing.object))
}

/// Makes every change of a plan that [`refusal`] lets pass; each job is waited for.
pub(super) async fn apply(api: &Arc<Api>, caller: &Caller, found: &Found, plan: &Plan) -> Result<(), Applied> {
    let query = WriteQuery {
        if_revision: Some(plan.revision),
        why: Some(format!("source {}", found.version.chars().take(64).collect::<String>())),
        ..WriteQuery::default()
    };
    for (made, change) in plan.changes.iter().enumerate() {
        let failed = |problem: Problem| Applied {
            made,
            is_passing: matches!(problem.code, ProblemCode::Unavailable | ProblemCode::Conflict),
            error: format!("{}: {problem}", change.object),
        };
        if let Some(id) = one(api, caller, found, change, &query).await.map_err(failed)? {
            ended(api, &id).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes one change; gives the job that carries it out.
async fn one(
    api: &Arc<Api>,
    caller: &Caller,
    found: &Found,
    change: &Change,
    query: &WriteQuery,
) -> Result<Option<JobId>, Problem> {
    let desired = &found.desired;
    let is_delete = change.action == Action::Delete;
    let vanished = || Problem::invalid(format!("the plan names {}, the source does not", change.object));
    match &change.object {
        ObjectKey::Filesystem { name } => {
            let path = FilesystemPath { fsname: name.clone() };
            if is_delete {
                api.delete_filesystem(caller, &path, query).await?;
            } else {
                let spec = desired.filesystems.iter().find(|spec| spec.name == *name).ok_or_else(vanished)?;
                api.put_filesystem(caller, &path, query, spec.clone()).await?;
            }
        }
        ObjectKey::Target { svname } if is_delete => {
            let path = TargetPath { svname: svname.clone() };
            return Ok(api.deregister_target(caller, &path, query).await?.job);
        }
        ObjectKey::Target { svname } => {
            let is_it = |wanted: &&DesiredTarget| {
                let spec = &wanted.target;
                spec.kind == svname.kind()
                    && spec.filesystem.as_ref() == svname.fsname()
                    && spec.index == svname.index()
            };
            let wanted = desired.targets.iter().find(is_it).ok_or_else(vanished)?;
            return ensure(api, caller, wanted, change, query).await;
        }
        ObjectKey::NewTarget { node, device } => {
            let is_it = |wanted: &&DesiredTarget| wanted.target.node == *node && wanted.target.device == *device;
            let wanted = desired.targets.iter().find(is_it).ok_or_else(vanished)?;
            return ensure(api, caller, wanted, change, query).await;
        }
        ObjectKey::Param { filesystem, scope, name } => {
            let fsname = filesystem.as_ref().map_or("*", FsName::as_str).to_owned();
            let path = ParamPath { fsname, scope: scope.clone(), name: name.clone() };
            if is_delete {
                api.delete_param(caller, &path, query).await?;
            } else {
                let is_it = |spec: &&lustre_api::param::ParamSpec| {
                    spec.filesystem == *filesystem && spec.scope == *scope && spec.name == *name
                };
                let spec = desired.params.iter().find(is_it).ok_or_else(vanished)?;
                api.put_param(caller, &path, query, spec.clone()).await?;
            }
        }
        ObjectKey::Pool { filesystem, name } => {
            let path = PoolPath { fsname: filesystem.clone(), pool: name.clone() };
            if is_delete {
                api.delete_pool(caller, &path, query).await?;
            } else {
                let is_it = |spec: &&lustre_api::pool::PoolSpec| spec.filesystem == *filesystem && spec.name == *name;
                let spec = desired.pools.iter().find(is_it).ok_or_else(vanished)?;
                api.put_pool(caller, &path, query, spec.clone()).await?;
            }
        }
        ObjectKey::Nodemap { name } => {
            let path = NodemapPath { name: name.clone() };
            if is_delete {
                api.delete_nodemap(caller, &path, query).await?;
            } else {
                let spec = desired.nodemaps.iter().find(|spec| spec.name == *name).ok_or_else(vanished)?.clone();
                api.put_nodemap(caller, &path, query, PutNodemapBody { spec, confirm_within_s: None }).await?;
            }
        }
        ObjectKey::Nodemaps {} => {
            let active = !is_delete && desired.nodemaps_active.is_some_and(|wanted| wanted.active);
            let body = NodemapsActive { active, confirm_within_s: None };
            api.put_nodemaps_active(caller, query, body).await?;
        }
        ObjectKey::MgsProxy { node } => {
            let path = NodePath { node: node.clone() };
            let written = if is_delete {
                api.remove_mgs_proxy(caller, &path, query).await?
            } else {
                api.ensure_mgs_proxy(caller, &path, query).await?
            };
            return Ok(written.job);
        }
    }
    Ok(None)
}

/// Ensures a target, on the device as the plan saw it.
async fn ensure(
    api: &Arc<Api>,
    caller: &Caller,
    wanted: &DesiredTarget,
    change: &Change,
    query: &WriteQuery,
) -> Result<Option<JobId>, Problem> {
    let seen = change.fields.iter().find(|field| field.path == "formatted_over");
    let seen = seen.filter(|field| field.after != lustre_plan::LATER);
    let body = EnsureTarget {
        target: wanted.target.clone(),
        expect_content: seen.and_then(|field| field.after.as_str()).map(str::to_owned),
        expect_size_bytes: None,
        allow_reformat: wanted.allow_reformat,
        confirm_within_s: None,
    };
    Ok(api.ensure_target(caller, query, body).await?.job)
}

/// Waits until a job is over. Errors: it did not succeed.
async fn ended(api: &Arc<Api>, id: &JobId) -> Result<(), Problem> {
    let path = JobPath { id: id.clone() };
    let mut query = WaitQuery { wait_s: Some(WAIT_S), seen: None };
    loop {
        let job = api.get_job(&path, &query).await?;
        match job.state {
            JobState::Done => return Ok(()),
            state if state.is_final() => {
                let error = job.error.unwrap_or_else(|| format!("job {id} is {}", state.as_str()));
                return Err(Problem::refused(error));
            }
            _ => query.seen = Some(job.version),
        }
    }
}
