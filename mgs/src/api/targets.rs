//! Targets.

use std::time::Duration;

use lustre_api::agent::FormatCheck;
use lustre_api::operation::{DeregisterFrom, StopWithin};
use lustre_api::target::{EnsureTarget, Register, Reservation, Reserve, Target, TargetPath};
use lustre_api::{Page, PageQuery, Problem, WriteQuery, Written};
use lustre_mgs_core::{Decision, Request, State, decide, view};
use lustre_types::NodeName;
use tracing::info;

use super::{Api, after, is_behind, page};
use crate::agents::AgentError;
use crate::engine::Caller;

/// How long an agent may take to look at one device before the request is refused.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

impl Api {
    /// `list_targets`
    pub fn list_targets(&self, query: &PageQuery) -> Result<Page<Target>, Problem> {
        let state = self.engine.state();
        let after = after(query)?;
        let all = state.targets.iter().filter(|(svname, _)| {
            is_behind(after.as_ref(), *svname)
                && query.fsname.as_ref().is_none_or(|wanted| svname.fsname() == Some(wanted))
        });
        let shown = all
            .map(|(svname, target)| (svname.to_string(), view::target(&state, svname, &target.value, target.revision)));
        page(query, state.revision, shown)
    }

    /// `get_target`
    pub fn get_target(&self, path: &TargetPath) -> Result<Target, Problem> {
        let state = self.engine.state();
        let target = decide::target::get(&state, &path.svname)?;
        Ok(view::target(&state, &path.svname, &target.value, target.revision))
    }

    /// `ensure_target`
    pub async fn ensure_target(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: EnsureTarget,
    ) -> Result<Written<Target>, Problem> {
        let seen = self.look(caller, &body).await?;
        let claim = self.engine.claim();
        let decide = |state: &State, req: &Request<'_>| {
            claim.decide(
                |busy| decide::target::ensure(state, req, body.clone(), seen.as_ref(), busy),
                |written| written.object.svname.clone(),
            )
        };
        let written = self.engine.write(caller, query, decide).await?;
        if let Some(job) = &written.job {
            info!(svname = %written.object.svname, job_id = %job, who = caller.who, "target to be ensured");
        }
        Ok(written)
    }

    /// What the node's agent finds on the device, where the decision needs it.
    pub(super) async fn look(&self, caller: &Caller, body: &EnsureTarget) -> Result<Option<FormatCheck>, Problem> {
        let (op, url) = {
            let state = self.engine.state();
            if !decide::target::needs_check(&state, &body.target) {
                return Ok(None);
            }
            let request = self.engine.request(caller);
            let op = decide::target::draft(&state, &request, body, &std::collections::BTreeSet::new())?;
            (op, decide::node::find(&state, &body.target.node)?.value.api_url.clone())
        };
        let node = &body.target.node;
        let checked = tokio::time::timeout(CHECK_TIMEOUT, self.agents.check(&url, &op)).await;
        match checked.unwrap_or_else(|_| Err(AgentError::Unreachable("no answer in 20 s".into()))) {
            Ok(check) => Ok(Some(check)),
            Err(AgentError::Refused(mut problem)) => {
                problem.message = format!("{node} can't use {}: {}", body.target.device, problem.message);
                problem.attribute = Some("target.device".into());
                Err(problem)
            }
            Err(AgentError::Unreachable(reason)) => {
                let problem = Problem::unavailable(format!("node {node} does not answer at {url}: {reason}"));
                Err(problem
                    .remedy(format!("look at the agent on {node}: systemctl status lustre-agent"))
                    .attribute("target.node"))
            }
        }
    }

    /// `reserve_target`
    pub async fn reserve_target(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: Reserve,
    ) -> Result<Written<Reservation>, Problem> {
        let claim = self.engine.claim();
        let decide = |state: &State, req: &Request<'_>| {
            claim.decide(
                |busy| decide::reserve::reserve(state, req, body.clone(), busy),
                |written| written.object.target.svname.clone(),
            )
        };
        let mut written = self.engine.write(caller, query, decide).await?;
        if query.dry_run {
            // It would not open anything.
            written.object.token = String::new();
        }
        Ok(written)
    }

    /// `register_target`
    pub async fn register_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: Register,
    ) -> Result<Written<Target>, Problem> {
        let decide =
            |state: &State, req: &Request<'_>| decide::register::register(state, req, &path.svname, body.clone());
        self.engine.write(caller, query, decide).await
    }

    /// `confirm_target`
    pub async fn confirm_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
    ) -> Result<Written<Target>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::target::confirm(state, req, &path.svname);
        self.engine.write(caller, query, decide).await
    }

    /// `start_target`
    pub async fn start_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
    ) -> Result<Written<Target>, Problem> {
        self.engine.write(caller, query, |state, req| decide::lifecycle::start(state, req, &path.svname)).await
    }

    /// `stop_target`
    pub async fn stop_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
    ) -> Result<Written<Target>, Problem> {
        self.engine.write(caller, query, |state, req| decide::lifecycle::stop(state, req, &path.svname)).await
    }

    /// `stop_target_within`
    pub async fn stop_target_within(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: StopWithin,
    ) -> Result<Written<Target>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::lifecycle::stop_within(state, req, &path.svname, &body);
        self.engine.write(caller, query, decide).await
    }

    /// `deregister_target_off_its_node`
    pub async fn deregister_target_from(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: DeregisterFrom,
    ) -> Result<Written<Target>, Problem> {
        let is_alive = |node: &NodeName| self.liveness.of(node).1;
        let decide = |state: &State, req: &Request<'_>| {
            decide::lifecycle::deregister_from(state, req, &path.svname, body.node_is_down, &is_alive)
        };
        self.engine.write(caller, query, decide).await
    }

    /// `deregister_target`
    pub async fn deregister_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
    ) -> Result<Written<Target>, Problem> {
        let decide = |state: &State, req: &Request<'_>| -> Result<Decision<Written<Target>>, Problem> {
            decide::lifecycle::deregister(state, req, &path.svname)
        };
        self.engine.write(caller, query, decide).await
    }
}
