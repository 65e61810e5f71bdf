//! The node agent: formats, starts, stops and observes targets.

fn main() {}
