//! Endpoint -> axum route, OpenAPI document, reqwest client.
