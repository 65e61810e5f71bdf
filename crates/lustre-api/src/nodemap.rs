//! Nodemaps: whose ids are mapped how.

use crate::endpoint::endpoints;
use crate::{Time, WriteQuery, Written};
use lustre_types::{NidRange, NodemapName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a person describes: all of a nodemap. What is not given has its default. Attributes: [`crate::attributes::NODEMAP`].
///
/// Not yet: roles, NID masks, offsets, filesets beyond the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodemapSpec {
    /// Its name; `default` is the one of all NIDs that no other has.
    pub name: NodemapName,
    /// The NIDs that it is for. No NID can be in two nodemaps.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ranges: BTreeSet<NidRange>,
    /// The NIDs on its ban list.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub banned_ranges: BTreeSet<NidRange>,
    /// User ids: of the client, with that of the file system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uids: BTreeMap<u32, u32>,
    /// Group ids: of the client, with that of the file system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gids: BTreeMap<u32, u32>,
    /// Project ids: of the client, with that of the file system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projids: BTreeMap<u32, u32>,
    /// Root of these clients is root of the file system.
    #[serde(default)]
    pub admin: bool,
    /// Ids of these clients are taken as they are.
    #[serde(default)]
    pub trusted: bool,
    /// Who is not mapped gets no access, instead of that of the squash ids.
    #[serde(default)]
    pub deny_unknown: bool,
    /// What they do is in the changelog with their NID.
    #[serde(default = "yes")]
    pub audit: bool,
    /// They can't read encrypted files, or make some.
    #[serde(default)]
    pub forbid_encryption: bool,
    /// They can only mount read-only.
    #[serde(default)]
    pub readonly_mount: bool,
    /// They can't mount.
    #[serde(default)]
    pub deny_mount: bool,
    /// They are told by their GSS identity and not by their NIDs.
    #[serde(default)]
    pub gss_identify: bool,
    /// User ids are mapped.
    #[serde(default = "yes")]
    pub map_uids: bool,
    /// Group ids are mapped.
    #[serde(default = "yes")]
    pub map_gids: bool,
    /// Project ids are mapped.
    #[serde(default = "yes")]
    pub map_projids: bool,
    /// User id of who is not mapped.
    #[serde(default = "nobody")]
    pub squash_uid: u32,
    /// Group id of who is not mapped.
    #[serde(default = "nobody")]
    pub squash_gid: u32,
    /// Project id of who is not mapped.
    #[serde(default = "nobody")]
    pub squash_projid: u32,
    /// The directory that they see as the root of the file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fileset: Option<String>,
}

fn yes() -> bool {
    true
}

fn nobody() -> u32 {
    65534
}

impl NodemapSpec {
    /// A nodemap without NIDs and with every default.
    pub fn new(name: NodemapName) -> Self {
        Self {
            name,
            ranges: BTreeSet::new(),
            banned_ranges: BTreeSet::new(),
            uids: BTreeMap::new(),
            gids: BTreeMap::new(),
            projids: BTreeMap::new(),
            admin: false,
            trusted: false,
            deny_unknown: false,
            audit: true,
            forbid_encryption: false,
            readonly_mount: false,
            deny_mount: false,
            gss_identify: false,
            map_uids: true,
            map_gids: true,
            map_projids: true,
            squash_uid: nobody(),
            squash_gid: nobody(),
            squash_projid: nobody(),
            fileset: None,
        }
    }
}

/// A nodemap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nodemap {
    /// Its description by a person. Not flattened: serde could not read the numbers in its maps back then.
    pub spec: NodemapSpec,
    /// Its number in what targets are sent; 0 is the default one.
    pub id: u32,
    /// When it goes back to what it was before, unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Time>,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// All nodemaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nodemaps {
    /// Whether they are in force; if not, no ids are mapped.
    pub active: bool,
    /// When `active` goes back to what it was before, unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Time>,
    /// They, by name. The default one is among them once it was changed.
    pub items: Vec<Nodemap>,
    /// The store's revision at which they were read.
    pub revision: u64,
}

/// Path variable: a nodemap.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodemapPath {
    /// Its name.
    pub name: NodemapName,
}

/// A nodemap to be as described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutNodemapBody {
    /// The nodemap.
    pub spec: NodemapSpec,
    /// Put what was before back unless somebody confirms the change within so many seconds; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// Whether nodemaps are to be in force. Attributes: [`crate::attributes::NODEMAPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodemapsSpec {
    /// Whether they are.
    pub active: bool,
}

/// Nodemaps to be in force, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodemapsActive {
    /// Whether they are.
    pub active: bool,
    /// Put what was before back unless somebody confirms the change within so many seconds; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

endpoints! {
    /// Lists nodemaps.
    ListNodemaps = "list_nodemaps" Get "/v1/nodemaps" { reply: Nodemaps }
    /// Reads a nodemap.
    GetNodemap = "get_nodemap" Get "/v1/nodemaps/{name}" { path: NodemapPath, reply: Nodemap }
    /// Ensures that a nodemap is as described. Targets read it anew.
    PutNodemap = "put_nodemap" Put "/v1/nodemaps/{name}" { path: NodemapPath, query: WriteQuery, body: PutNodemapBody, reply: Written<Nodemap> }
    /// Removes a nodemap: its NIDs belong to the default one then. Of the default one, its changes.
    DeleteNodemap = "delete_nodemap" Delete "/v1/nodemaps/{name}" { path: NodemapPath, query: WriteQuery, reply: Written<Nodemap> }
    /// Removes a nodemap until somebody confirms it.
    PostRemoveNodemap = "remove_nodemap" Post "/v1/nodemaps/{name}/remove" { path: NodemapPath, query: WriteQuery, body: crate::proof::CarefulRemoval, reply: Written<Nodemap> }
    /// Keeps a nodemap that would go back to what it was before, or that it is gone.
    ConfirmNodemap = "confirm_nodemap" Post "/v1/nodemaps/{name}/confirm" { path: NodemapPath, query: WriteQuery, reply: Written<Nodemap> }
    /// Puts all nodemaps in force, or out of it.
    PutNodemapsActive = "put_nodemaps_active" Put "/v1/nodemaps-active" { query: WriteQuery, body: NodemapsActive, reply: Written<Nodemaps> }
    /// Keeps nodemaps in force, or out of it, that would go back.
    ConfirmNodemapsActive = "confirm_nodemaps_active" Post "/v1/nodemaps-active/confirm" { query: WriteQuery, reply: Written<Nodemaps> }
}
