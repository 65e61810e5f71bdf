//! Pools.

use lustre_api::pool::{Pool, PoolPath, PoolSpec};
use lustre_api::{Page, PageQuery, Problem, WriteQuery, Written};
use lustre_mgs_core::{Request, State};
use lustre_mgs_core::{decide, view};
use lustre_types::{FsName, PoolName};

use super::{Api, is_behind, page};
use crate::engine::Caller;

impl Api {
    /// `list_pools`
    pub fn list_pools(&self, query: &PageQuery) -> Result<Page<Pool>, Problem> {
        let state = self.engine.state();
        let after = query.after.as_deref().map(parse_after).transpose()?;
        let all = state.pools.iter().filter(|(key, _)| {
            is_behind(after.as_ref(), key) && query.fsname.as_ref().is_none_or(|wanted| *wanted == key.0)
        });
        let shown = all.map(|((fsname, name), pool)| {
            let pool = view::pool(fsname, name, &pool.value, pool.revision);
            (pool.id.clone(), pool)
        });
        page(query, state.revision, shown)
    }

    /// `get_pool`
    pub fn get_pool(&self, path: &PoolPath) -> Result<Pool, Problem> {
        let state = self.engine.state();
        let pool = decide::pool::find(&state, &path.fsname, &path.pool)?;
        Ok(view::pool(&path.fsname, &path.pool, &pool.value, pool.revision))
    }

    /// `put_pool`
    pub async fn put_pool(
        &self,
        caller: &Caller,
        path: &PoolPath,
        query: &WriteQuery,
        spec: PoolSpec,
    ) -> Result<Written<Pool>, Problem> {
        let decide =
            |state: &State, req: &Request<'_>| decide::pool::put_pool(state, req, &path.fsname, &path.pool, &spec);
        self.engine.write(caller, query, decide).await
    }

    /// `delete_pool`
    pub async fn delete_pool(
        &self,
        caller: &Caller,
        path: &PoolPath,
        query: &WriteQuery,
    ) -> Result<Written<Pool>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::pool::delete_pool(state, req, &path.fsname, &path.pool);
        self.engine.write(caller, query, decide).await
    }
}

/// The place to read on: a pool's id.
fn parse_after(after: &str) -> Result<(FsName, PoolName), Problem> {
    let parts = after.split_once('.');
    let parsed = parts.and_then(|(fsname, pool)| Some((fsname.parse().ok()?, pool.parse().ok()?)));
    parsed.ok_or_else(|| Problem::invalid("after is not what a page of this list gave as next").attribute("after"))
}
