//! The whole system over its network protocol: real daemons, targets that the userspace driver starts.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod borders;
mod cancelled;
mod capture;
mod jobs;
mod killed;
mod nodes;
mod older;
mod operations;
mod site;
mod tunables;
mod userspace;
mod zfs;
