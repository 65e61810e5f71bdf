//! What nodes have of many tunables, asked of each node once: what plans show drift by.

use std::collections::BTreeMap;

use lustre_api::Problem;
use lustre_api::mgs::ProofByKey;
use lustre_api::node_param::{NodeParams, ReadNodeParams};
use lustre_api::param::Effective;
use lustre_api::proof::{LayerKind, NodeProof, ParamProof, ParamProofs, ProofState, ProveParams};
use lustre_mgs_core::{ParamKey, TemporaryRecord};
use lustre_plan::{catalogue, naming};
use lustre_types::NodeName;

use super::Api;
use crate::proof::{Others, Wanted, candidates, each, judge};

/// The most tunables of one question: what agents take.
const MAX_AT_ONCE: usize = 10_000;

/// A tunable to be proven: what is asked, and what is known of it.
struct Question {
    key: ParamKey,
    pattern: String,
    wanted: Option<String>,
    temporary: Vec<(String, TemporaryRecord)>,
    others: Others,
    /// The nodes that could have it; true: should.
    nodes: BTreeMap<NodeName, bool>,
}

impl Api {
    /// `prove_params`
    pub async fn prove_params(&self, body: &ProveParams) -> Result<ParamProofs, Problem> {
        let ids: Vec<ParamKey> = match body.ids.is_empty() {
            true => self.engine.state().params.keys().cloned().collect(),
            false => body.ids.clone(),
        };
        if ids.len() > MAX_AT_ONCE {
            let message = format!("{} tunables; {MAX_AT_ONCE} can be proven at once", ids.len());
            return Err(Problem::invalid(message).attribute("ids").remedy("name some of them"));
        }
        let (places, questions) = self.questions(&ids);
        let patterns: Vec<String> = questions.iter().map(|question| question.pattern.clone()).collect();
        let mut items: Vec<ParamProof> = questions.iter().map(Question::unanswered).collect();
        if patterns.is_empty() {
            return Ok(ParamProofs { items });
        }
        let ask = ReadNodeParams { patterns, ..ReadNodeParams::default() };
        let ask = &ask;
        let answers = each(places, |url| async move { self.agents.read_params(&url, ask).await }).await;
        for (node, answer) in &answers {
            let mut found = answer.as_ref().ok().map(|answer| answer.found.iter());
            for (question, item) in questions.iter().zip(&mut items) {
                // One answer for each pattern, in their order.
                let here = found.as_mut().and_then(Iterator::next);
                let proof = match (answer, here) {
                    (Ok(answer), Some(here)) => {
                        let answer = NodeParams {
                            found: vec![here.clone()],
                            files: Vec::new(),
                            mount_options: Vec::new(),
                            lctl: None,
                            boot_id: answer.boot_id.clone(),
                            at: answer.at,
                        };
                        question.judge(node, &answer)
                    }
                    (Err(err), _) => question.not_reached(node, &err.to_string()),
                    (Ok(_), None) => question.not_reached(node, "its answer has too few parts"),
                };
                if let Some(proof) = proof {
                    question.note(item, proof);
                }
            }
        }
        Ok(ParamProofs { items })
    }

    /// What nodes have of these tunables; of none where there is none.
    pub(super) async fn proofs_of(&self, ids: impl Iterator<Item = ParamKey>) -> Result<ProofByKey, Problem> {
        let ids: Vec<ParamKey> = ids.collect();
        if ids.is_empty() {
            return Ok(ProofByKey::new());
        }
        let proofs = self.prove_params(&ProveParams { ids }).await?.items.into_iter();
        Ok(proofs.map(|proof| (proof.id.clone(), proof)).collect())
    }

    fn questions(&self, ids: &[ParamKey]) -> (Vec<crate::proof::Place>, Vec<Question>) {
        let mut places = BTreeMap::new();
        let mut questions = Vec::new();
        for key in ids {
            let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
            let temporary = self.temporary_of(&canonical);
            let state = self.engine.state();
            let Some(pattern) = naming::read_back(key.filesystem.as_ref(), &key.scope, &key.name) else { continue };
            let all = candidates(&state, key);
            let nodes = all.iter().map(|((node, _), is_expected)| (node.clone(), *is_expected)).collect();
            places.extend(all.into_iter().map(|(place, _)| place));
            let wanted = state.params.get(key).map(|param| param.value.value.clone());
            let others = Others::of(&state, key);
            questions.push(Question { key: key.clone(), pattern, wanted, temporary, others, nodes });
        }
        (places.into_iter().collect(), questions)
    }
}

impl Question {
    fn unanswered(&self) -> ParamProof {
        ParamProof {
            id: self.key.clone(),
            wanted: self.wanted.clone(),
            nodes: BTreeMap::new(),
            messages: BTreeMap::new(),
            drift: BTreeMap::new(),
        }
    }

    fn judge(&self, node: &NodeName, answer: &NodeParams) -> Option<NodeProof> {
        let entry = catalogue::lookup(self.key.name.as_str());
        let is_here = |record: &TemporaryRecord| {
            record.places.iter().any(|place| place.node == *node && place.boot_id == answer.boot_id)
        };
        let temporary = self.temporary.iter().find(|(_, record)| is_here(record));
        let id = self.key.to_string();
        let wanted = Wanted {
            name: entry.map_or(self.key.name.as_str(), |entry| entry.name.as_str()),
            id: &id,
            permanent: self.wanted.as_deref(),
            temporary: temporary.map(|(_, record)| (record.value.as_str(), super::proof::until(record))),
            entry,
            others: self.others.clone(),
        };
        judge(node, &wanted, answer, self.nodes.get(node).copied().unwrap_or_default())
    }

    fn not_reached(&self, node: &NodeName, why: &str) -> Option<NodeProof> {
        let is_expected = self.nodes.get(node).copied().unwrap_or_default();
        is_expected.then(|| NodeProof {
            node: node.clone(),
            state: ProofState::NotReached,
            message: Some(format!("{node} is not reached: {why}")),
            values: vec![],
            layers: vec![],
        })
    }

    fn note(&self, item: &mut ParamProof, proof: NodeProof) {
        let effective = catalogue::lookup(self.key.name.as_str()).map_or(Effective::Live, |entry| entry.effective);
        let is_temporary = proof.layers.iter().any(|layer| layer.won && layer.kind == LayerKind::Temporary);
        if proof.state == ProofState::Differs && effective == Effective::Live && !is_temporary && self.wanted.is_some()
        {
            item.drift.insert(proof.node.clone(), proof.message.clone().unwrap_or_default());
        }
        if let Some(message) = proof.message {
            item.messages.insert(proof.node.clone(), message);
        }
        item.nodes.insert(proof.node, proof.state);
    }
}
