//! A userspace LNet/TCP node: what the MGS and its clients in userspace talk over.
//!
//! It speaks to kernels as a kernel does: acceptor, HELLO versions 2 to 4, the three types of connections, frames,
//! PUT, GET, ACK and REPLY, ping and discovery, zero-copy acknowledgements and keepalives. What a message means is
//! its user's business: [`Lnet::on_put`] for requests, [`Lnet::attach`] for what is awaited, [`Lnet::put`] and
//! [`Lnet::get`] to send.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lnet::{Accept, Config, Lnet};
//! let mut config = Config::new(vec!["127.0.0.1@tcp".parse()?]);
//! config.listen = vec!["127.0.0.1:0".parse()?];
//! config.accept = Accept::All;
//! let server = Lnet::start(config).await?;
//! server.on_put(26, |request, out| out.put(request.answer(25, request.match_bits, 0, b"hello".to_vec())));
//!
//! let client = Lnet::start(Config::new(vec!["127.0.0.2@tcp".parse()?])).await?;
//! let nid = "127.0.0.1@tcp".parse()?;
//! client.set_address(&nid, server.addresses()[0]);
//! assert_eq!(client.ping(&nid, std::time::Duration::from_secs(5)).await?.nids().len(), 1);
//! # Ok(()) }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Invariants: a malformed, slow or greedy peer loses its connection, with the reason in the log, and nobody else
//! notices; what matches nothing is dropped and closes nothing. Limits: networks of type `tcp` only, no routing by this
//! node (peers behind routers are served), no checksums or zero-copy cookies of its own.

mod config;
mod conn;
mod dial;
mod dispatch;
mod handshake;
mod lnet;
mod loops;
mod message;
mod peer;
mod portal;
mod proxy;
mod reader;
mod refusal;
mod share;
mod sweep;

pub use config::{Accept, Config, DEFAULT_PORT, KernelProxy, Limits};
pub use dial::DialError;
pub use dispatch::Outbox;
pub use lnet::{KernelNetworks, Lnet, SendError, StartError};
pub use message::{Get, Incoming, Lost, Payload, ProcessId, Put};
pub use portal::{Arrival, Attached};
pub use proxy::ProxyError;
pub use refusal::Statistics;
