//! The MGS, by the agent of this host or directly.

use lustre_api::agent::{GetInventory, GetNodeInfo, Inventory};
use lustre_api::mgs::{GetSnapshot, Snapshot, SnapshotQuery};
use lustre_api::node::{GetNodeInventory, NodePath};
use lustre_api::{Nothing, ProblemCode};
use lustre_types::NodeName;
use rest::{Client, ClientError};
use serde_json::{Map, Value, json};

use super::Task;
use super::common::AGENT_SOCKET;
use crate::contract::Failure;

/// Below this path an agent passes calls on to the MGS that it enrolled with.
const MGS_BELOW_AGENT: &str = "/mgs";

/// A way to the MGS.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) mgs: Client,
    /// The agent of this host; none on the controller.
    pub(super) agent: Option<Client>,
}

impl Session {
    /// As the task's `api_url` or `agent_socket` says. Connects nothing yet.
    pub(super) fn new(task: &Task<'_>) -> Result<Self, Failure> {
        if task.params.get("api_url").and_then(Value::as_str).is_some_and(|url| url.trim().is_empty()) {
            // An empty variable of a play must not lead to whichever MGS the host's agent has.
            return Err(Failure::from(
                "api_url is empty; give the address of the MGS, or leave the option out to go by the host's agent",
            ));
        }
        if let Some(url) = task.text("api_url") {
            let mgs =
                Client::new(url, task.text("api_token")).map_err(|error| Failure::from(format!("api_url: {error}")))?;
            return Ok(Self { mgs, agent: None });
        }
        let socket = task.text("agent_socket").unwrap_or(AGENT_SOCKET);
        let agent = Client::new(&format!("unix://{socket}"), task.text("api_token"))
            .map_err(|_| Failure::from(format!("agent_socket {socket:?} is no absolute path")))?;
        Ok(Self { mgs: agent.below(MGS_BELOW_AGENT), agent: Some(agent) })
    }

    /// What is there now, without devices.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, CallError> {
        self.look(&SnapshotQuery::default()).await
    }

    /// As [`Self::snapshot`], with what nodes have of the tunables that are set.
    pub(super) async fn snapshot_with_proofs(&self) -> Result<Snapshot, CallError> {
        self.look(&SnapshotQuery { tunables: true, ..SnapshotQuery::default() }).await
    }

    async fn look(&self, query: &SnapshotQuery) -> Result<Snapshot, CallError> {
        self.mgs.call::<GetSnapshot>(&Nothing {}, query, &Nothing {}).await.map_err(|error| self.explain(error))
    }

    /// The name of this host as its agent enrolled; none on the controller.
    pub(super) async fn own_node(&self) -> Result<Option<NodeName>, CallError> {
        let Some(agent) = &self.agent else { return Ok(None) };
        let info = agent.call::<GetNodeInfo>(&Nothing {}, &Nothing {}, &Nothing {}).await;
        info.map(|info| Some(info.node)).map_err(|error| self.explain(error))
    }

    /// What devices this host has, from its agent.
    pub(super) async fn own_inventory(&self) -> Result<Inventory, CallError> {
        let agent = self.agent.as_ref().expect("asked only by modules that always go by the agent");
        agent.call::<GetInventory>(&Nothing {}, &Nothing {}, &Nothing {}).await.map_err(|error| self.explain(error))
    }

    /// Fills in what devices `nodes` have now. A node that the MGS doesn't know stays unknown: the plan says so.
    pub(super) async fn look_at_devices(
        &self,
        snapshot: &mut Snapshot,
        nodes: impl IntoIterator<Item = NodeName>,
    ) -> Result<(), CallError> {
        for node in nodes {
            let Some(slot) = snapshot.nodes.iter_mut().find(|known| known.node.name == node) else { continue };
            let live = self.mgs.call::<GetNodeInventory>(&NodePath { node }, &Nothing {}, &Nothing {}).await;
            *slot = live.map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// The error with what the user can do about it.
    pub(super) fn explain(&self, error: ClientError) -> CallError {
        let unreachable = match &error {
            ClientError::Unreachable(_) => true,
            ClientError::Problem(problem) => problem.code == ProblemCode::Unavailable,
            _ => false,
        };
        let mut values = Map::new();
        let message = match (error, &self.agent) {
            (ClientError::Problem(problem), _) => {
                values.insert("problem".to_owned(), json!(problem));
                problem.to_string()
            }
            (ClientError::Unreachable(what), Some(_)) => format!(
                "{what}; is lustre-agent running on this host, and does the task run as root (become: true)? \
                 To ask the MGS from the controller instead, give api_url"
            ),
            (ClientError::Unreachable(what), None) => {
                format!(
                    "{what}; is lustre-mgs running there, and can the controller reach it? Without api_url the task goes by the agent of its host"
                )
            }
            (other, _) => other.to_string(),
        };
        CallError { failure: Failure { message, values }, is_unreachable: unreachable }
    }
}

/// A call that has no answer.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) failure: Failure,
    /// Nobody answered: in check mode an earlier task may have been going to change that.
    pub(super) is_unreachable: bool,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.failure
    }
}

/// A view as JSON.
pub(super) fn json_of<T: serde::Serialize>(view: &T) -> Value {
    serde_json::to_value(view).expect("views are plain data with text keys")
}
