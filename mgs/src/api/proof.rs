//! Tunables on nodes: what they have, values for the time being, changes with care, and the way back.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::node_param::{LctlCheck, ReadNodeParams};
use lustre_api::param::{Param, ParamPath, ParamSpec};
use lustre_api::proof::{
    Author, CarefulParam, CarefulWritten, Explanation, NodeProof, ParamsDiff, ParamsDiffQuery, ProofState,
    RevertParams, SetTemporary, TemporaryParam, TemporaryParams, TemporaryPath, TemporarySet,
};
use lustre_api::{Problem, ProblemCode, Time, WriteQuery, Written};
use lustre_mgs_core::{Object, ParamKey, Request, State, TemporaryRecord, decide};
use lustre_mgs_store::Range;
use lustre_plan::{catalogue, naming};
use lustre_types::NodeName;

use super::Api;
use super::params::key;
use crate::clock;
use crate::engine::{Caller, unavailable};
use crate::proof::{Others, Place, Wanted, candidates, each, judge};
use crate::temporary;

/// Tunables read at a time from an old revision.
const PAGE: usize = 1000;

impl Api {
    /// `explain_param`
    pub async fn explain_param(&self, path: &ParamPath) -> Result<Explanation, Problem> {
        let key = key(path)?;
        let entry = catalogue::lookup(key.name.as_str());
        let (asked, record, revision) = {
            let state = self.engine.state();
            let record = state.params.get(&key);
            (candidates(&state, &key), record.map(|record| record.value.value.clone()), record.map(|r| r.revision))
        };
        let author = match revision {
            Some(revision) => self.author(revision).await,
            None => None,
        };
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        let noted = self.temporary_of(&canonical);
        let nodes = match naming::read_back(key.filesystem.as_ref(), &key.scope, &key.name) {
            Some(pattern) => self.proofs(&key, &pattern, asked, record.as_deref(), &noted).await,
            None => Vec::new(),
        };
        let is_proven = record.is_some() && nodes.iter().all(|proof| proof.state == ProofState::Applied);
        let boots = BTreeMap::new();
        Ok(Explanation {
            id: key.to_string(),
            conf_param_name: naming::conf_param(key.filesystem.as_ref(), &key.scope, &key.name),
            temporary: noted.iter().map(|(name, noted)| show(name, noted, &boots)).collect(),
            canonical_name: canonical,
            wanted: record,
            author,
            catalogue: entry.cloned(),
            is_proven: is_proven && !nodes.is_empty(),
            nodes,
        })
    }

    /// What nodes have of a tunable.
    async fn proofs(
        &self,
        key: &ParamKey,
        pattern: &str,
        asked: Vec<(Place, bool)>,
        permanent: Option<&str>,
        noted: &[(String, TemporaryRecord)],
    ) -> Vec<NodeProof> {
        let expected: BTreeSet<NodeName> =
            asked.iter().filter(|(_, expected)| *expected).map(|((node, _), _)| node.clone()).collect();
        let question =
            ReadNodeParams { patterns: vec![pattern.to_owned()], cross_check: true, ..ReadNodeParams::default() };
        let question = &question;
        let places = asked.into_iter().map(|(place, _)| place);
        let answers = each(places, |url| async move { self.agents.read_params(&url, question).await }).await;
        let id = key.to_string();
        let others = Others::of(&self.engine.state(), key);
        let judged = answers.into_iter().filter_map(|(node, answer)| {
            let is_expected = expected.contains(&node);
            match answer {
                Err(err) => is_expected.then(|| NodeProof {
                    state: ProofState::NotReached,
                    message: Some(format!("{node} is not reached: {err}")),
                    node,
                    values: vec![],
                    layers: vec![],
                }),
                Ok(answer) => {
                    let here = |(_, noted): &&(String, TemporaryRecord)| {
                        noted.places.iter().any(|place| place.node == node && place.boot_id == answer.boot_id)
                    };
                    let temporary = noted.iter().find(here).map(|(_, noted)| (noted.value.as_str(), until(noted)));
                    let entry = catalogue::lookup(key.name.as_str());
                    let name = entry.map_or(key.name.as_str(), |entry| entry.name.as_str());
                    let wanted = Wanted { name, id: &id, permanent, temporary, entry, others: others.clone() };
                    let mut proof = judge(&node, &wanted, &answer, is_expected)?;
                    if let Some(doubt) = answer.lctl.as_ref().and_then(doubt) {
                        let said = proof.message.map(|said| format!("{said}; ")).unwrap_or_default();
                        proof.message = Some(format!("{said}{doubt}"));
                    }
                    Some(proof)
                }
            }
        });
        judged.collect()
    }

