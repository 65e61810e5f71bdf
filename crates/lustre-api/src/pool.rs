//! OST pools.

use crate::endpoint::endpoints;
use crate::{Page, PageQuery, WriteQuery, Written};
use lustre_types::{FsName, PoolName, SvName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a person describes. Attributes: [`crate::attributes::POOL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// The file system.
    pub filesystem: FsName,
    /// Its name.
    pub name: PoolName,
    /// Its OSTs, exactly: `scratch-OST0001`, `OST0001` and ranges `OST[0-3]` (decimal or hex digits as in the name).
    #[serde(default)]
    pub members: BTreeSet<String>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The file system.
    pub filesystem: FsName,
    /// Its name.
    pub name: PoolName,
    /// Its OSTs.
    pub members: BTreeSet<SvName>,
    /// `<fsname>.<pool>`, as `lctl pool_new` writes it; names it, also for imports.
    pub id: String,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// Path variables: a pool.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PoolPath {
    /// The file system.
    pub fsname: FsName,
    /// The pool.
    pub pool: PoolName,
}

endpoints! {
    /// Lists pools.
    ListPools = "list_pools" Get "/v1/pools" { query: PageQuery, reply: Page<Pool> }
    /// Reads a pool.
    GetPool = "get_pool" Get "/v1/filesystems/{fsname}/pools/{pool}" { path: PoolPath, reply: Pool }
    /// Ensures that a pool has exactly these members.
    PutPool = "put_pool" Put "/v1/filesystems/{fsname}/pools/{pool}" { path: PoolPath, query: WriteQuery, body: PoolSpec, reply: Written<Pool> }
    /// Removes a pool. Its OSTs and the files on them stay.
    DeletePool = "delete_pool" Delete "/v1/filesystems/{fsname}/pools/{pool}" { path: PoolPath, query: WriteQuery, reply: Written<Pool> }
}
