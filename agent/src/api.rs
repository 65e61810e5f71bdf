//! The agent's API: calls to jobs and observations.

use crate::{
    config::Config,
    format::{Format, Wanted, guard, zfs::against_pool},
    host::{Host, HostError, chain},
    inventory,
    jobs::Jobs,
    observe::Content,
    params,
};
use lustre_api::{
    Page, PageQuery, Problem,
    agent::{
        AgentJob, CancelAgentJob, CheckFormat, FormatCheck, FormatOp, GetAgentJob, GetFormatted, GetInventory,
        GetNodeInfo, ListAgentJobs, PutAgentJob,
    },
    job::{JobId, WaitQuery},
    node_param::{ReadParams, SetParams},
};
use lustre_types::SvName;
use rest::{Call, Server};
use std::{sync::Arc, time::Duration};

/// Jobs of a page when the caller doesn't say, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
/// The longest wait for news of a job, seconds.
const WAIT_MAX_S: u32 = 60;

/// What calls work on.
#[derive(Debug)]
pub struct Agent {
    /// The host.
    pub host: Arc<Host>,
    /// Command line and environment.
    pub config: Config,
    /// What is under way.
    pub jobs: Arc<Jobs>,
}

/// The routes of the agent's API.
pub fn server(agent: Arc<Agent>) -> Server<Agent> {
    Server::new(agent, "Lustre node agent", env!("CARGO_PKG_VERSION"))
        .route::<GetNodeInfo, _, _>(|agent, _| looked(agent, |agent| inventory::node_info(&agent.host, &agent.config)))
        .route::<GetInventory, _, _>(|agent, _| looked(agent, |agent| inventory::inventory(&agent.host, &agent.config)))
        .route::<GetFormatted, _, _>(|agent, _| {
            looked(agent, |agent| inventory::formatted(&agent.host, agent.jobs.userspace()))
        })
        .route::<CheckFormat, _, _>(|agent, call| blocking(agent, move |agent| check(&agent.host, &call.body)))
        .route::<ReadParams, _, _>(|agent, call| blocking(agent, move |agent| params::read(&agent.host, &call.body)))
        .route::<SetParams, _, _>(|agent, call: Call<SetParams>| {
            let who = call.caller.to_string();
            blocking(agent, move |agent| params::set(&agent.host, &call.body, &who))
        })
        .route::<PutAgentJob, _, _>(|agent, call: Call<PutAgentJob>| {
            let who = call.caller.to_string();
            blocking(agent, move |agent| agent.jobs.put(call.path.id, call.body, who))
        })
        .route::<ListAgentJobs, _, _>(|agent, call| async move { list(&agent.jobs, &call.query) })
        .route::<GetAgentJob, _, _>(|agent, call| async move { wait(&agent.jobs, &call.path.id, call.query).await })
        .route::<CancelAgentJob, _, _>(|agent, call| blocking(agent, move |agent| agent.jobs.cancel(&call.path.id)))
}

/// Runs what blocks away from the tasks that answer calls.
async fn blocking<T, F>(agent: Arc<Agent>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Agent) -> Result<T, Problem> + Send + 'static,
{
    let ended = tokio::task::spawn_blocking(move || work(&agent)).await;
    ended.unwrap_or_else(|_| Err(Problem::new(lustre_api::ProblemCode::Internal, "the agent could not carry this out")))
}

async fn looked<T, F>(agent: Arc<Agent>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Agent) -> Result<T, HostError> + Send + 'static,
{
    blocking(agent, move |agent| work(agent).map_err(|error| Problem::unavailable(chain(&error)))).await
}

fn check(host: &Host, op: &FormatOp) -> Result<FormatCheck, Problem> {
    let wanted = Wanted::from_op(op).map_err(|error| Problem::invalid(chain(&error)).attribute(error.attribute()))?;
    let no_device = |error: HostError| match error {
        HostError::Missing { .. } => Problem::not_found(chain(&error)).attribute("device"),
        HostError::NoDevice { .. } | HostError::Relative { .. } => Problem::invalid(chain(&error)).attribute("device"),
        other => Problem::unavailable(chain(&other)),
    };
    let device = host.device(&wanted.device).map_err(no_device)?;
    let observed = host.observe(&device).map_err(no_device)?;
    let is_same = matches!(&observed.content, Content::Target(found) if guard::is_same(found, &wanted));
    let refusals = if is_same {
        Vec::new()
    } else {
        guard::against(host, &device, &observed, &wanted, None).map_err(no_device)?
    };
    let refusals: Vec<_> =
        refusals.into_iter().filter(|refusal| !(op.allow_reformat && refusal.code.is_overridable())).collect();
    let mut of_device = guard::refusals(host, &device, &observed, None).map_err(no_device)?;
    if let Some(dataset) = device.dataset().filter(|_| !is_same) {
        of_device.extend(against_pool(host, op, &dataset).map_err(no_device)?);
    }
    Ok(FormatCheck {
        is_same,
        refusals,
        command: Format::preview(host, &wanted, &device).map_err(no_device)?,
        missing_features: match device.dataset() {
            // Known once the installed ZFS has refused it.
            Some(_) => Vec::new(),
            None => host.mke2fs().map_err(no_device)?.missing_for(&wanted.backing(&device)),
        },
        device: inventory::with(host, &device, observed, of_device),
    })
}

fn list(jobs: &Jobs, query: &PageQuery) -> Result<Page<AgentJob>, Problem> {
    let limit = query.limit.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX));
    let all: Vec<AgentJob> = jobs
        .list()
        .into_iter()
        .filter(|job| {
            query.fsname.as_ref().is_none_or(|fsname| job.op.svname().and_then(SvName::fsname) == Some(fsname))
        })
        .collect();
    let start = match &query.after {
        None => 0,
        Some(after) => {
            let at = all.iter().position(|job| job.id.as_str() == after);
            at.ok_or_else(|| Problem::invalid(format!("there is no job {after:?} to go on after")).attribute("after"))?
                + 1
        }
    };
    let items: Vec<AgentJob> = all[start..].iter().take(limit).cloned().collect();
    let has_more = start + items.len() < all.len();
    let next = items.last().filter(|_| has_more).map(|job| job.id.to_string());
    Ok(Page { items, next, revision: 0 })
}

async fn wait(jobs: &Jobs, id: &JobId, query: WaitQuery) -> Result<AgentJob, Problem> {
    let mut changes = jobs.changes();
    let patience = Duration::from_secs(query.wait_s.unwrap_or(0).min(WAIT_MAX_S).into());
    let news = async {
        loop {
            changes.mark_unchanged();
            let job = jobs.get(id)?;
            // Not only what is greater: a clock that was set back while the agent was away makes it less.
            let is_news = query.seen.is_none_or(|seen| job.version != seen);
            if is_news || job.state.is_final() || changes.changed().await.is_err() {
                return Ok(job);
            }
        }
    };
    match tokio::time::timeout(patience, news).await {
        Ok(answer) => answer,
        Err(_) => jobs.get(id),
    }
}
