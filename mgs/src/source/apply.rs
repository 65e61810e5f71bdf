//! Carrying out a plan, change by change, as `mgsctl apply` does.

use std::sync::Arc;

use lustre_api::job::{JobId, JobPath, JobState, WaitQuery};
use lustre_api::plan::{Plan, Request, Severity};
use lustre_api::{Problem, ProblemCode, WriteQuery};

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
        let request = lustre_plan::request(&found.desired, change, None);
        let request = request.map_err(|err| failed(Problem::invalid(err.to_string())))?;
        if let Some(id) = make(api, caller, request, &query).await.map_err(failed)? {
            ended(api, &id).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes one change; gives the job that carries it out.
async fn make(api: &Arc<Api>, caller: &Caller, request: Request, query: &WriteQuery) -> Result<Option<JobId>, Problem> {
    Ok(match request {
        Request::PutFilesystem(path, body) => api.put_filesystem(caller, &path, query, body).await?.job,
        Request::DeleteFilesystem(path) => api.delete_filesystem(caller, &path, query).await?.job,
        Request::EnsureTarget(body) => api.ensure_target(caller, query, *body).await?.job,
        Request::DeregisterTarget(path) => api.deregister_target(caller, &path, query).await?.job,
        Request::PutParam(path, body) => api.put_param(caller, &path, query, body).await?.job,
        Request::PutParamCarefully(path, body) => {
            api.put_param_carefully(caller, &path, query, body).await?.written.job
        }
        Request::SpreadParam(path, body) => api.spread_param(caller, &path, query, *body).await?.job,
        Request::DeleteParam(path) => api.delete_param(caller, &path, query, None).await?.job,
        Request::RemoveParam(path, body) => api.delete_param(caller, &path, query, body.confirm_within_s).await?.job,
        Request::PutPool(path, body) => api.put_pool(caller, &path, query, body).await?.job,
        Request::DeletePool(path) => api.delete_pool(caller, &path, query).await?.job,
        Request::PutNodemap(path, body) => api.put_nodemap(caller, &path, query, *body).await?.job,
        Request::DeleteNodemap(path) => api.delete_nodemap(caller, &path, query, None).await?.job,
        Request::RemoveNodemap(path, body) => {
            api.delete_nodemap(caller, &path, query, body.confirm_within_s).await?.job
        }
        Request::PutNodemapsActive(body) => api.put_nodemaps_active(caller, query, body).await?.job,
        Request::EnsureProxy(path) => api.ensure_mgs_proxy(caller, &path, query).await?.job,
        Request::RemoveProxy(path) => api.remove_mgs_proxy(caller, &path, query).await?.job,
    })
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
