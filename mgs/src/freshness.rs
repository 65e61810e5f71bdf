//! What is read is the newest there is, through whichever instance; or it is marked.
//!
//! Before a read is answered, this instance makes sure to have what any other had committed by then. When it has lost the
//! store, it answers with what it has, and says so: `warning: 110 - "…"` (RFC 7234, 5.5.1: response is stale).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::engine::Engine;

/// Puts the check before every read of `router`.
pub fn layer(router: Router, engine: Arc<Engine>) -> Router {
    router.layer(from_fn_with_state(engine, check))
}

async fn check(State(engine): State<Arc<Engine>>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let stale = engine.refresh().await.err();
    let mut response = next.run(request).await;
    if let Some(reason) = stale {
        // A header has one line of printable characters.
        let reason: String =
            reason.chars().map(|c| if c == '"' || c.is_control() || !c.is_ascii() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("110 - \"this may be old: {reason}\"")) {
            response.headers_mut().insert(header::WARNING, value);
        }
    }
    response
}
