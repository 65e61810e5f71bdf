//! The modules of the Ansible collection chandelier.lustre, one multi-call binary.

fn main() {}
