//! The changes of a plan as calls.

use lustre_api::filesystem::{DeleteFilesystem, PutFilesystem};
use lustre_api::job::JobId;
use lustre_api::nodemap::{DeleteNodemap, PostRemoveNodemap, PutNodemap, PutNodemapsActive};
use lustre_api::param::{DeleteParam, PutParam};
use lustre_api::plan::Request;
use lustre_api::pool::{DeletePool, PutPool};
use lustre_api::proof::{PostRemoveParam, PostSpreadParam, PutParamCarefully};
use lustre_api::proxy::{EnsureProxy, RemoveProxy};
use lustre_api::target::{DeregisterTarget, PostTarget};
use lustre_api::{Nothing, Time, WriteQuery, Written};

use super::{Client, ClientError};

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The job that carries it out, where there is something to carry out.
    pub job: Option<JobId>,
    /// What the caller should know although it was done.
    pub warnings: Vec<String>,
    /// When it goes back by itself, unless somebody confirms it.
    pub confirm_until: Option<Time>,
}

impl Client {
    /// Makes one change of a plan. Errors: as [`Client::call`].
    pub async fn make(&self, request: &Request, query: &WriteQuery) -> Result<Made, ClientError> {
        let nothing = &Nothing {};
        Ok(match request {
            Request::PutFilesystem(path, body) => made(self.call::<PutFilesystem>(path, query, body).await?),
            Request::DeleteFilesystem(path) => made(self.call::<DeleteFilesystem>(path, query, nothing).await?),
            Request::EnsureTarget(body) => {
                let written = self.call::<PostTarget>(nothing, query, body).await?;
                until(written.object.confirm_until, written)
            }
            Request::DeregisterTarget(path) => made(self.call::<DeregisterTarget>(path, query, nothing).await?),
            Request::PutParam(path, body) => made(self.call::<PutParam>(path, query, body).await?),
            Request::PutParamCarefully(path, body) => {
                let written = self.call::<PutParamCarefully>(path, query, body).await?.written;
                until(written.object.confirm_until, written)
            }
            Request::SpreadParam(path, body) => made(self.call::<PostSpreadParam>(path, query, body).await?),
            Request::DeleteParam(path) => made(self.call::<DeleteParam>(path, query, nothing).await?),
            Request::RemoveParam(path, body) => {
                let written = self.call::<PostRemoveParam>(path, query, body).await?;
                until(written.object.confirm_until, written)
            }
            Request::RemoveNodemap(path, body) => {
                let written = self.call::<PostRemoveNodemap>(path, query, body).await?;
                until(written.object.confirm_until, written)
            }
            Request::PutPool(path, body) => made(self.call::<PutPool>(path, query, body).await?),
            Request::DeletePool(path) => made(self.call::<DeletePool>(path, query, nothing).await?),
            Request::PutNodemap(path, body) => {
                let written = self.call::<PutNodemap>(path, query, body).await?;
                until(written.object.confirm_until, written)
            }
            Request::DeleteNodemap(path) => made(self.call::<DeleteNodemap>(path, query, nothing).await?),
            Request::PutNodemapsActive(body) => {
                let written = self.call::<PutNodemapsActive>(nothing, query, body).await?;
                until(written.object.confirm_until, written)
            }
            Request::EnsureProxy(path) => made(self.call::<EnsureProxy>(path, query, nothing).await?),
            Request::RemoveProxy(path) => made(self.call::<RemoveProxy>(path, query, nothing).await?),
        })
    }
}

fn made<T>(written: Written<T>) -> Made {
    until(None, written)
}

fn until<T>(confirm_until: Option<Time>, written: Written<T>) -> Made {
    Made { job: written.job, warnings: written.warnings, confirm_until }
}
