//! What reads devices in the node agent.

#[path = "../../agent/src/host/ext4/mod.rs"]
pub mod ext4;
#[path = "../../agent/src/host/magic.rs"]
pub mod magic;
