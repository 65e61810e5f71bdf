//! Operations on file systems and targets that exist: which steps they take, and what stands against them.
//!
//! Each is a function that gives a [`NewJob`](crate::decide::job::NewJob) to [`request`](crate::decide::job::request);
//! with `dry_run` a person sees the steps, and starts those and no others with their digest.

pub mod evacuate;
pub mod failover;
pub mod failover_node;
pub mod grow;
pub mod moving;
pub mod nids;
mod pool_move;
pub mod relabel;
pub mod scan;
pub mod spread;
mod whole;
pub mod writeconf;
