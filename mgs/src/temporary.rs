//! Values that are set on nodes for the time being: set, put back, and put back by themselves when their time is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lustre_api::node_param::{NodeParamSet, NodeParamSetting, ReadNodeParams, SetNodeParams};
use lustre_api::proof::{NodeProof, ProofState};
use lustre_api::{Problem, WriteQuery};
use lustre_mgs_core::{TemporaryPlace, TemporaryRecord, decide};
use lustre_plan::catalogue::{self, Agreement};
use lustre_types::NodeName;
use tracing::{info, warn};

use crate::agents::Agents;
use crate::clock;
use crate::engine::{Caller, Engine};
use crate::proof::{Place, each};

/// How often to look for values whose time is over, and changes that nobody confirmed.
const EVERY: Duration = Duration::from_secs(1);

/// What setting a value on nodes came to: what each says, and what to put back.
pub struct SetOutcome {
    /// Each node's answer; nodes that have no such tunable are left out.
    pub proofs: Vec<NodeProof>,
    /// Where the value is now.
    pub places: Vec<TemporaryPlace>,
}

/// Sets a value on nodes. `name` is what the catalogue calls the tunable, `pattern` what nodes do.
pub async fn set_on(agents: &dyn Agents, places: Vec<Place>, name: &str, pattern: &str, value: &str) -> SetOutcome {
    let setting = NodeParamSetting { pattern: pattern.to_owned(), value: value.to_owned() };
    let wanted = SetNodeParams { settings: vec![setting] };
    let wanted = &wanted;
    let answers = each(places, |url| async move { agents.set_params(&url, wanted).await }).await;
    let mut outcome = SetOutcome { proofs: Vec::new(), places: Vec::new() };
    for (node, answer) in answers {
        let proof = |state, message| NodeProof { node: node.clone(), state, message, values: vec![], layers: vec![] };
        let answer = match answer {
            Ok(answer) => answer,
            Err(err) => {
                outcome.proofs.push(proof(ProofState::NotReached, Some(err.to_string())));
                continue;
            }
        };
        let set: Vec<NodeParamSet> = answer.set.into_iter().flatten().collect();
        if set.is_empty() {
            continue;
        }
        let (mut state, mut message) = (ProofState::Applied, None);
        for one in &set {
            let printed = one.after.as_deref().unwrap_or_default();
            let (judged, why) = match (&one.error, catalogue::agreement(name, value, printed)) {
                (Some(error), _) => (ProofState::Refused, Some(format!("{}: {error}", one.name))),
                (None, Agreement::Same) => (ProofState::Applied, None),
                (None, Agreement::Unknowable(why)) => (ProofState::Unknowable, Some(format!("{}: {why}", one.name))),
                (None, Agreement::Different) => {
                    (ProofState::Differs, Some(format!("{} is {printed} after {value} was set", one.name)))
                }
            };
            if judged != ProofState::Applied && state != ProofState::Refused {
                (state, message) = (judged, why);
            }
        }
        outcome.places.extend(decide::temporary::places(pattern, &node, &answer.boot_id, &set));
        outcome.proofs.push(proof(state, message));
    }
    outcome
}

