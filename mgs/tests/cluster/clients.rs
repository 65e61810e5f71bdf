//! Clients of a file system that have one tunable.

use lustre_api::WriteQuery;
use lustre_api::node::{Announcement, NodePath};
use lustre_api::param::{ParamPath, ParamSpec};

use super::{Cluster, caller, info};

pub const DIRTY: &str = "osc.*.max_dirty_mb";

pub fn path(name: &str) -> ParamPath {
    ParamPath { fsname: "scratch".into(), scope: Default::default(), name: name.parse().unwrap() }
}

pub fn spec(name: &str, value: &str) -> ParamSpec {
    ParamSpec {
        filesystem: Some("scratch".parse().unwrap()),
        scope: Default::default(),
        name: name.parse().unwrap(),
        value: value.into(),
        allow_unknown: false,
    }
}

pub fn device(node: u32) -> String {
    format!("osc.scratch-OST0000-osc-ff{node}.max_dirty_mb")
}

pub fn url(node: u32) -> String {
    format!("http://c{node}:7080")
}

/// Clients `c1` to `c<count>`, each with one OSC device that has 2000 MiB.
pub async fn with_clients(count: u32) -> Cluster {
    let cluster = Cluster::new().await;
    for node in 1..=count {
        let name = format!("c{node}");
        let announcement = Announcement { api_url: url(node), info: info(&name) };
        let path = NodePath { node: name.parse().unwrap() };
        cluster.api.announce_node(&caller(), &path, &WriteQuery::default(), announcement).await.unwrap();
        cluster.nodes.tunables(&url(node), |tunables| {
            tunables.values.insert(device(node), "2000".into());
            tunables.boot_id = "first".into();
        });
    }
    cluster
}

impl Cluster {
    pub fn live(&self, node: u32) -> String {
        self.nodes.tunables(&url(node), |tunables| tunables.values[&device(node)].clone())
    }

    pub fn set_live(&self, node: u32, value: &str) {
        self.nodes.tunables(&url(node), |tunables| tunables.values.insert(device(node), value.into()));
    }
}
