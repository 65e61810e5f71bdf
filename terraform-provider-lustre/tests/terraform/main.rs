//! The real terraform and the real provider.

mod cluster;
mod examples;
mod objects;
mod workspace;
