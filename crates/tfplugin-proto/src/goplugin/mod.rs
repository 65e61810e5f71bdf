//! How terraform starts a provider and talks to it: HashiCorp's go-plugin, protocol 1, over gRPC on a unix socket.
//!
//! terraform starts the binary with a magic cookie and a client certificate in the environment, reads one line from its
//! stdout that names the socket and the server certificate, and opens one HTTP/2 connection.

mod handshake;
mod serve;
mod services;
mod socket;
mod tls;

pub use handshake::{HandshakeError, Host};
pub use serve::{Options, ServeError, run};
