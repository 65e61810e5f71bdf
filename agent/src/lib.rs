//! The node agent: formats, starts, stops and observes targets.
//!
//! `host` does, `observe` reads devices, `format` decides and makes targets, `jobs` keeps what is under way, `api` answers,
//! `mgs` enrols the node, `userspace` starts targets where no kernel does.

pub mod api;
pub mod config;
pub mod format;
pub mod host;
pub mod inventory;
pub mod jobs;
pub mod mgs;
pub mod observe;
pub mod params;
pub mod time;
pub mod userspace;
