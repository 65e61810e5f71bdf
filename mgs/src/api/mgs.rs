//! The MGS itself, and everything at one revision.

use futures::future::join_all;
use lustre_api::Problem;
use lustre_api::mgs::{MgsInfo, Ready, Snapshot, SnapshotQuery};
use lustre_api::node::{LiveNode, Node};
use lustre_mgs_core::{State, view};
use lustre_mgs_store::Health;

use super::Api;
use super::params::param_key;
use crate::peers;

impl Api {
    /// `get_mgs`
    pub fn get_mgs(&self) -> MgsInfo {
        let state = self.engine.state();
        let mut mgs = view::mgs(&state, self.engine.env());
        self.add_instance(&state, &mut mgs);
        mgs
    }

    /// What is so of this instance only.
    fn add_instance(&self, state: &State, mgs: &mut MgsInfo) {
        mgs.store_error = self.engine.store_error().map(str::to_owned);
        let is_ours = |owner: &str| owner == self.engine.instance();
        let ours = state.owners.iter().filter(|(_, owner)| is_ours(&owner.value.instance));
        mgs.duties = ours.map(|(duty, _)| duty).filter(|duty| !peers::is_instance(duty)).cloned().collect();
        mgs.instances = peers::instances(state);
    }

    /// `get_ready`
    pub async fn get_ready(&self) -> Result<Ready, Problem> {
        let lost = |reason: String| {
            Problem::unavailable(format!("no change is accepted: {reason}"))
                .remedy("use another MGS; this one goes on by itself when its store does")
        };
        if let Health::Lost { reason } = self.engine.store().health() {
            return Err(lost(reason));
        }
        self.engine.refresh().await.map_err(lost)?;
        Ok(Ready { revision: self.engine.state().revision })
    }

    /// `get_snapshot`
    pub async fn get_snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, Problem> {
        let (mut snapshot, nodes) = {
            let state = self.engine.state();
            let nodes: Vec<Node> = state.nodes.iter().map(|(name, node)| self.show_node(name, node)).collect();
            let mut snapshot = view::snapshot(&state, self.engine.env(), query.fsname.as_ref());
            self.add_instance(&state, &mut snapshot.mgs);
            (snapshot, nodes)
        };
        let live = |node: Node| async {
            if query.devices { self.look_at(node).await } else { LiveNode { node, inventory: None, unreachable: None } }
        };
        // All at once: the slowest agent, not the sum of them, is what a plan waits for.
        snapshot.nodes = join_all(nodes.into_iter().map(live)).await;
        if query.tunables {
            snapshot.param_proofs = self.proofs_of(snapshot.params.iter().map(|param| param_key(&param.spec))).await?;
        }
        Ok(snapshot)
    }
}
