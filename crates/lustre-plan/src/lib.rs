//! What has to change: desired and observed in, plan out. Pure: no I/O, no clock.
//!
//! Terraform, the Ansible modules, `mgsctl` and the MGS ask the same [`diff`], so that all of them show the same plan, refuse
//! for the same reasons and in the same words. What is not described is left alone.
//!
//! A [`Plan`] is the ordered list of changes, each with its fields, its reason, who notices it and whether it destroys data,
//! and of findings: errors stand against the plan, warnings a person should know. [`render`] shows it to people, [`request`]
//! is the call that makes one of its changes.
//!
//! Also here, because a plan has to know it: the catalogue of tunables ([`catalogue`]), their two names ([`naming`]) and the
//! notation of pool members ([`pool_members`]).

pub mod catalogue;
mod device;
mod diff;
mod members;
pub mod naming;
mod render;
mod request;
mod value;

pub use device::device_of;
pub use diff::{FILESET_FRAGMENT, LATER, diff, nodemap_records, nodes_to_set_again};
pub use lustre_api::plan::Plan;
pub use members::{MemberError, Mode, pool_members};
pub use render::render;
pub use request::{NotDescribed, request};
