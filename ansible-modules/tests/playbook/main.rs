//! The collection with the real ansible-playbook, against a real MGS and real agents.
//!
//! Needs `ansible-modules/ci.sh build` (the collection's program) and the workspace's daemons; `cargo xtask ci ansible` and
//! `ci.sh test` do all of it. [`host`] needs root, too.

#![allow(clippy::unwrap_used, reason = "tests")]

mod background;
mod check;
mod connection;
mod example;
mod formats;
mod host;
mod jobs;
mod nodemaps;
mod objects;
mod proxy;
mod site;
mod tunables;
mod zfs;
