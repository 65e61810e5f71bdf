//! From an answer to an HTTP response, and to the log.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lustre_api::{Endpoint, Problem, ProblemCode};
use serde::Serialize;
use tracing::{debug, error, info};

use super::request::{status, understand};
use super::{Call, Identity, Raw};

/// Answers a request and logs it. A write is worth an info line, a read is not.
pub(super) async fn logged<E, T, A>(
    request: Request,
    handle: impl FnOnce(Call<E>) -> A,
    respond: impl FnOnce(T) -> Response,
) -> Response
where
    E: Endpoint,
    A: Future<Output = Result<T, Problem>> + Send,
{
    let begun = Instant::now();
    let request_id = uuid::Uuid::new_v4().simple().to_string()[..16].to_owned();
    let who = request.extensions().get::<Identity>().cloned().unwrap_or(Identity::Unknown);
    let path = request.uri().path().to_owned();
    let answer = match understand::<E>(request, &request_id).await {
        Ok(call) => handle(call).await,
        Err(problem) => Err(problem),
    };
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut response = match answer {
        Ok(answer) => {
            if E::METHOD == lustre_api::Method::Get || E::ROUTINE {
                debug!(op = E::NAME, path, %who, request_id, elapsed_ms, "answered");
            } else {
                info!(op = E::NAME, path, %who, request_id, elapsed_ms, "answered");
            }
            respond(answer)
        }
        Err(problem) => {
            if problem.code == ProblemCode::Internal {
                error!(op = E::NAME, path, %who, request_id, elapsed_ms, error = %problem, "failed");
            } else {
                info!(op = E::NAME, path, %who, request_id, elapsed_ms, error = %problem, "refused");
            }
            refusal(problem, &request_id)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: u16, value: &T) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    match serde_json::to_vec(value) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], Body::from(json)).into_response(),
        Err(err) => {
            error!(error = %err, "an answer can't be written as JSON");
            refusal(Problem::new(ProblemCode::Internal, "the answer can't be written"), "")
        }
    }
}

/// An answer that is ready.
pub(super) fn raw(status: u16, answer: Raw) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    (status, [(header::CONTENT_TYPE, answer.content_type)], Body::from(answer.bytes)).into_response()
}

/// The answer to what is not a call of this server.
pub(super) async fn no_such_call(request: Request) -> Response {
    let message = format!("there is no call {} {}", request.method(), request.uri().path());
    refusal(Problem::not_found(message).remedy("GET /openapi.json lists the calls of this server"), "")
}

fn refusal(mut problem: Problem, request_id: &str) -> Response {
    if !request_id.is_empty() {
        problem.request_id = Some(request_id.to_owned());
    }
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    (status(&problem), [(header::CONTENT_TYPE, "application/problem+json")], Body::from(json)).into_response()
}
