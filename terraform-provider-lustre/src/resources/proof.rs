//! What nodes have of tunables, as attributes: shown by each refresh, set right by the next apply where a node has something
//! else.
//!
//! Which clients are there, and whether they answer, changes without anybody's doing, so `proof` alone never makes a plan;
//! `drift` does: nodes that have another value than the one that is set.

use std::time::Duration;

use lustre_api::job::JobId;
use lustre_api::mgs::Snapshot;
use lustre_api::param::{Param, ParamSpec};
use lustre_api::proof::{ParamProof, PostSpreadParam, SpreadParam};
use lustre_types::ParamKey;
use serde_json::{Map, Value as Json, json};
use tfplugin_proto::{Diagnostic, Plan, Value};
use tokio::time::{Instant, sleep};

use crate::managed::Put;
use crate::mgs::{Failure, Mgs};

/// The attributes.
pub(super) const PROOF: &str = "proof";
pub(super) const DRIFT: &str = "drift";

/// How long nodes may take to read the MGS's logs after a change. They are told at once, and take seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often they are asked meanwhile.
const EVERY: Duration = Duration::from_millis(500);
/// How long setting a value on nodes may take: a node that is down is waited for.
const LIMIT: Duration = Duration::from_secs(600);

/// Names a tunable.
pub(super) fn key(spec: &ParamSpec) -> ParamKey {
    ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() }
}

/// What is known of a tunable's nodes; nothing where nobody asked them.
pub(super) fn known<'a>(snapshot: &'a Snapshot, spec: &ParamSpec) -> Option<&'a ParamProof> {
    snapshot.param_proofs.get(&key(spec))
}

/// The attributes of one tunable, by node.
pub(super) fn of_one(proof: Option<&ParamProof>) -> [(&'static str, Json); 2] {
    let Some(proof) = proof else { return [(PROOF, Json::Null), (DRIFT, Json::Null)] };
    [(PROOF, json!(proof.nodes)), (DRIFT, json!(proof.drift))]
}

/// The attributes of several tunables, by their names.
pub(super) fn of_several<'a>(proofs: impl Iterator<Item = &'a ParamProof>) -> [(&'static str, Json); 2] {
    let (mut states, mut drift) = (Map::new(), Map::new());
    for proof in proofs {
        let nodes = proof.nodes.iter().map(|(node, state)| format!("{node} {}", word(&json!(state))));
        states.insert(proof.id.name.to_string(), nodes.collect::<Vec<_>>().join(", ").into());
        if !proof.drift.is_empty() {
            let nodes = proof.drift.iter().map(|(node, what)| format!("{node}: {what}"));
            drift.insert(proof.id.name.to_string(), nodes.collect::<Vec<_>>().join("; ").into());
        }
    }
    [(PROOF, states.into()), (DRIFT, drift.into())]
}

fn word(state: &Json) -> &str {
    state.as_str().unwrap_or_default()
}

/// Whether the state says that a node has something else.
fn has_drift(prior: &Value) -> bool {
    matches!(prior.get(DRIFT), Value::Map(nodes) if !nodes.is_empty())
}

/// Plans to set right what nodes have otherwise.
pub(super) fn repair(plan: &mut Plan) {
    if has_drift(&plan.prior) {
        plan.planned.put(DRIFT, Value::Unknown);
        plan.planned.put(PROOF, Value::Unknown);
    }
}

/// What nodes have after a change is known after it.
pub(super) fn complete(plan: &mut Plan, attribute: &str) {
    if plan.planned.get(attribute) != plan.prior.get(attribute) {
        plan.planned.put(DRIFT, Value::Unknown);
        plan.planned.put(PROOF, Value::Unknown);
    }
}

/// What nodes have once they had time to follow a change: at once where all agree.
pub(super) async fn after_change(mgs: &Mgs, keys: &[ParamKey]) -> Result<Vec<ParamProof>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let proofs = mgs.prove(keys.to_vec()).await?;
        if proofs.iter().all(|proof| proof.drift.is_empty()) || Instant::now() >= deadline {
            return Ok(proofs);
        }
        sleep(EVERY).await;
    }
}

/// Sets tunables right on the nodes that have something else, by a job for each.
pub(super) async fn set_again(mgs: &Mgs, params: &[&ParamSpec]) -> Result<(), Failure> {
    for proof in mgs.prove(params.iter().map(|spec| key(spec)).collect()).await? {
        let spec = params.iter().find(|spec| key(spec) == proof.id);
        let (Some(spec), false) = (spec, proof.drift.is_empty()) else { continue };
        let body = SpreadParam::again((*spec).clone(), proof.drift.keys().cloned().collect());
        let written = mgs.write::<PostSpreadParam>(super::param::path(&proof.id), body, None).await?;
        let id: JobId = written.object.id;
        mgs.wait_for(&id, LIMIT).await?;
    }
    Ok(())
}

/// Whether a change is to be confirmed by the apply that makes it.
pub(super) fn is_to_confirm(planned: &Value) -> bool {
    super::confirm_within(planned).is_some() && planned.get("confirm_when_proven").as_bool().known() == Some(true)
}

/// Whether every node that has the tunables, and at least one, says that it has their values.
pub(super) fn is_proven(proofs: &[ParamProof]) -> bool {
    !proofs.is_empty() && proofs.iter().all(ParamProof::is_proven)
}

/// Says after an apply which nodes have something else.
pub(super) fn warn(proofs: &[ParamProof], put: &Put<'_>) {
    let drift = proofs.iter().flat_map(|proof| &proof.drift);
    let lines: Vec<String> = drift.map(|(node, what)| format!("{node}: {what}")).collect();
    if lines.is_empty() {
        return;
    }
    let detail = format!(
        "It is set, and {} s later not everywhere:\n  {}\n\nThe next plan shows what is left, and sets it right.",
        PATIENCE.as_secs(),
        lines.join("\n  ")
    );
    put.warn(Diagnostic::warning("Not on every node yet", detail).at(DRIFT));
}

/// The tunables that a snapshot has among these.
pub(super) fn of_params<'a>(snapshot: &'a Snapshot, params: impl Iterator<Item = &'a Param>) -> Vec<&'a ParamProof> {
    params.filter_map(|param| known(snapshot, &param.spec)).collect()
}
