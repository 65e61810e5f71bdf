//! Operations on file systems and targets that exist.

use futures::StreamExt;
use lustre_api::filesystem::FilesystemPath;
use lustre_api::job::{Job, JobPath};
use lustre_api::node::NodePath;
use lustre_api::operation::{
    EvacuateTarget, FailbackTargets, FailoverNode, FailoverTargets, GrowFilesystem, MoveTarget, ReplaceNids, ScanNode,
    ScanNodes, WriteconfFilesystem,
};
use lustre_api::target::TargetPath;
use lustre_api::{Problem, WriteQuery, Written};
use lustre_mgs_core::decide::operate;
use lustre_mgs_core::decide::operate::failover_node::Way;
use lustre_mgs_core::{Request, State};
use lustre_types::{FsName, NodeName};

use super::Api;
use crate::engine::Caller;

/// Devices that are looked at at once.
const LOOKS: usize = 16;
/// Clients named in a warning.
const NAMED: usize = 5;

impl Api {
    /// `writeconf_filesystem`
    pub async fn writeconf_filesystem(
        &self,
        caller: &Caller,
        path: &FilesystemPath,
        query: &WriteQuery,
        body: WriteconfFilesystem,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::writeconf::writeconf(state, req, &path.fsname, &body);
        let mut written = self.engine.write(caller, query, decide).await?;
        self.warn_of_clients(&path.fsname, &mut written);
        Ok(written)
    }

    /// `grow_filesystem`: all devices are looked at before anything is decided.
    pub async fn grow_filesystem(
        &self,
        caller: &Caller,
        path: &FilesystemPath,
        query: &WriteQuery,
        body: GrowFilesystem,
    ) -> Result<Written<Job>, Problem> {
        let wanted = operate::grow::targets(&path.fsname, &body)?;
        let is_started = query.job.as_ref().is_some_and(|id| self.engine.state().jobs.contains_key(id));
        let mut seen = Vec::new();
        if !is_started {
            let mut looks = Vec::new();
            for wanted in &wanted {
                looks.push(self.look(caller, wanted));
            }
            let looks: Vec<_> = futures::stream::iter(looks).buffered(LOOKS).collect().await;
            for (at, look) in looks.into_iter().enumerate() {
                seen.push(look.map_err(|problem| operate::grow::within(problem, at))?);
            }
        }
        let decide = |state: &State, req: &Request<'_>| operate::grow::grow(state, req, &path.fsname, &body, &seen);
        self.engine.write(caller, query, decide).await
    }

    /// `move_target`
    pub async fn move_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: MoveTarget,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| {
            operate::moving::move_target(state, req, &path.svname, &body, &|node| self.liveness.of(node).1)
        };
        self.engine.write(caller, query, decide).await
    }

    /// `replace_nids`
    pub async fn replace_nids(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: ReplaceNids,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::nids::replace_nids(state, req, &path.svname, &body);
        let mut written = self.engine.write(caller, query, decide).await?;
        if let Some(fsname) = path.svname.fsname() {
            self.warn_of_clients(fsname, &mut written);
        }
        Ok(written)
    }

    /// `evacuate_target`
    pub async fn evacuate_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: EvacuateTarget,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::evacuate::evacuate(state, req, &path.svname, &body);
        self.engine.write(caller, query, decide).await
    }

    /// `relabel_target`
    pub async fn relabel_target(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::relabel::relabel(state, req, &path.svname);
        self.engine.write(caller, query, decide).await
    }

    /// `add_failover_node`, `remove_failover_node`
    pub async fn change_failover_node(
        &self,
        caller: &Caller,
        path: &TargetPath,
        query: &WriteQuery,
        body: FailoverNode,
        way: Way,
    ) -> Result<Written<Job>, Problem> {
        let decide =
            |state: &State, req: &Request<'_>| operate::failover_node::change(state, req, &path.svname, &body, way);
        self.engine.write(caller, query, decide).await
    }

    /// `failover_node`
    pub async fn failover_node(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
        body: FailoverTargets,
    ) -> Result<Written<Job>, Problem> {
        let is_alive = |node: &NodeName| self.liveness.of(node).1;
        let decide =
            |state: &State, req: &Request<'_>| operate::failover::failover(state, req, &path.node, &body, &is_alive);
        self.engine.write(caller, query, decide).await
    }

    /// `failback_node`
    pub async fn failback_node(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
        body: FailbackTargets,
    ) -> Result<Written<Job>, Problem> {
        let is_alive = |node: &NodeName| self.liveness.of(node).1;
        let decide =
            |state: &State, req: &Request<'_>| operate::failover::failback(state, req, &path.node, &body, &is_alive);
        self.engine.write(caller, query, decide).await
    }

    /// `scan_node`
    pub async fn scan_node(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
        body: ScanNode,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::scan::scan_node(state, req, &path.node, &body);
        self.engine.write(caller, query, decide).await
    }

    /// `scan_nodes`
    pub async fn scan_nodes(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: ScanNodes,
    ) -> Result<Written<Job>, Problem> {
        let is_alive = |node: &NodeName| self.liveness.of(node).1;
        let decide = |state: &State, req: &Request<'_>| operate::scan::scan_nodes(state, req, &body, &is_alive);
        self.engine.write(caller, query, decide).await
    }

    /// `pause_job`, `resume_job`
    pub async fn pause_job(
        &self,
        caller: &Caller,
        path: &JobPath,
        query: &WriteQuery,
        is_paused: bool,
    ) -> Result<Written<Job>, Problem> {
        let decide = |state: &State, req: &Request<'_>| operate::evacuate::pause(state, req, &path.id, is_paused);
        self.engine.write(caller, query, decide).await
    }

    /// Names nodes of Lustre that have the file system and are no targets of it, as far as this MGS knows.
    fn warn_of_clients(&self, fsname: &FsName, written: &mut Written<Job>) {
        if !written.changed {
            return;
        }
        let state = self.engine.state();
        let of_targets: Vec<String> = state
            .targets_of(fsname, None)
            .flat_map(|(_, target)| target.value.nids.iter().map(ToString::to_string))
            .collect();
        let exports = self.nodes.as_ref().map(|nodes| nodes.exports()).unwrap_or_default();
        let has_it = |names: &[FsName]| names.contains(fsname);
        let mut clients: Vec<String> = exports
            .iter()
            .filter(|export| has_it(&export.filesystems) && !of_targets.contains(&export.nid.to_string()))
            .map(|export| export.nid.to_string())
            .collect();
        clients.sort();
        clients.dedup();
        if !clients.is_empty() {
            let more =
                if clients.len() > NAMED { format!(" and {} more", clients.len() - NAMED) } else { String::new() };
            let some = clients[..clients.len().min(NAMED)].join(", ");
            written.warnings.push(format!("{fsname} is mounted now by {some}{more}; mgsctl export list shows them"));
        }
    }
}
