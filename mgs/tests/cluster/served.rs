//! The nodes' agent over HTTP, for daemons that are processes.

use std::sync::Arc;

use lustre_api::agent::{CancelAgentJob, CheckFormat, GetAgentJob, GetInventory, PutAgentJob};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, PutFilesystem};
use lustre_api::job::{GetJob, Job, JobPath, WaitQuery};
use lustre_api::node::{AnnounceNode, Announcement, NodePath};
use lustre_api::{Nothing, Problem, WriteQuery};
use lustre_mgs::agents::{AgentError, Agents};
use rest::{Client, Listener, Server};
use tokio::sync::watch;

use super::{Nodes, info, soon};

fn answer<T>(answer: Result<T, AgentError>) -> Result<T, Problem> {
    answer.map_err(|err| match err {
        AgentError::Refused(problem) => problem,
        AgentError::Unreachable(reason) => Problem::unavailable(reason),
    })
}

/// Serves the nodes' agent; gives its URL and what stops it.
pub async fn serve(nodes: Arc<Nodes>) -> (String, watch::Sender<bool>) {
    let router = Server::new(nodes, "agent", "test")
        .route::<GetInventory, _, _>(|nodes, _| async move { answer(nodes.inventory("").await) })
        .route::<CheckFormat, _, _>(|nodes, call| async move { answer(nodes.check("", &call.body).await) })
        .route::<PutAgentJob, _, _>(
            |nodes, call| async move { answer(nodes.put_job("", &call.path.id, &call.body).await) },
        )
        .route::<GetAgentJob, _, _>(|nodes, call| async move {
            answer(nodes.get_job("", &call.path.id, call.query.seen, call.query.wait_s.unwrap_or(0)).await)
        })
        .route::<CancelAgentJob, _, _>(|nodes, call| async move { answer(nodes.cancel_job("", &call.path.id).await) })
        .router();
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let url = listener.url();
    tokio::spawn(listener.serve(router, stopped));
    (url, stop)
}

/// A node of a daemon, whose formats end when it is told so, and what stops its agent.
pub async fn slow_node(client: &Client) -> (Arc<Nodes>, watch::Sender<bool>) {
    let nodes = Arc::new(Nodes::default());
    nodes.set_slow();
    let (agent, stop) = serve(nodes.clone()).await;
    prepare(client, agent).await;
    (nodes, stop)
}

pub async fn prepare(client: &Client, agent: String) {
    let announcement = Announcement { api_url: agent, info: info("oss1") };
    let node = NodePath { node: "oss1".parse().unwrap() };
    client.call::<AnnounceNode>(&node, &WriteQuery::default(), &announcement).await.unwrap();
    let fs = FilesystemPath { fsname: "scratch".parse().unwrap() };
    let spec = FilesystemSpec { name: fs.fsname.clone(), description: None };
    client.call::<PutFilesystem>(&fs, &WriteQuery::default(), &spec).await.unwrap();
}

pub async fn end_of(client: &Client, path: &JobPath) -> Job {
    let query = WaitQuery { wait_s: Some(20), seen: None };
    soon(client.call::<GetJob>(path, &query, &Nothing {})).await.unwrap()
}
