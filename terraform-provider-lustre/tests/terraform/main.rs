//! The real terraform and the real provider.

mod examples;
mod node;
mod objects;
mod targets;
