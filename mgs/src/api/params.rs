//! Tunables.

use lustre_api::mgs::LiveParams;
use lustre_api::param::{Catalogue, CatalogueQuery, Param, ParamPath, ParamSpec};
use lustre_api::param_set::{ParamSet, PutParamSet};
use lustre_api::{Page, PageQuery, Problem, WriteQuery, Written};
use lustre_mgs_core::{ParamKey, Request, State, decide, view};

use lustre_types::ParamName;

use super::{Api, page};
use crate::engine::Caller;

/// The tunable that a path names; `*` is every file system.
pub(super) fn key(path: &ParamPath) -> Result<ParamKey, Problem> {
    let filesystem =
        ParamKey::filesystem_of(&path.fsname).map_err(|err| Problem::invalid(format!("{err}")).attribute("fsname"))?;
    Ok(ParamKey { filesystem, scope: path.scope.clone(), name: path.name.clone() })
}

/// The tunable that is described.
pub(super) fn param_key(spec: &ParamSpec) -> ParamKey {
    ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() }
}

impl Api {
    /// `list_params`
    pub fn list_params(&self, query: &PageQuery) -> Result<Page<Param>, Problem> {
        let state = self.engine.state();
        let after = query.after.as_deref().map(parse_after).transpose()?;
        let all = state.params.iter().filter(|(key, _)| {
            super::is_behind(after.as_ref(), key) && (query.fsname.is_none() || query.fsname == key.filesystem)
        });
        page(
            query,
            state.revision,
            all.map(|(key, param)| (key.to_string(), view::param(key, &param.value, param.revision))),
        )
    }

    /// `get_param`
    pub fn get_param(&self, path: &ParamPath) -> Result<Param, Problem> {
        let (state, key) = (self.engine.state(), key(path)?);
        let param = decide::param::find(&state, &key)?;
        Ok(view::param(&key, &param.value, param.revision))
    }

    /// `put_param`
    pub async fn put_param(
        &self,
        caller: &Caller,
        path: &ParamPath,
        query: &WriteQuery,
        spec: ParamSpec,
    ) -> Result<Written<Param>, Problem> {
        let key = key(path)?;
        let live = self.live_params(std::slice::from_ref(&spec)).await;
        let put = |state: &State, req: &Request<'_>| decide::param::put_confirmed(state, req, &key, &spec, None, &live);
        match self.engine.write(caller, query, put).await {
            Ok(written) => Ok(written),
            Err(problem) => Err(self.name_author(&key, problem).await),
        }
    }

    /// Of these tunables, those that the catalogue does not know and that nodes have, now: the catalogue is never the last word.
    pub(super) async fn live_params(&self, specs: &[ParamSpec]) -> LiveParams {
        let mut live = LiveParams::new();
        for spec in specs.iter().filter(|spec| !spec.allow_unknown) {
            if lustre_plan::catalogue::lookup(spec.name.as_str()).is_some() {
                continue;
            }
            let nodes = self.nodes_having(spec).await;
            if !nodes.is_empty() {
                live.insert(spec.name.clone(), nodes);
            }
        }
        live
    }

    /// `put_params`
    pub async fn put_params(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: PutParamSet,
    ) -> Result<Written<ParamSet>, Problem> {
        let one = |(name, value): (&ParamName, &String)| ParamSpec {
            filesystem: body.spec.filesystem.clone(),
            scope: body.spec.scope.clone(),
            name: name.clone(),
            value: value.clone(),
            allow_unknown: body.spec.allow_unknown,
        };
        let live = self.live_params(&body.spec.params.iter().map(one).collect::<Vec<_>>()).await;
        let put = |state: &State, req: &Request<'_>| decide::param_set::put_set(state, req, &body, &live);
        let problem = match self.engine.write(caller, query, put).await {
            Ok(written) => return Ok(written),
            Err(problem) => problem,
        };
        let of_scope = |key: &ParamKey| key.filesystem == body.spec.filesystem && key.scope == body.spec.scope;
        let newest = {
            let state = self.engine.state();
            let newest = state.params.iter().filter(|(key, _)| of_scope(key)).max_by_key(|(_, param)| param.revision);
            newest.map(|(key, _)| key.clone())
        };
        match newest {
            Some(key) => Err(self.name_author(&key, problem).await),
            None => Err(problem),
        }
    }

    /// `delete_param`, `remove_param`
    pub async fn delete_param(
        &self,
        caller: &Caller,
        path: &ParamPath,
        query: &WriteQuery,
        confirm_within_s: Option<u32>,
    ) -> Result<Written<Param>, Problem> {
        let key = key(path)?;
        let delete = |state: &State, req: &Request<'_>| decide::param::delete_param(state, req, &key, confirm_within_s);
        match self.engine.write(caller, query, delete).await {
            Ok(written) => Ok(written),
            Err(problem) => Err(self.name_author(&key, problem).await),
        }
    }

    /// `get_catalogue`
    pub fn get_catalogue(&self, query: &CatalogueQuery) -> Catalogue {
        let wanted = query.contains.as_deref().unwrap_or("");
        let entries = lustre_plan::catalogue::entries().iter().filter(|entry| entry.name.contains(wanted));
        Catalogue { entries: entries.cloned().collect() }
    }
}

/// The place to read on: a tunable's id, ordered by its parts.
fn parse_after(after: &str) -> Result<ParamKey, Problem> {
    let key = format!("param/{after}").parse().ok();
    match key {
        Some(lustre_mgs_core::Key::Param(key)) => Ok(key),
        _ => Err(Problem::invalid("after is not what a page of this list gave as next").attribute("after")),
    }
}
