//! `lustre_mgs_proxy`.

use lustre_api::attributes::{MGS_PROXY, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::node::{Node, NodePath};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proxy::{EnsureProxy, Proxy, ProxySpec, RemoveProxy};
use lustre_types::NodeName;
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Plan, PlanKind, Value, async_trait};

use super::text;
use crate::managed::{Kind, Live, Put};
use crate::mgs::{Failure, Mgs, view};
use crate::timeouts;

/// What only the node knows.
const OBSERVED: [&str; 5] = ["version", "srcversion", "protocol", "transport", "is_current"];

pub(super) struct MgsProxy;

#[async_trait]
impl Kind for MgsProxy {
    const TABLE: &'static Table = &MGS_PROXY;
    const TIMEOUTS: &'static [&'static str] = &["create", "update", "delete"];
    const TOLD_BY: &'static str = "node";
    const IDENTITY: &'static [(&'static str, bool)] = &[("node", true)];
    type Spec = ProxySpec;

    fn name(object: &Value) -> Option<String> {
        object.get("node").as_str().known().map(str::to_owned)
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let node = text(state, "node");
        let known = snapshot.nodes.iter().find(|known| known.node.name.as_str() == node)?;
        Proxy::of(known).as_ref().map(view)
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        // They are of no file system.
        let nodes = snapshot.nodes.iter().filter(|_| filesystem.is_none());
        nodes.filter_map(Proxy::of).map(|proxy| (proxy.id.clone(), view(&proxy))).collect()
    }

    fn desired(spec: &ProxySpec, _: &Value) -> Desired {
        Desired { mgs_proxies: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &ProxySpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::MgsProxy { node } if *node == spec.node)
    }

    fn made(view: &Json, snapshot: &mut Snapshot) {
        let Ok(node) = serde_json::from_value::<Node>(view["observed"].clone()) else { return };
        if let Some(known) = snapshot.nodes.iter_mut().find(|known| known.node.name == node.name) {
            known.node = node;
        }
    }

    fn repair(plan: &mut Plan) {
        if plan.prior.get("is_current").as_bool().known() == Some(false) {
            plan.planned.put("is_current", Value::Unknown);
        }
    }

    fn complete(_: Option<&ProxySpec>, plan: &mut Plan, _: Option<Live<'_>>) {
        if plan.kind() == PlanKind::Update {
            for attribute in OBSERVED {
                plan.planned.put(attribute, Value::Unknown);
            }
        }
    }

    fn check_removal(_: &Value, _: &mut Diagnostics) {
        // The node refuses while an MGS daemon serves through it.
    }

    async fn put(mgs: &Mgs, spec: ProxySpec, put: &Put<'_>) -> Result<Json, Failure> {
        let operation = if put.prior.is_some() { "update" } else { "create" };
        let limit = timeouts::limit(put.planned, operation);
        let path = NodePath { node: spec.node.clone() };
        let written = put.heard(mgs.write::<EnsureProxy>(path, lustre_api::Nothing {}, None).await?);
        if let Some(job) = written.job {
            mgs.wait_for(&job, limit).await?;
        }
        let node = mgs.inventory(spec.node).await?;
        let mut shown = Proxy::of(&node).as_ref().map(view).unwrap_or_else(|| Json::Object(serde_json::Map::new()));
        shown["observed"] = view(&node.node);
        Ok(shown)
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let Ok(node) = text(prior, "node").parse() else { return Ok(()) };
        match mgs.remove::<RemoveProxy>(NodePath { node }).await?.and_then(|written| written.job) {
            Some(job) => mgs.wait_for(&job, timeouts::limit(prior, "delete")).await,
            None => Ok(()),
        }
    }

    fn import(id: &str) -> Result<Value, String> {
        let node: NodeName =
            id.parse().map_err(|err| format!("{err}; import a kernel proxy by the name of its node"))?;
        Ok(Value::object([("node", node.to_string().into())]))
    }
}
