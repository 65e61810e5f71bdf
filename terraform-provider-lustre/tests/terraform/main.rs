//! The real terraform and the real provider.

mod examples;
mod workspace;
