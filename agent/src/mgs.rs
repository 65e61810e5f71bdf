//! The node towards its MGS: enrolment, heartbeat, and calls that are passed on.

use crate::{api::Agent, host::chain, inventory};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use lustre_api::{
    Nothing, Problem, ProblemCode, WriteQuery,
    agent::NodeInfo,
    node::{AnnounceNode, Announcement, Heartbeat, NodePath},
};
use rest::{Client, ClientError};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long an MGS may take to answer: the next one is asked before the node counts as dead.
const PATIENCE: Duration = Duration::from_secs(8);
/// Wait before a silent MGS is tried again: at first, and at most.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Enrols the node at its MGS and stays in touch, for ever. The agent works without; only nobody finds it then.
pub async fn enrol(agent: Arc<Agent>, mgs: Client, api_url: String) {
    let mut retry = RETRY;
    let mut enrolled: Option<NodeInfo> = None;
    let mut is_silent = false;
    loop {
        match turn(&agent, &mgs, &api_url, &mut enrolled).await {
            Ok(()) => {
                if is_silent {
                    info!(mgs = mgs.url(), "the MGS answers again");
                }
                (retry, is_silent) = (RETRY, false);
                tokio::time::sleep(HEARTBEAT).await;
            }
            Err(error) => {
                // Said once: an MGS that is away for an hour is one event, not hundreds.
                if !is_silent {
                    warn!(mgs = mgs.url(), %error, "the MGS can't be told of this node, will try again");
                }
                (enrolled, is_silent) = (None, true);
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Announces the node if that is new, else sends a heartbeat.
async fn turn(agent: &Arc<Agent>, mgs: &Client, api_url: &str, enrolled: &mut Option<NodeInfo>) -> Result<(), String> {
    let looker = agent.clone();
    let info = tokio::task::spawn_blocking(move || inventory::node_info(&looker.host, &looker.config))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| chain(&error))?;
    let path = NodePath { node: info.node.clone() };
    if enrolled.as_ref() == Some(&info) {
        match mgs.call_within::<Heartbeat>(PATIENCE, &path, &Nothing {}, &Nothing {}).await {
            Ok(_) => return Ok(()),
            // The MGS lost or forgot the node: announce it again.
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let announcement = Announcement { api_url: api_url.to_owned(), info: info.clone() };
    let announced = mgs.call_within::<AnnounceNode>(PATIENCE, &path, &WriteQuery::default(), &announcement).await;
    // As the MGS took it: an older one drops what it does not know, and is told again until a newer one takes all of it.
    let taken = announced.map_err(|error| error.to_string())?.object.info;
    if enrolled.as_ref() != Some(&taken) {
        info!(node = %info.node, mgs = mgs.url(), api_url, "node enrolled");
    }
    *enrolled = Some(taken);
    Ok(())
}

/// Routes that pass `/mgs/...` on to the MGS, so that programs of this node reach it through the agent's socket.
pub fn proxy(mgs: Client) -> Router {
    Router::new().route("/mgs/{*path}", any(pass_on)).with_state(mgs)
}

async fn pass_on(State(mgs): State<Client>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = path_behind(&parts.uri);
    let body = match axum::body::to_bytes(body, rest::MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(_) => {
            let message = format!("the body is larger than {} bytes, or ended early", rest::MAX_BODY_BYTES);
            return refusal(&Problem::new(ProblemCode::TooLarge, message));
        }
    };
    let mut headers = HeaderMap::new();
    for name in ["content-type", "accept", "authorization", "last-event-id"] {
        if let Some(value) = parts.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    match mgs.pass_on(&parts.method, &path, &headers, &body).await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            for name in ["content-type", "x-request-id", "warning"] {
                if let Some(value) = answer.headers().get(name) {
                    response = response.header(name, value);
                }
            }
            // Streamed, so that events pass as they come.
            let streamed = response.body(Body::from_stream(answer.bytes_stream()));
            streamed.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
        }
        Err(error) => refusal(&Problem::unavailable(format!("the MGS can't be reached from this node: {error}"))),
    }
}

/// `/v1/mgs?x=1` of `/mgs/v1/mgs?x=1`.
fn path_behind(uri: &Uri) -> String {
    let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
    path_and_query.strip_prefix("/mgs").unwrap_or(path_and_query).to_owned()
}

fn refusal(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = serde_json::to_vec(problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response()
}