    /// Who made the commit of a revision.
    async fn author(&self, revision: u64) -> Option<Author> {
        // Nobody waits for a name: a history that is compacted, or can't be read, just has none.
        let commits = self.engine.store().history(revision, 1).await.ok()?;
        let commit = commits.into_iter().find(|commit| commit.revision == revision)?;
        Some(Author {
            revision,
            time: Time::from_unix_ms(commit.meta.time_ms),
            who: commit.meta.who,
            why: Some(commit.meta.why).filter(|why| !why.is_empty()),
        })
    }

    /// A conflict with the name of who was faster.
    pub(super) async fn name_author(&self, key: &ParamKey, mut problem: Problem) -> Problem {
        if problem.code != ProblemCode::Conflict {
            return problem;
        }
        let revision = self.engine.state().params.get(key).map(|param| param.revision);
        if let Some(revision) = revision
            && let Some(author) = self.author(revision).await
        {
            let why = author.why.map(|why| format!(" ({why})")).unwrap_or_default();
            problem.message.push_str(&format!("; {} changed it at {}{why}", author.who, author.time));
        }
        problem
    }

    pub(super) fn temporary_of(&self, canonical: &str) -> Vec<(String, TemporaryRecord)> {
        let state = self.engine.state();
        let mut noted = state.temporary.iter().filter(|(name, _)| {
            *name == canonical || catalogue::stands_for(canonical, name) || catalogue::stands_for(name, canonical)
        });
        noted.by_ref().map(|(name, noted)| (name.clone(), noted.value.clone())).collect()
    }

    /// `list_temporary_params`
    pub async fn list_temporary_params(&self) -> Result<TemporaryParams, Problem> {
        let noted: Vec<(String, Object<TemporaryRecord>)> = {
            let state = self.engine.state();
            state.temporary.iter().map(|(name, noted)| (name.clone(), noted.clone())).collect()
        };
        let concerned: BTreeSet<&NodeName> =
            noted.iter().flat_map(|(_, noted)| noted.value.places.iter().map(|place| &place.node)).collect();
        let places = temporary::urls(&self.engine).into_iter().filter(|(node, _)| concerned.contains(node));
        let question = ReadNodeParams::default();
        let question = &question;
        let answers = each(places, |url| async move { self.agents.read_params(&url, question).await }).await;
        let boots: BTreeMap<NodeName, String> =
            answers.into_iter().filter_map(|(node, answer)| Some((node, answer.ok()?.boot_id))).collect();
        let items = noted
            .iter()
            .map(|(name, noted)| TemporaryParam { revision: noted.revision, ..show(name, &noted.value, &boots) });
        Ok(TemporaryParams { items: items.collect() })
    }

