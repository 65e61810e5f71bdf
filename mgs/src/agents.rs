//! Talking to node agents.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_api::agent::{
    AgentJob, AgentOp, CancelAgentJob, CheckFormat, FormatCheck, FormatOp, GetAgentJob, GetInventory, Inventory,
    PutAgentJob,
};
use lustre_api::job::{JobId, JobPath, WaitQuery};
use lustre_api::node_param::{NodeParams, NodeParamsSet, ReadNodeParams, ReadParams, SetNodeParams, SetParams};
use lustre_api::{Endpoint, Nothing, Problem};
use rest::{Client, ClientError};

/// Why an agent did not do what it was asked.
#[derive(Clone, Debug)]
pub enum AgentError {
    /// It answered, and refused.
    Refused(Problem),
    /// It could not be reached, or did not answer in time; trying again may help.
    Unreachable(String),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => problem.fmt(f),
            Self::Unreachable(reason) => f.write_str(reason),
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, AgentError>>;

/// The agents of all nodes, by the URL that each announced.
pub trait Agents: Send + Sync + 'static {
    /// The node's devices, now.
    fn inventory<'a>(&'a self, url: &'a str) -> Answer<'a, Inventory>;
    /// What a format would find, without doing it.
    fn check<'a>(&'a self, url: &'a str, op: &'a FormatOp) -> Answer<'a, FormatCheck>;
    /// Starts a job under a name; the same name and operation again is the same job.
    fn put_job<'a>(&'a self, url: &'a str, id: &'a JobId, op: &'a AgentOp) -> Answer<'a, AgentJob>;
    /// Waits up to `wait_s` seconds for news of a job beyond version `seen`.
    fn get_job<'a>(&'a self, url: &'a str, id: &'a JobId, seen: Option<u64>, wait_s: u32) -> Answer<'a, AgentJob>;
    /// Asks a job to stop.
    fn cancel_job<'a>(&'a self, url: &'a str, id: &'a JobId) -> Answer<'a, AgentJob>;
    /// Reads tunables of the node.
    fn read_params<'a>(&'a self, url: &'a str, wanted: &'a ReadNodeParams) -> Answer<'a, NodeParams>;
    /// Sets tunables of the node until it restarts.
    fn set_params<'a>(&'a self, url: &'a str, wanted: &'a SetNodeParams) -> Answer<'a, NodeParamsSet>;
}

/// Agents over their REST API. Keeps one client per URL, so connections are used again.
#[derive(Default)]
pub struct RestAgents {
    clients: Mutex<HashMap<String, Client>>,
}

impl RestAgents {
    fn client(&self, url: &str) -> Result<Client, AgentError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(url) {
            return Ok(client.clone());
        }
        let client = Client::new(url, None)?;
        clients.insert(url.to_owned(), client.clone());
        Ok(client)
    }

    fn call<'a, E: Endpoint>(&self, url: &str, path: E::Path, query: E::Query, body: E::Body) -> Answer<'a, E::Reply>
    where
        E::Path: Sync,
        E::Query: Sync,
        E::Body: Sync,
    {
        let client = self.client(url);
        async move { Ok(client?.call::<E>(&path, &query, &body).await?) }.boxed()
    }
}

impl From<ClientError> for AgentError {
    fn from(err: ClientError) -> Self {
        match err {
            ClientError::Problem(problem) => Self::Refused(problem),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl Agents for RestAgents {
    fn inventory<'a>(&'a self, url: &'a str) -> Answer<'a, Inventory> {
        self.call::<GetInventory>(url, Nothing {}, Nothing {}, Nothing {})
    }

    fn check<'a>(&'a self, url: &'a str, op: &'a FormatOp) -> Answer<'a, FormatCheck> {
        self.call::<CheckFormat>(url, Nothing {}, Nothing {}, op.clone())
    }

    fn put_job<'a>(&'a self, url: &'a str, id: &'a JobId, op: &'a AgentOp) -> Answer<'a, AgentJob> {
        self.call::<PutAgentJob>(url, JobPath { id: id.clone() }, Nothing {}, op.clone())
    }

    fn get_job<'a>(&'a self, url: &'a str, id: &'a JobId, seen: Option<u64>, wait_s: u32) -> Answer<'a, AgentJob> {
        let query = WaitQuery { wait_s: Some(wait_s), seen };
        self.call::<GetAgentJob>(url, JobPath { id: id.clone() }, query, Nothing {})
    }

    fn cancel_job<'a>(&'a self, url: &'a str, id: &'a JobId) -> Answer<'a, AgentJob> {
        self.call::<CancelAgentJob>(url, JobPath { id: id.clone() }, Nothing {}, Nothing {})
    }

    fn read_params<'a>(&'a self, url: &'a str, wanted: &'a ReadNodeParams) -> Answer<'a, NodeParams> {
        self.call::<ReadParams>(url, Nothing {}, Nothing {}, wanted.clone())
    }

    fn set_params<'a>(&'a self, url: &'a str, wanted: &'a SetNodeParams) -> Answer<'a, NodeParamsSet> {
        self.call::<SetParams>(url, Nothing {}, Nothing {}, wanted.clone())
    }
}
