//! The real terraform and the real provider.

mod examples;
mod mgs_proxy;
mod node;
mod objects;
mod targets;
