//! Several tunables of one scope, set in one change.

use crate::endpoint::endpoints;
use crate::param::Param;
use crate::{WriteQuery, Written};
use lustre_types::{FsName, ParamName, ParamScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a person describes. Attributes: [`crate::attributes::PARAMS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSetSpec {
    /// The file system; every one of this MGS when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FsName>,
    /// Whom they concern.
    #[serde(default)]
    pub scope: ParamScope,
    /// Their values by name.
    pub params: BTreeMap<ParamName, String>,
    /// Unset every other tunable of this file system and scope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// Set them although the catalogue does not know a name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unknown: bool,
}

/// Tunables to be set and unset in one change: all of it is done, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutParamSet {
    /// The tunables.
    pub spec: ParamSetSpec,
    /// Of the same file system and scope: unset these, where they are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<ParamName>,
    /// Put what was before back unless somebody confirms the change within so many seconds; 10 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// The tunables of a file system and scope that are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParamSet {
    /// They, by name.
    pub items: Vec<Param>,
    /// The store's revision.
    pub revision: u64,
}

endpoints! {
    /// Sets tunables of one file system and scope, and unsets others, in one change.
    PutParams = "put_params" Put "/v1/params-set" { query: WriteQuery, body: PutParamSet, reply: Written<ParamSet> }
}
