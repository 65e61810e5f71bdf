//! Makes servers, clients and OpenAPI documents of [`lustre_api::Endpoint`]s: how they are spoken is decided here once.
//!
//! JSON over HTTP/1.1, on TCP or a unix socket. Every refusal is a [`lustre_api::Problem`] (`application/problem+json`), also
//! those of this crate: no such call, a path, query or body that can't be understood (unknown fields are refused), a body
//! that is too large. Every answer carries `x-request-id`, and so does the log.
//! Not yet: TLS and tokens; who calls is known on unix sockets by its uid, on TCP only by its address.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod openapi;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, EventStream, Made, http};
#[cfg(feature = "server")]
pub use server::{Call, Events, Frame, Identity, Listener, Raw, Server};

/// Largest body that a server takes, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
