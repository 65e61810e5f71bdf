//! Nodes.

use std::time::Duration;

use lustre_api::job::Job;
use lustre_api::node::{Announcement, Heartbeats, LiveNode, Node, NodePath, NodeSettings};
use lustre_api::{Nothing, Page, PageQuery, Problem, WriteQuery, Written};
use lustre_mgs_core::{NodeRecord, Object, decide, view};
use lustre_mgs_core::{Request, State};
use lustre_types::NodeName;
use tracing::info;

use super::{Api, after, is_behind, page};
use crate::agents::AgentError;
use crate::clock;
use crate::engine::Caller;

/// How long an agent may take to list its devices.
const INVENTORY_TIMEOUT: Duration = Duration::from_secs(5);

impl Api {
    /// `announce_node`
    pub async fn announce_node(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
        body: Announcement,
    ) -> Result<Written<Node>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::node::announce(state, req, &path.node, body.clone());
        let written = self.engine.write(caller, query, decide).await?;
        if !query.dry_run {
            self.liveness.heard_of(&path.node, clock::now());
        }
        if written.changed {
            info!(node = %path.node, url = written.object.api_url, "node announced itself");
        }
        Ok(written)
    }

    /// `heartbeat`
    pub fn heartbeat(&self, path: &NodePath) -> Result<Nothing, Problem> {
        decide::node::find(&self.engine.state(), &path.node)?;
        self.liveness.heard_of(&path.node, clock::now());
        Ok(Nothing {})
    }

    /// `relay_heartbeats`
    pub fn relay_heartbeats(&self, body: &Heartbeats) -> Nothing {
        let (state, now) = (self.engine.state(), clock::now());
        // Who is not enrolled is not remembered: the other instance may know it before this one does, and tells it again.
        for heard in body.heard.iter().filter(|heard| state.nodes.contains_key(&heard.node)) {
            self.liveness.heard_elsewhere(heard, now);
        }
        Nothing {}
    }

    /// `list_nodes`
    pub fn list_nodes(&self, query: &PageQuery) -> Result<Page<Node>, Problem> {
        let state = self.engine.state();
        let after = after(query)?;
        let all = state.nodes.iter().filter(|(name, _)| is_behind(after.as_ref(), *name));
        page(query, state.revision, all.map(|(name, node)| (name.to_string(), self.show_node(name, node))))
    }

    /// `get_node`
    pub fn get_node(&self, path: &NodePath) -> Result<Node, Problem> {
        let state = self.engine.state();
        Ok(self.show_node(&path.node, decide::node::find(&state, &path.node)?))
    }

    /// `get_node_inventory`
    pub async fn get_node_inventory(&self, path: &NodePath) -> Result<LiveNode, Problem> {
        let node = self.get_node(path)?;
        Ok(self.look_at(node).await)
    }

    /// `put_node_settings`
    pub async fn put_node_settings(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
        body: NodeSettings,
    ) -> Result<Written<Node>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::node::settings(state, req, &path.node, body.clone());
        let mut written = self.engine.write(caller, query, decide).await?;
        (written.object.last_seen, written.object.is_alive) = self.liveness.of(&path.node);
        Ok(written)
    }

    /// `ensure_mgs_proxy`
    pub async fn ensure_mgs_proxy(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
    ) -> Result<Written<Job>, Problem> {
        self.engine.write(caller, query, |state, req| decide::proxy::ensure(state, req, &path.node)).await
    }

    /// `remove_mgs_proxy`
    pub async fn remove_mgs_proxy(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
    ) -> Result<Written<Job>, Problem> {
        self.engine.write(caller, query, |state, req| decide::proxy::remove(state, req, &path.node)).await
    }

    /// `delete_node`
    pub async fn delete_node(
        &self,
        caller: &Caller,
        path: &NodePath,
        query: &WriteQuery,
    ) -> Result<Written<Node>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::node::delete(state, req, &path.node);
        let written = self.engine.write(caller, query, decide).await?;
        if !query.dry_run {
            self.liveness.forget(&path.node);
        }
        Ok(written)
    }

    pub(super) fn show_node(&self, name: &NodeName, node: &Object<NodeRecord>) -> Node {
        let (last_seen, is_alive) = self.liveness.of(name);
        view::node(name, &node.value, node.revision, last_seen, is_alive)
    }

    /// The node with its devices, or why there are none to see.
    pub(super) async fn look_at(&self, node: Node) -> LiveNode {
        let asked = tokio::time::timeout(INVENTORY_TIMEOUT, self.agents.inventory(&node.api_url)).await;
        match asked.unwrap_or_else(|_| Err(AgentError::Unreachable("no answer in 5 s".into()))) {
            Ok(inventory) => LiveNode { node, inventory: Some(inventory), unreachable: None },
            Err(err) => LiveNode { unreachable: Some(format!("{}: {err}", node.api_url)), node, inventory: None },
        }
    }
}
