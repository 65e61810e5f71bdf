//! The Terraform provider `chandelier/lustre`.
//!
//! Resources, their attributes and descriptions come from the tables in `lustre-api`; what has to change is computed by
//! `lustre-plan`, with which the MGS and the Ansible modules compute it too. What is here is the translation: values, drift,
//! errors at attributes, and the rules about what terraform may destroy.
//!
//! Invariants: one look at the MGS per run ([`tfplugin_proto`] starts a process per run); a create is an "ensure" that
//! leaves nothing in state when it fails, so nothing of ours is ever tainted; a target that may hold data is neither
//! replaced nor destroyed by a change of mind in a configuration.

mod attributes;
mod data_sources;
mod findings;
mod functions;
mod managed;
mod mgs;
mod provider;
mod resources;
mod session;
#[cfg(test)]
mod tests;
mod timeouts;

pub use provider::Lustre;

/// What the binary says about itself.
pub const OPTIONS: tfplugin_proto::Options =
    tfplugin_proto::Options { address: "registry.terraform.io/chandelier/lustre", version: env!("CARGO_PKG_VERSION") };
