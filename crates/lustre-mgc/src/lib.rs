//! A client of any MGS, kernel or ours, in userspace: what a node's MGC does, without a kernel.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lustre_mgc::{Config, Node};
//! let node = Node::new(lnet::Lnet::start(lnet::Config::new(vec!["10.9.0.3@tcp".parse()?])).await?);
//! let mgc = node.connect(Config::new(vec!["10.9.0.1@tcp".parse()?])).await?;
//! let log = mgc.log("scratch-client").await?.ok_or("no such file system")?;
//! println!("{}", lustre_wire::llog::print(&log));
//! let mut follower = mgc.follow("scratch-client", 0);
//! loop {
//!     println!("{} new records", follower.next().await?.len());
//! }
//! # }
//! ```
//!
//! An [`Mgc`] reconnects by itself: to the same MGS, to the next of its NIDs, to one that was started anew. Requests whose
//! reply is lost are sent again under the same number; locks that a restarted MGS knows nothing of are taken again by
//! those who follow. Limits: null security only; the lock of write barriers is
//! held, none is ever carried out; locks are plain, for reading.

mod call;
mod client;
mod config_read;
mod connect;
mod contents;
mod error;
mod follow;
mod lock;
mod logs;
mod nodemap;
mod register;
mod standing;

pub use client::{Config, Mgc, Node};
pub use config_read::NidTableFollower;
pub use contents::{Contents, Filesystem, Param, TargetContents};
pub use error::MgcError;
pub use follow::Follower;
pub use lock::Lock;
pub use nodemap::{IdKind, Nodemap, NodemapFollower, Nodemaps};
pub use register::{Registered, Target};
pub use standing::Keeper;
