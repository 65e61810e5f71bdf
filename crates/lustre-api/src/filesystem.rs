//! File systems.

use crate::endpoint::endpoints;
use crate::{Page, PageQuery, WriteQuery, Written};
use lustre_types::FsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person describes. Attributes: [`crate::attributes::FILESYSTEM`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemSpec {
    /// Its name.
    pub name: FsName,
    /// What it is for, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Filesystem {
    /// Its description by a person.
    #[serde(flatten)]
    pub spec: FilesystemSpec,
    /// `<mgs uuid>/<fsname>`.
    pub id: String,
    /// What clients mount; missing while the MGS has no NID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_source: Option<String>,
    /// How far it has come.
    pub state: FilesystemState,
    /// Why it is in that state.
    pub state_reason: String,
    /// Its registered or started metadata targets.
    pub mdt_count: u32,
    /// Its registered or started object storage targets.
    pub ost_count: u32,
    /// Sum of the sizes of its OSTs in bytes.
    pub capacity_bytes: u64,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// How far a file system has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilesystemState {
    /// It has no target.
    Empty,
    /// MDT0000 or every OST is missing, or a target failed.
    Incomplete,
    /// MDT0000 and at least one OST are registered, and no target failed.
    Ready,
}

impl FilesystemState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Incomplete => "incomplete",
            Self::Ready => "ready",
        }
    }
}

/// Path variable: a file system.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FilesystemPath {
    /// The file system.
    pub fsname: FsName,
}

endpoints! {
    /// Lists file systems.
    ListFilesystems = "list_filesystems" Get "/v1/filesystems" { query: PageQuery, reply: Page<Filesystem> }
    /// Reads a file system.
    GetFilesystem = "get_filesystem" Get "/v1/filesystems/{fsname}" { path: FilesystemPath, reply: Filesystem }
    /// Ensures that a file system is as described.
    PutFilesystem = "put_filesystem" Put "/v1/filesystems/{fsname}" { path: FilesystemPath, query: WriteQuery, body: FilesystemSpec, reply: Written<Filesystem> }
    /// Removes a file system. Refused while it has targets, pools or tunables.
    DeleteFilesystem = "delete_filesystem" Delete "/v1/filesystems/{fsname}" { path: FilesystemPath, query: WriteQuery, reply: Written<Filesystem> }
}
