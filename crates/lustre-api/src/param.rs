//! Tunables.

use crate::endpoint::endpoints;
use crate::{Page, PageQuery, WriteQuery, Written};
use lustre_types::{FsName, ParamName, ParamScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person describes. Attributes: [`crate::attributes::PARAM`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSpec {
    /// The file system; every one of this MGS when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FsName>,
    /// Whom it concerns.
    #[serde(default)]
    pub scope: ParamScope,
    /// Its name.
    pub name: ParamName,
    /// Its value, as the person wrote it. At most 4095 bytes, no line break.
    pub value: String,
    /// Set it although the catalogue does not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unknown: bool,
}

/// A tunable that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Param {
    /// Its description by a person.
    #[serde(flatten)]
    pub spec: ParamSpec,
    /// `<fsname or *>/<scope>/<name>`: names it, also for imports.
    pub id: String,
    /// What `lctl set_param` on a node would call it, as in `osc.scratch-OST*-osc-*.max_dirty_mb`.
    pub canonical_name: String,
    /// What `lctl conf_param` would call it, as in `scratch-OST0001.osc.max_dirty_mb`; missing where that needs a command for
    /// each target, or has no name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf_param_name: Option<String>,
    /// When it goes back to its value before, unless somebody confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<crate::Time>,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// Type of a tunable's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// An integer: decimal, `0x` hex or `0` octal.
    Int,
    /// A size: a number with an optional suffix; without suffix in `unit`.
    Size,
    /// `0` or `1`, `n` or `y`, `off` or `on`.
    Bool,
    /// One of a list of words.
    Enum,
    /// A set of words; their order does not matter.
    List,
    /// Text, often with a `grammar` of its own.
    Text,
    /// Something that is done when it is written; it reads as something else.
    Command,
}

/// Who can set a tunable, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// Anybody: permanently in the MGS's logs, or for the time being on a node.
    Any,
    /// Only on a node, until it restarts.
    Temporary,
    /// Only permanently, as `lctl conf_param` does.
    ConfParam,
    /// By options of a kernel module, before it is loaded.
    Module,
    /// By nodemap commands.
    Nodemap,
    /// When the target is formatted.
    Mkfs,
    /// Nobody: it is computed, or set through another tunable.
    ReadOnly,
}

/// What has to happen until a new value works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effective {
    /// Nothing.
    Live,
    /// Clients have to mount, or connect, anew.
    NewMounts,
    /// The target has to be unmounted and mounted.
    TargetRemount,
    /// Everything has to be down at once.
    EverythingDown,
    /// The kernel module has to be loaded anew.
    ModuleLoad,
    /// The target has to be formatted.
    Format,
}

/// What the catalogue knows of a tunable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogueEntry {
    /// Its name, with `*` where a device stands.
    pub name: String,
    /// Nodes that have it: `client`, `mds`, `oss`, `mgs`, `all`.
    pub nodes: Vec<String>,
    /// Type of its value.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Smallest value (sizes in bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Largest value (sizes in bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// What a bare number counts: `s`, `ms`, `%`, `bytes`, `KiB`, `MiB`, `pages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The words of an enum or a list; of other types: words that are taken as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// How its text is written, where it has a notation of its own: `nids`, `uid_gid`, `tbf` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grammar: Option<String>,
    /// The value when nobody sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What the default depends on, where nodes compute it or releases differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_note: Option<String>,
    /// The first release that has it, as in `2.14`; `2.12` for those that are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The last release that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who can set it, and for how long.
    pub set_by: SetBy,
    /// What has to happen until a new value works.
    pub effective: Effective,
    /// What else restricts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Path variables: a tunable. A file system of `*` means every one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ParamPath {
    /// The file system, or `*`.
    pub fsname: String,
    /// Whom it concerns.
    pub scope: ParamScope,
    /// Its name.
    pub name: ParamName,
}

/// Query of the catalogue.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogueQuery {
    /// Only names that contain this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// What the catalogue knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Catalogue {
    /// Its entries, by name.
    pub entries: Vec<CatalogueEntry>,
}

endpoints! {
    /// Lists the tunables that are set.
    ListParams = "list_params" Get "/v1/params" { query: PageQuery, reply: Page<Param> }
    /// Reads a tunable that is set.
    GetParam = "get_param" Get "/v1/params/{fsname}/{scope}/{name}" { path: ParamPath, reply: Param }
    /// Sets a tunable.
    PutParam = "put_param" Put "/v1/params/{fsname}/{scope}/{name}" { path: ParamPath, query: WriteQuery, body: ParamSpec, reply: Written<Param> }
    /// Unsets a tunable: nodes go back to its default.
    DeleteParam = "delete_param" Delete "/v1/params/{fsname}/{scope}/{name}" { path: ParamPath, query: WriteQuery, reply: Written<Param> }
    /// What is known of tunables that can be set.
    GetCatalogue = "get_catalogue" Get "/v1/catalogue" { query: CatalogueQuery, reply: Catalogue }
}
