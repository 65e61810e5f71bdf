//! A tunable set on nodes by a job.

use std::collections::BTreeSet;

use lustre_api::job::Job;
use lustre_api::node_param::{NodeParam, ReadNodeParams};
use lustre_api::param::ParamPath;
use lustre_api::proof::SpreadParam;
use lustre_api::{Problem, WriteQuery, Written};
use lustre_mgs_core::decide::operate::spread::{self, Places};
use lustre_mgs_core::{ParamKey, Request, State};
use lustre_plan::naming;
use lustre_types::NodeName;

use super::Api;
use super::params::key;
use crate::engine::Caller;
use crate::proof::{Others, candidates, each};

impl Api {
    /// `spread_param`
    pub async fn spread_param(
        &self,
        caller: &Caller,
        path: &ParamPath,
        query: &WriteQuery,
        body: SpreadParam,
    ) -> Result<Written<Job>, Problem> {
        let key = key(path)?;
        let nodes = self.nodes_to_set(&key, &body).await?;
        let spread = |state: &State, req: &Request<'_>| spread::spread(state, req, &key, &body, &nodes);
        match self.engine.write(caller, query, spread).await {
            Ok(written) => Ok(written),
            Err(problem) => Err(self.name_author(&key, problem).await),
        }
    }

    /// The nodes that have a tunable which can be written; of those that don't answer, those that should have it or were named:
    /// their steps wait for them. What another tunable that is set stands for is left to that one. Errors: a node that was named, answers, and has no such tunable.
    async fn nodes_to_set(&self, key: &ParamKey, body: &SpreadParam) -> Result<Places, Problem> {
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        let mut named: BTreeSet<NodeName> = body.nodes.iter().cloned().collect();
        let mut expected = named.clone();
        if named.is_empty() {
            let all = candidates(&self.engine.state(), key);
            expected.extend(all.iter().filter(|(_, is_expected)| *is_expected).map(|((node, _), _)| node.clone()));
            expected.extend(body.canary.clone());
        } else {
            named.extend(body.canary.clone());
        }
        let asked: Vec<NodeName> = named.iter().cloned().collect();
        let question = ReadNodeParams { patterns: vec![canonical.clone()], ..ReadNodeParams::default() };
        let question = &question;
        let places = self.places_of(key, &asked)?;
        let answers = each(places, |url| async move { self.agents.read_params(&url, question).await }).await;
        let others = Others::of(&self.engine.state(), key);
        let mut nodes = Places::new();
        for (node, answer) in answers {
            match answer {
                Ok(answer) => {
                    let found: Vec<&NodeParam> = answer.found.iter().flatten().filter(|one| one.is_writable).collect();
                    let own: Vec<&NodeParam> = found.iter().copied().filter(|one| !others.has(one)).collect();
                    if own.is_empty() && named.contains(&node) {
                        let problem = Problem::not_found(format!("{node} has no {canonical} that can be set"));
                        return Err(problem.attribute("nodes").remedy("mgsctl param explain shows who has it"));
                    }
                    let names = match own.len() == found.len() {
                        true => vec![canonical.clone()],
                        false => own.iter().map(|one| one.name.clone()).collect(),
                    };
                    if !own.is_empty() {
                        nodes.insert(node, names);
                    }
                }
                Err(_) if expected.contains(&node) || named.contains(&node) => {
                    nodes.insert(node, vec![canonical.clone()]);
                }
                Err(_) => {}
            }
        }
        Ok(nodes)
    }
}