/// Puts back what was there before `value`. Gives what each node says, and the places that still have to be put back.
///
/// A value that somebody has changed since is left alone; a node that restarted has lost it anyway.
pub async fn put_back(
    agents: &dyn Agents,
    urls: &BTreeMap<NodeName, String>,
    name: &str,
    value: &str,
    places: &[TemporaryPlace],
) -> (Vec<NodeProof>, Vec<TemporaryPlace>) {
    let mut of_node: BTreeMap<&NodeName, Vec<&TemporaryPlace>> = BTreeMap::new();
    for place in places {
        of_node.entry(&place.node).or_default().push(place);
    }
    // A node that was forgotten has nobody to ask: what it had goes with it.
    let asked: Vec<Place> =
        of_node.keys().filter_map(|node| Some(((*node).clone(), urls.get(*node)?.clone()))).collect();
    let by_url: BTreeMap<&str, &Vec<&TemporaryPlace>> =
        of_node.iter().filter_map(|(node, places)| Some((urls.get(*node)?.as_str(), places))).collect();
    let by_url = &by_url;
    let answers = each(asked, |url| async move {
        let places = by_url.get(url.as_str()).copied().map(Vec::as_slice).unwrap_or_default();
        let patterns = places.iter().map(|place| place.name.clone()).collect();
        let there = agents.read_params(&url, &ReadNodeParams { patterns, ..ReadNodeParams::default() }).await?;
        let mut settings = Vec::new();
        for (place, found) in places.iter().zip(&there.found) {
            let before = place.before.as_deref().and_then(|before| catalogue::settable(name, before));
            let Some(before) = before.filter(|_| place.boot_id == there.boot_id) else { continue };
            let has_it = |printed: &String| catalogue::agreement(name, value, printed) == Agreement::Same;
            let ours = found.iter().filter(|param| param.value.as_ref().is_some_and(has_it));
            settings.extend(ours.map(|one| NodeParamSetting { pattern: one.name.clone(), value: before.clone() }));
        }
        agents.set_params(&url, &SetNodeParams { settings }).await
    })
    .await;
    let (mut proofs, mut left) = (Vec::new(), Vec::new());
    for (node, answer) in answers {
        let (state, message) = match answer {
            Ok(answer) => match answer.set.into_iter().flatten().find_map(|one| Some((one.name, one.error?))) {
                Some((name, error)) => (ProofState::Refused, Some(format!("{name}: {error}"))),
                None => (ProofState::Applied, None),
            },
            Err(err) => {
                left.extend(places.iter().filter(|place| place.node == node).cloned());
                (ProofState::NotReached, Some(format!("{err}; tried again when it is back")))
            }
        };
        proofs.push(NodeProof { node, state, message, values: vec![], layers: vec![] });
    }
    (proofs, left)
}

/// Where the agents of all nodes are.
pub fn urls(engine: &Engine) -> BTreeMap<NodeName, String> {
    let state = engine.state();
    state.nodes.iter().map(|(name, node)| (name.clone(), node.value.api_url.clone())).collect()
}

/// Ends a temporary value: puts back what was there, and forgets it where every node is done.
pub async fn end(
    engine: &Engine,
    agents: &dyn Agents,
    caller: &Caller,
    query: &WriteQuery,
    name: &str,
    record: &TemporaryRecord,
) -> Result<(Vec<NodeProof>, Vec<TemporaryPlace>), Problem> {
    let known_as = catalogue::lookup(name).map_or(name, |entry| entry.name.as_str());
    let (proofs, left) = put_back(agents, &urls(engine), known_as, &record.value, &record.places).await;
    if left.is_empty() {
        engine.write(caller, query, |state, req| decide::temporary::forget(state, req, name)).await?;
    } else {
        engine.write(caller, query, |state, req| decide::temporary::keep(state, req, name, &left)).await?;
    }
    Ok((proofs, left))
}

/// Ends what is over, for ever: temporary values that expired, changes that nobody confirmed.
pub async fn run(engine: Arc<Engine>, agents: Arc<dyn Agents>, owner: Caller) {
    loop {
        tokio::time::sleep(EVERY).await;
        let expired = decide::temporary::expired(&engine.state(), clock::now());
        for name in expired {
            let noted = engine.state().temporary.get(&name).map(|noted| noted.value.clone());
            let Some(record) = noted else { continue };
            match end(&engine, &*agents, &owner, &WriteQuery::default(), &name, &record).await {
                Ok((_, left)) if left.is_empty() => info!(param = name, "temporary value ended"),
                Ok((_, left)) => tracing::debug!(param = name, left = left.len(), "nodes with it are not reached"),
                Err(problem) => {
                    warn!(param = name, error = %problem, "temporary value can't be ended now, will try again")
                }
            }
        }
        while let Some(object) = match engine.write_as(&owner, decide::confirm::expire).await {
            Ok(object) => object,
            Err(problem) => {
                warn!(error = %problem, "what nobody confirmed can't be put back now, will try again");
                None
            }
        } {
            info!(%object, "put back: nobody confirmed it in time");
        }
    }
}
