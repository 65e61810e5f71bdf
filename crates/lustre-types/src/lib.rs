//! Lustre's names and numbers, parsed once at the border.
//!
//! Past the border no `String` is "maybe a file system name": a program holds an [`FsName`], a [`SvName`], a [`Nid`]. Each
//! type parses with [`FromStr`](core::str::FromStr), prints in Lustre's own spelling, is a string in JSON, and says in its
//! error which part was wrong and what is allowed.
//!
//! ```
//! use lustre_types::{FsName, SvName, TargetKind};
//! let svname: SvName = "scratch-OST001f".parse()?;
//! assert_eq!(svname.fsname(), Some(&"scratch".parse::<FsName>()?));
//! assert_eq!((svname.kind(), svname.index().unwrap().get()), (TargetKind::Ost, 0x1f));
//! assert!("scratch/OST1".parse::<SvName>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! No I/O, no clock, no dependency but serde, schemars and thiserror.

mod text;

mod dataset;
mod fsname;
mod fuzz;
mod lnd;
mod nid;
mod node;
mod nodelist;
mod nodemap;
mod param;
mod pool;
mod size;
mod svname;
mod target;
mod version;

pub use dataset::{Dataset, DatasetError};
pub use fsname::{FsName, FsNameError};
pub use fuzz::fuzz_names;
pub use lnd::{Lnd, LndAddresses};
pub use nid::{LnetNet, Nid, NidError, NidList, mount_source};
pub use node::{NodeName, NodeNameError};
pub use nodelist::{NODELIST_MAX, NodelistError, expand_nodelist};
pub use nodemap::{NidRange, NidRangeError, NodemapName, NodemapNameError};
pub use param::{ParamKey, ParamKeyError, ParamName, ParamNameError, ParamScope, ParamScopeError};
pub use pool::{PoolName, PoolNameError};
pub use size::{ByteSize, SizeError};
pub use svname::{SvName, SvNameError};
pub use target::{TargetIndex, TargetIndexError, TargetKind, TargetKindError};
pub use text::shortened;
pub use version::{LustreVersion, VersionError};
