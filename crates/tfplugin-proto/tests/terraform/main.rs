//! The real terraform against the provider in `examples/tiny.rs`.

mod lifecycle;
mod process;
mod workspace;