    /// `set_temporary_param`
    pub async fn set_temporary_param(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        wanted: SetTemporary,
    ) -> Result<TemporarySet, Problem> {
        decide::operate::spread::check_expiry(wanted.expires_in_s)?;
        let key = ParamKey { filesystem: wanted.filesystem, scope: wanted.scope, name: wanted.name };
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        let places = self.places_of(&key, &wanted.nodes)?;
        let there = self.nodes_with(&canonical, places.clone()).await;
        catalogue::check_temporary(key.name.as_str(), &wanted.value, !there.is_empty())
            .map_err(|fault| Problem::invalid(fault.to_string()).attribute(fault.attribute()).remedy(fault.remedy()))?;
        if there.is_empty() {
            let asked: Vec<&str> = places.iter().map(|(node, _)| node.as_str()).collect();
            let message = format!("{canonical} matches nothing on the nodes asked: {}", or_none(&asked));
            return Err(Problem::not_found(message)
                .attribute("name")
                .remedy("mgsctl param explain shows what nodes have"));
        }
        if query.dry_run {
            let nodes = there.into_iter().map(|(node, _)| NodeProof {
                message: Some("would be set".to_owned()),
                node,
                state: ProofState::NotSet,
                values: vec![],
                layers: vec![],
            });
            return Ok(TemporarySet { temporary: None, nodes: nodes.collect() });
        }
        let known_as = catalogue::lookup(key.name.as_str()).map_or(key.name.as_str(), |entry| entry.name.as_str());
        let outcome = temporary::set_on(&*self.agents, there, known_as, &canonical, &wanted.value).await;
        if outcome.places.is_empty() {
            return Ok(TemporarySet { temporary: None, nodes: outcome.proofs });
        }
        let now = clock::now();
        let record = TemporaryRecord {
            value: wanted.value,
            places: outcome.places,
            who: caller.who.clone(),
            created: now,
            expires: wanted.expires_in_s.map(|seconds| Time::from_unix_ms(now.unix_ms() + u64::from(seconds) * 1000)),
        };
        let note = |state: &State, req: &Request<'_>| decide::temporary::note(state, req, &canonical, &record);
        let revision = self.engine.write(caller, query, note).await?;
        let shown = TemporaryParam { revision, ..show(&canonical, &record, &BTreeMap::new()) };
        Ok(TemporarySet { temporary: Some(shown), nodes: outcome.proofs })
    }

    /// `delete_temporary_param`
    pub async fn delete_temporary_param(
        &self,
        caller: &Caller,
        path: &TemporaryPath,
        query: &WriteQuery,
    ) -> Result<TemporarySet, Problem> {
        let record = decide::temporary::find(&self.engine.state(), &path.name)?.value.clone();
        if query.dry_run {
            return Ok(TemporarySet { temporary: None, nodes: vec![] });
        }
        let (nodes, left) = temporary::end(&self.engine, &*self.agents, caller, query, &path.name, &record).await?;
        let remaining = TemporaryRecord { places: left, ..record };
        let temporary = (!remaining.places.is_empty()).then(|| show(&path.name, &remaining, &BTreeMap::new()));
        Ok(TemporarySet { temporary, nodes })
    }

    /// Where the agents of the nodes named are; of all nodes that could have the tunable for none.
    pub(super) fn places_of(&self, key: &ParamKey, nodes: &[NodeName]) -> Result<Vec<Place>, Problem> {
        let state = self.engine.state();
        if nodes.is_empty() {
            return Ok(candidates(&state, key).into_iter().map(|(place, _)| place).collect());
        }
        let place = |name: &NodeName| -> Result<Place, Problem> {
            Ok((name.clone(), decide::node::find(&state, name)?.value.api_url.clone()))
        };
        nodes.iter().map(place).collect()
    }

