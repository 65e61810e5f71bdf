//! The node agent: formats, starts, stops and observes targets.
//!
//! `host` does, `observe` reads devices, `format` decides and makes targets, `jobs` keeps what is under way, `api` answers,
//! `mgs` enrols the node, `stop` unmounts, `pool` takes ZFS pools over and lets go of them, `tune` and `relabel` change targets at rest, `look` waits for no disk for ever,
//! `evacuate` moves files off an OST, `userspace` starts targets where no kernel does.

pub mod api;
pub mod config;
pub mod evacuate;
pub mod format;
pub mod host;
pub mod inventory;
pub mod jobs;
pub mod look;
pub mod mgs;
pub mod observe;
pub mod params;
pub mod pool;
pub mod relabel;
pub mod start;
pub mod stop;
pub mod time;
pub mod tune;
pub mod userspace;
