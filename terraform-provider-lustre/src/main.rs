//! Terraform provider chandelier/lustre.

fn main() {}
