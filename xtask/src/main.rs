//! Repository chores: CI lanes, generated files, dependency rules.

fn main() {}
