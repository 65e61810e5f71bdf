//! File systems.

use lustre_api::filesystem::{Filesystem, FilesystemPath, FilesystemSpec};
use lustre_api::{Page, PageQuery, Problem, WriteQuery, Written};
use lustre_mgs_core::{Request, State};
use lustre_mgs_core::{decide, view};

use super::{Api, after, is_behind, page};
use crate::engine::Caller;

impl Api {
    /// `list_filesystems`
    pub fn list_filesystems(&self, query: &PageQuery) -> Result<Page<Filesystem>, Problem> {
        let state = self.engine.state();
        let after = after(query)?;
        let all = state.filesystems.iter().filter(|(name, _)| {
            is_behind(after.as_ref(), *name) && query.fsname.as_ref().is_none_or(|wanted| wanted == *name)
        });
        let shown = all
            .map(|(name, fs)| (name.to_string(), view::filesystem(&state, self.engine.env(), &fs.value, fs.revision)));
        page(query, state.revision, shown)
    }

    /// `get_filesystem`
    pub fn get_filesystem(&self, path: &FilesystemPath) -> Result<Filesystem, Problem> {
        let state = self.engine.state();
        let fs = decide::filesystem::find(&state, &path.fsname)?;
        Ok(view::filesystem(&state, self.engine.env(), &fs.value, fs.revision))
    }

    /// `put_filesystem`
    pub async fn put_filesystem(
        &self,
        caller: &Caller,
        path: &FilesystemPath,
        query: &WriteQuery,
        spec: FilesystemSpec,
    ) -> Result<Written<Filesystem>, Problem> {
        let decide = |state: &State, req: &Request<'_>| {
            decide::filesystem::put_filesystem(state, req, &path.fsname, spec.clone())
        };
        self.engine.write(caller, query, decide).await
    }

    /// `delete_filesystem`
    pub async fn delete_filesystem(
        &self,
        caller: &Caller,
        path: &FilesystemPath,
        query: &WriteQuery,
    ) -> Result<Written<Filesystem>, Problem> {
        let decide = |state: &State, req: &Request<'_>| decide::filesystem::delete_filesystem(state, req, &path.fsname);
        self.engine.write(caller, query, decide).await
    }
}
