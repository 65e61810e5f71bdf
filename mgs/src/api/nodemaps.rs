//! Nodemaps.

use lustre_api::nodemap::{Nodemap, NodemapPath, Nodemaps, NodemapsActive, PutNodemapBody};
use lustre_api::{Problem, WriteQuery, Written};
use lustre_mgs_core::{Request, State, decide};

use super::Api;
use crate::engine::Caller;

impl Api {
    /// `list_nodemaps`
    pub fn list_nodemaps(&self) -> Nodemaps {
        decide::nodemap::list(&self.engine.state())
    }

    /// `get_nodemap`
    pub fn get_nodemap(&self, path: &NodemapPath) -> Result<Nodemap, Problem> {
        decide::nodemap::find(&self.engine.state(), &path.name).map(decide::nodemap::view)
    }

    /// `put_nodemap`
    pub async fn put_nodemap(
        &self,
        caller: &Caller,
        path: &NodemapPath,
        query: &WriteQuery,
        body: PutNodemapBody,
    ) -> Result<Written<Nodemap>, Problem> {
        let put = |state: &State, req: &Request<'_>| {
            decide::nodemap::put_nodemap(state, req, &path.name, &body.spec, body.confirm_within_s)
        };
        self.engine.write(caller, query, put).await
    }

    /// `delete_nodemap`, `remove_nodemap`
    pub async fn delete_nodemap(
        &self,
        caller: &Caller,
        path: &NodemapPath,
        query: &WriteQuery,
        confirm_within_s: Option<u32>,
    ) -> Result<Written<Nodemap>, Problem> {
        let delete = |state: &State, req: &Request<'_>| {
            decide::nodemap::delete_nodemap(state, req, &path.name, confirm_within_s)
        };
        self.engine.write(caller, query, delete).await
    }

    /// `confirm_nodemap`
    pub async fn confirm_nodemap(
        &self,
        caller: &Caller,
        path: &NodemapPath,
        query: &WriteQuery,
    ) -> Result<Written<Nodemap>, Problem> {
        let confirm = |state: &State, req: &Request<'_>| decide::nodemap::confirm(state, req, &path.name);
        self.engine.write(caller, query, confirm).await
    }

    /// `put_nodemaps_active`
    pub async fn put_nodemaps_active(
        &self,
        caller: &Caller,
        query: &WriteQuery,
        body: NodemapsActive,
    ) -> Result<Written<Nodemaps>, Problem> {
        let set = |state: &State, req: &Request<'_>| decide::nodemap::set_active(state, req, body);
        self.engine.write(caller, query, set).await
    }

    /// `confirm_nodemaps_active`
    pub async fn confirm_nodemaps_active(
        &self,
        caller: &Caller,
        query: &WriteQuery,
    ) -> Result<Written<Nodemaps>, Problem> {
        self.engine.write(caller, query, decide::nodemap::confirm_active).await
    }
}
