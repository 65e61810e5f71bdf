//! The source of wanted configuration.

use std::sync::Arc;

use lustre_api::Problem;
use lustre_api::source::{ReadSourceQuery, SourceStatus};

use super::Api;
use crate::source::Source;

impl Api {
    /// `get_source`
    pub fn get_source(&self) -> Result<SourceStatus, Problem> {
        let note = self.engine.state().source.as_ref().map(|source| source.value.clone());
        Ok(self.source()?.show(note))
    }

    /// `read_source`
    pub async fn read_source(&self, query: &ReadSourceQuery) -> Result<SourceStatus, Problem> {
        self.source()?.read(query.apply).await
    }

    fn source(&self) -> Result<&Arc<Source>, Problem> {
        let problem = || {
            Problem::not_found("this MGS reads its configuration from nowhere")
                .remedy("start it with --source, a directory or a URL")
        };
        self.source.as_ref().ok_or_else(problem)
    }
}
