//! From an HTTP request to a [`Call`].

use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use lustre_api::{Endpoint, Problem, ProblemCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Call, Identity};
use crate::MAX_BODY_BYTES;
use crate::openapi::is_nothing;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Understands a request. Errors: what is wrong with its path, query or body, naming the field where that is known.
pub(super) async fn understand<E: Endpoint>(request: Request, request_id: &str) -> Result<Call<E>, Problem> {
    let (mut parts, body) = request.into_parts();
    let path = path::<E>(&mut parts).await?;
    let query = query::<E>(&parts)?;
    let caller = parts.extensions.get::<Identity>().cloned().unwrap_or(Identity::Unknown);
    let last_event_id = parts.headers.get("last-event-id");
    let last_event_id = last_event_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let body = if is_nothing::<E::Body>() {
        from_json(b"{}")?
    } else {
        check_content_type(&parts)?;
        from_json(&read(body).await?)?
    };
    Ok(Call { path, query, body, caller, last_event_id, request_id: request_id.to_owned() })
}

async fn path<E: Endpoint>(parts: &mut Parts) -> Result<E::Path, Problem> {
    let mut variables = Map::new();
    if E::PATH.contains('{') {
        let raw = RawPathParams::from_request_parts(parts, &()).await;
        let raw = raw.map_err(|_| Problem::invalid("the path is not UTF-8"))?;
        variables.extend(raw.iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
    }
    serde_json::from_value(Value::Object(variables)).map_err(|err| Problem::invalid(format!("in the path: {err}")))
}

fn query<E: Endpoint>(parts: &Parts) -> Result<E::Query, Problem> {
    let query = Query::<E::Query>::try_from_uri(&parts.uri);
    query.map(|Query(query)| query).map_err(|rejection| {
        let text = rejection.body_text();
        let detail = text.rsplit_once("string: ").map_or(text.as_str(), |(_, detail)| detail);
        Problem::invalid(format!("in the query: {detail}"))
    })
}

fn check_content_type(parts: &Parts) -> Result<(), Problem> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let problem = Problem::invalid(format!("the body is {content_type:?}, not JSON"));
    Err(problem.remedy("send it with content-type: application/json"))
}

async fn read(body: axum::body::Body) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(ProblemCode::TooLarge, format!("the body is larger than {MAX_BODY_BYTES} bytes"))
            .remedy("send less at once")
    };
    // What it says about itself is enough to refuse it, not to believe it.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY_BYTES)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Err(_) => Err(Problem::invalid("the body did not come within 30 s")),
        Ok(Err(err)) if is_too_long(&err) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::invalid("the body ended early")),
    }
}

fn is_too_long(err: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(err);
    while let Some(err) = cause {
        if err.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = err.source();
    }
    false
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|err| Problem::invalid(format!("in the body: {err}")))
}

/// The status of a problem.
pub(super) fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
