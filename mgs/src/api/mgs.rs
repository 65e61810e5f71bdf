//! The MGS itself, and everything at one revision.

use futures::future::join_all;
use lustre_api::Problem;
use lustre_api::mgs::{MgsInfo, Snapshot, SnapshotQuery};
use lustre_api::node::{LiveNode, Node};
use lustre_mgs_core::view;

use super::Api;

impl Api {
    /// `get_mgs`
    pub fn get_mgs(&self) -> MgsInfo {
        view::mgs(&self.engine.state(), self.engine.env())
    }

    /// `get_snapshot`
    pub async fn get_snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, Problem> {
        let (mut snapshot, nodes) = self.stored(query);
        let live = |node: Node| async {
            if query.devices { self.look_at(node).await } else { LiveNode { node, inventory: None, unreachable: None } }
        };
        // All at once: the slowest agent, not the sum of them, is what a plan waits for.
        snapshot.nodes = join_all(nodes.into_iter().map(live)).await;
        Ok(snapshot)
    }

    /// What is stored, at one revision.
    fn stored(&self, query: &SnapshotQuery) -> (Snapshot, Vec<Node>) {
        let (state, env) = (self.engine.state(), self.engine.env());
        let wanted = |fsname: Option<&lustre_types::FsName>| query.fsname.is_none() || query.fsname.as_ref() == fsname;
        let filesystems = state.filesystems.iter().filter(|(name, _)| wanted(Some(name)));
        let targets = state.targets.iter().filter(|(svname, _)| wanted(svname.fsname()));
        let params = state.params.iter().filter(|(key, _)| wanted(key.filesystem.as_ref()));
        let pools = state.pools.iter().filter(|((fsname, _), _)| wanted(Some(fsname)));
        let snapshot = Snapshot {
            revision: state.revision,
            mgs: view::mgs(&state, env),
            filesystems: filesystems.map(|(_, fs)| view::filesystem(&state, env, &fs.value, fs.revision)).collect(),
            targets: targets.map(|(svname, t)| view::target(&state, svname, &t.value, t.revision)).collect(),
            params: params.map(|(key, param)| view::param(key, &param.value, param.revision)).collect(),
            pools: pools.map(|((fsname, name), p)| view::pool(fsname, name, &p.value, p.revision)).collect(),
            nodes: Vec::new(),
        };
        let nodes = state.nodes.iter().map(|(name, node)| self.show_node(name, node)).collect();
        (snapshot, nodes)
    }
}