    /// The nodes that have a tunable that can be written.
    pub(super) async fn nodes_having(&self, spec: &ParamSpec) -> Vec<NodeName> {
        let key = ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() };
        let Ok(places) = self.places_of(&key, &[]) else { return Vec::new() };
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        self.nodes_with(&canonical, places).await.into_iter().map(|(node, _)| node).collect()
    }

    /// Those of the nodes that have a tunable that can be written.
    async fn nodes_with(&self, pattern: &str, places: Vec<Place>) -> Vec<Place> {
        let question =
            ReadNodeParams { patterns: vec![pattern.to_owned()], names_only: true, ..ReadNodeParams::default() };
        let question = &question;
        let answers = each(places.clone(), |url| async move { self.agents.read_params(&url, question).await }).await;
        let has =
            |answer: &lustre_api::node_param::NodeParams| answer.found.iter().flatten().any(|param| param.is_writable);
        let having: BTreeSet<NodeName> =
            answers.into_iter().filter(|(_, answer)| answer.as_ref().is_ok_and(has)).map(|(node, _)| node).collect();
        places.into_iter().filter(|(node, _)| having.contains(node)).collect()
    }

    /// `put_param_carefully`
    pub async fn put_param_carefully(
        &self,
        caller: &Caller,
        path: &ParamPath,
        query: &WriteQuery,
        body: CarefulParam,
    ) -> Result<CarefulWritten, Problem> {
        let key = key(path)?;
        let live = self.live_params(std::slice::from_ref(&body.spec)).await;
        let decide = |state: &State, req: &Request<'_>| {
            decide::param::put_confirmed(state, req, &key, &body.spec, body.confirm_within_s, &live)
        };
        let Some(canary) = &body.canary else {
            let written = self.engine.write(caller, query, decide).await;
            return match written {
                Ok(written) => Ok(CarefulWritten { written, canary: None }),
                Err(problem) => Err(self.name_author(&key, problem).await),
            };
        };
        // What would be refused anyway is refused before a node is touched.
        let rehearsal = WriteQuery { dry_run: true, ..query.clone() };
        let rehearsed = self.engine.write(caller, &rehearsal, decide).await?;
        if query.dry_run || !rehearsed.changed {
            return Ok(CarefulWritten { written: rehearsed, canary: None });
        }
        let proof = self.try_everywhere(&key, canary, &body.spec.value).await?;
        match self.engine.write(caller, query, decide).await {
            Ok(written) => Ok(CarefulWritten { written, canary: Some(proof) }),
            Err(problem) => Err(self.name_author(&key, problem).await),
        }
    }

    /// Sets a value for the time being on one node, then on all others that have it. Errors: a node refuses it, or reads
    /// another value back; then every node has again what it had.
    async fn try_everywhere(&self, key: &ParamKey, canary: &NodeName, value: &str) -> Result<NodeProof, Problem> {
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        let known_as = catalogue::lookup(key.name.as_str()).map_or(key.name.as_str(), |entry| entry.name.as_str());
        let first = self.places_of(key, std::slice::from_ref(canary))?;
        let mut tried = temporary::set_on(&*self.agents, first, known_as, &canonical, value).await;
        let Some(proof) = tried.proofs.first().cloned() else {
            let message = format!("{canary} has no {canonical}, so it can't be tried there");
            return Err(Problem::refused(message).attribute("canary").remedy("name a node that has it"));
        };
        if is_taken(&proof) {
            let others = self.places_of(key, &[])?.into_iter().filter(|(node, _)| node != canary).collect();
            let others = temporary::set_on(&*self.agents, others, known_as, &canonical, value).await;
            tried.proofs.extend(others.proofs);
            tried.places.extend(others.places);
        }
        // A node that is down reads the log when it is back; one that is up and disagrees would be wrong for ever.
        let bad: Vec<String> = tried
            .proofs
            .iter()
            .filter(|proof| !is_taken(proof) && (proof.state != ProofState::NotReached || proof.node == *canary))
            .map(|proof| format!("{}: {}", proof.node, proof.message.clone().unwrap_or_default()))
            .collect();
        if bad.is_empty() {
            return Ok(proof);
        }
        let urls = temporary::urls(&self.engine);
        let (_, left) = temporary::put_back(&*self.agents, &urls, known_as, value, &tried.places).await;
        let left: BTreeSet<&str> = left.iter().map(|place| place.node.as_str()).collect();
        let left = match left.is_empty() {
            true => "every node has its value before again".to_owned(),
            false => format!("not put back on {}", left.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{canonical} is not set: {}; {left}", bad.join("; "));
        Err(Problem::refused(message).attribute("value").remedy("correct the value, or the node"))
    }

    /// `confirm_param`
    pub async fn confirm_param(
        &self,
        caller: &Caller,
        path: &ParamPath,
        query: &WriteQuery,
    ) -> Result<Written<Param>, Problem> {
        let key = key(path)?;
        self.engine.write(caller, query, |state, req| decide::param::confirm(state, req, &key)).await
    }

    /// `diff_params`
    pub async fn diff_params(&self, query: &ParamsDiffQuery) -> Result<ParamsDiff, Problem> {
        let then = self.params_at(query.revision).await?;
        let is_meant = |key: &ParamKey| query.fsname.is_none() || key.filesystem == query.fsname;
        Ok(decide::param::diff(&self.engine.state(), query.revision, &then, is_meant))
    }

    /// `revert_params`
    pub async fn post_revert_params(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: RevertParams,
    ) -> Result<Written<ParamsDiff>, Problem> {
        let then = self.params_at(body.revision).await?;
        let ids: BTreeSet<&str> = body.ids.iter().map(String::as_str).collect();
        let is_meant = |key: &ParamKey| {
            (body.fsname.is_none() || key.filesystem == body.fsname)
                && (ids.is_empty() || ids.contains(key.to_string().as_str()))
        };
        let decide =
            |state: &State, req: &Request<'_>| decide::param::revert(state, req, body.revision, &then, is_meant);
        self.engine.write(caller, query, decide).await
    }

    /// The tunables as they were at a revision. Errors: one that is not there yet, or no longer kept.
    async fn params_at(&self, revision: u64) -> Result<decide::param::Then, Problem> {
        let store = self.engine.store();
        if revision > store.head() {
            let message = format!("there is no revision {revision} yet; the current one is {}", store.head());
            return Err(Problem::invalid(message).attribute("revision"));
        }
        let mut then = decide::param::Then::new();
        let mut range = Range { limit: PAGE, at: Some(revision), ..Range::prefix("param/") };
        loop {
            let page = store.range(range.clone()).await.map_err(|err| unavailable(&err))?;
            for entry in &page.entries {
                let change = lustre_mgs_core::Change::decode(&entry.key, Some(&entry.value));
                if let Ok(lustre_mgs_core::Change {
                    key: lustre_mgs_core::Key::Param(key),
                    record: Some(lustre_mgs_core::Record::Param(record)),
                }) = change
                {
                    then.insert(key, record);
                }
            }
            if !page.more {
                return Ok(then);
            }
            range.after = page.entries.last().map(|entry| entry.key.clone());
        }
    }
}

/// What `lctl` on the node says otherwise.
fn doubt(check: &LctlCheck) -> Option<String> {
    if let Some(first) = check.disagreements.first() {
        let lctl =
            first.lctl.as_ref().map_or_else(|| "has no such tunable".to_owned(), |lctl| format!("prints {lctl}"));
        let count = check.disagreements.len();
        return Some(format!(
            "lctl {lctl} where the agent reads {} of {} ({count} of {} differ)",
            first.own, first.name, check.compared
        ));
    }
    check.problem.as_ref().map(|problem| format!("lctl could not be asked: {problem}"))
}

fn is_taken(proof: &NodeProof) -> bool {
    matches!(proof.state, ProofState::Applied | ProofState::Unknowable)
}

pub(super) fn until(noted: &TemporaryRecord) -> String {
    match noted.expires {
        Some(expires) => format!("set by {} until {expires}", noted.who),
        None => format!("set by {} until the node restarts", noted.who),
    }
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "there are none".to_owned() } else { names.join(", ") }
}

/// A temporary value as it is listed; `boots` says which boot each node is at, as far as it was reached.
fn show(name: &str, noted: &TemporaryRecord, boots: &BTreeMap<NodeName, String>) -> TemporaryParam {
    let nodes: BTreeSet<NodeName> = noted.places.iter().map(|place| place.node.clone()).collect();
    let is_lost = |node: &&NodeName| {
        let mut places = noted.places.iter().filter(|place| place.node == **node);
        boots.get(*node).is_some_and(|boot| places.all(|place| place.boot_id != *boot))
    };
    TemporaryParam {
        name: name.to_owned(),
        value: noted.value.clone(),
        stale: nodes.iter().filter(is_lost).cloned().collect(),
        nodes: nodes.into_iter().collect(),
        who: noted.who.clone(),
        created: noted.created,
        expires: noted.expires,
        revision: 0,
    }
}
