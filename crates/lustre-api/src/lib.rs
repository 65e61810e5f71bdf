//! Types that the programs exchange, and the list of endpoints of each server. No I/O.
//!
//! A type's doc comment *is* its description in the OpenAPI documents. What a person describes (a file system, a target, a
//! tunable, a pool, a nodemap) is a `…Spec`; its attributes are written once, in [`attributes`], from which the JSON schema here, the
//! Terraform schema, the Ansible argument specs and their documentation are made. What the servers answer is a view: the spec
//! plus what is known about it.
//!
//! Conventions: every write takes [`WriteQuery`] and answers [`Written`]; every list takes [`PageQuery`] and answers [`Page`];
//! every refusal is a [`Problem`]; unknown fields in a request are refused.

pub mod ability;
pub mod agent;
pub mod agent_ops;
pub mod attributes;
pub mod backup;
pub mod device;
mod endpoint;
pub mod event;
pub mod export;
pub mod filesystem;
mod fuzz;
pub mod job;
pub mod log;
pub mod mgs;
pub mod node;
pub mod node_param;
mod node_settings;
pub mod nodemap;
pub mod operation;
pub mod param;
pub mod param_set;
pub mod plan;
pub mod pool;
mod problem;
pub mod proof;
pub mod proxy;
pub mod source;
pub mod target;
mod time;
pub mod webhook;
mod window;

pub use endpoint::{Endpoint, Method, Nothing, Page, PageQuery, WriteQuery, Written};
pub use fuzz::fuzz_request;
pub use problem::{Problem, ProblemCode};
pub use time::Time;
pub use window::{Window, WindowError};
