//! The userspace MGS daemon: drivers around the deterministic core. They decide nothing.

pub mod agents;
pub mod api;
mod clock;
pub mod compaction;
pub mod engine;
pub mod expiry;
pub mod feed;
pub mod freshness;
mod history;
pub mod jobs;
mod kproxy;
pub mod liveness;
pub mod net;
mod outgoing;
pub mod ownership;
pub mod peers;
pub mod proof;
pub mod restore;
pub mod server;
pub mod source;
mod state_version;
pub mod temporary;
mod turns;
pub mod webhooks;
