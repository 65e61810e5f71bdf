//! The userspace Lustre MGS.

fn main() {}
