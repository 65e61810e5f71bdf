//! What a node's agent can be asked for, so that nobody waits for one of an older version to do what it doesn't know.

use std::collections::BTreeSet;

use lustre_types::Dataset;

use crate::Problem;
use crate::agent::{AgentOp, NodeInfo};

/// Targets on ZFS datasets.
pub const ZFS: &str = "zfs";
/// Changes of targets on ZFS, and their pools taken from one node to another.
pub const ZFS_POOLS: &str = "zfs_pools";
/// All that an agent of this version can be asked for: the kinds of [`AgentOp`], [`ZFS`] and [`ZFS_POOLS`].
pub const ABILITIES: [&str; 13] = [
    "format",
    "start",
    "stop",
    "tune",
    "relabel",
    "migrate",
    "find_files",
    "set_param",
    "load_proxy",
    "unload_proxy",
    "scan",
    ZFS,
    ZFS_POOLS,
];
/// What an agent can be asked for that says nothing: it is older than this list.
const ASSUMED: [&str; 3] = ["format", "start", "stop"];

impl AgentOp {
    /// What an agent must be able to do that is given this.
    pub fn needs(&self) -> Vec<&'static str> {
        let kind = match self {
            Self::Format(_) => "format",
            Self::Start(_) => "start",
            Self::Stop(_) => "stop",
            Self::Tune(_) => "tune",
            Self::Relabel(_) => "relabel",
            Self::Scan(_) => "scan",
            Self::Migrate(_) => "migrate",
            Self::FindFiles(_) => "find_files",
            Self::SetParam(_) => "set_param",
            Self::LoadProxy => "load_proxy",
            Self::UnloadProxy => "unload_proxy",
        };
        let is_zfs = self.device().is_some_and(Dataset::is_meant);
        let is_of_pools = match self {
            Self::Tune(_) => is_zfs,
            Self::Start(op) => op.pool_of.is_some(),
            Self::Stop(op) => op.export_pool,
            _ => false,
        };
        [kind].into_iter().chain(is_zfs.then_some(ZFS)).chain(is_of_pools.then_some(ZFS_POOLS)).collect()
    }
}

impl NodeInfo {
    /// Why its agent can't be asked for something, with what to do; none where it can.
    pub fn lacks(&self, needs: &[&str]) -> Option<Problem> {
        let can = |need: &str| match &self.abilities {
            Some(abilities) => abilities.contains(need),
            None => ASSUMED.contains(&need),
        };
        let lacking: BTreeSet<&str> = needs.iter().copied().filter(|need| !can(need)).collect();
        if lacking.is_empty() {
            return None;
        }
        let what = lacking.into_iter().collect::<Vec<_>>().join(", ");
        let (node, version) = (&self.node, &self.agent_version);
        let problem =
            Problem::refused(format!("the agent of {node} is of version {version} and can't do this: {what}"));
        Some(
            problem
                .remedy(format!("upgrade lustre-agent on {node}; the MGS hears of it within seconds"))
                .attribute("node"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn op(value: serde_json::Value) -> AgentOp {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_operation_is_among_the_abilities_under_its_own_name() {
        let schema = serde_json::to_value(schemars::schema_for!(AgentOp)).unwrap();
        let kinds: BTreeSet<_> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap().to_owned())
            .collect();
        let is_kind = |name: &&&str| ![ZFS, ZFS_POOLS].contains(*name);
        let named: BTreeSet<_> = ABILITIES.iter().filter(is_kind).map(|name| (*name).to_owned()).collect();
        assert_eq!(kinds, named);
        assert_eq!(op(json!({"kind": "load_proxy"})).needs(), ["load_proxy"]);
        let stop = |device: &str| op(json!({"kind": "stop", "svname": "scratch-OST0001", "device": device})).needs();
        assert_eq!((stop("/dev/sdb"), stop("tank/ost1")), (vec!["stop"], vec!["stop", ZFS]));
        let last = json!({"kind": "stop", "svname": "scratch-OST0001", "device": "tank/ost1", "export_pool": true});
        assert_eq!(op(last).needs(), ["stop", ZFS, ZFS_POOLS]);
    }

    #[test]
    fn an_agent_that_says_nothing_can_format_start_and_stop() {
        let info: NodeInfo = serde_json::from_value(json!({
            "node": "oss1", "agent_version": "0.0.9", "boot_id": "b", "kernel": "6.1", "start_driver": "none", "nids": [],
        }))
        .unwrap();
        assert!(info.lacks(&["format", "stop"]).is_none());
        let problem = info.lacks(&["format", ZFS, "tune"]).unwrap();
        assert_eq!(problem.message, "the agent of oss1 is of version 0.0.9 and can't do this: tune, zfs");
        assert!(problem.remedy.unwrap().starts_with("upgrade lustre-agent on oss1"));
        let newer =
            NodeInfo { abilities: Some(["zfs", "format", "what comes later"].map(str::to_owned).into()), ..info };
        assert!(newer.lacks(&["format", ZFS]).is_none() && newer.lacks(&["stop"]).is_some());
    }
}
