//! The node agent: formats, starts, stops and observes targets.

pub mod host;
pub mod observe;
