//! The real terraform and the real provider.

mod cluster;
mod examples;
mod node;
mod objects;
mod targets;
mod whole;
mod workspace;
