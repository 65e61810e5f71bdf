//! Config logs: what clients and targets read from the MGS.

use crate::endpoint::endpoints;
use crate::{Page, PageQuery, Time};
use lustre_types::FsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A config log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogInfo {
    /// Its name: `<fsname>-client`, a target's name, or `params`.
    pub name: String,
    /// The file system; none for `params`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
    /// Size of its file in bytes.
    pub size_bytes: u64,
    /// Its records that are live, markers included.
    pub record_count: u32,
    /// Index of its last record; nodes read on from there.
    pub last_index: u32,
    /// When its first record was written.
    pub created: Time,
    /// The store's revision of its last change.
    pub revision: u64,
}

/// A config log with its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Log {
    /// The log.
    #[serde(flatten)]
    pub info: LogInfo,
    /// Its records in order, without what pads its blocks.
    pub records: Vec<LogRecord>,
}

/// A record of a config log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// Its index.
    pub index: u32,
    /// What it does, as `lctl llog_print` names it: `attach`, `setup`, `conf_param`; a number in hex where it has no name.
    pub event: String,
    /// Whether nodes carry it out: it is live, and its section is not skipped.
    pub effective: bool,
    /// Its device; missing where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its other values, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The NID of `add_uuid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nid: Option<String>,
    /// The number of a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num: Option<u32>,
    /// What a `marker` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<LogMarker>,
}

/// Begin or end of a section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogMarker {
    /// Counts the sections of a file system.
    pub step: u32,
    /// 1 begin, 2 end; with 4 the section is skipped, with 16 its target is inactive.
    pub flags: u32,
    /// Whom the section concerns.
    pub target: String,
    /// What it is about.
    pub comment: String,
    /// When it was written.
    pub created: Time,
    /// When it was skipped or its target deactivated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canceled: Option<Time>,
}

/// Path variable: a config log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogPath {
    /// Its name.
    pub name: String,
}

/// How a config log is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// As JSON.
    #[default]
    Json,
    /// As `lctl llog_print`: what is effective.
    Yaml,
    /// As `lctl llog_print --raw`: markers and skipped sections too.
    YamlRaw,
}

/// Query of a config log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// How it is shown.
    #[serde(default)]
    pub format: LogFormat,
}

endpoints! {
    /// Lists config logs.
    ListLogs = "list_logs" Get "/v1/logs" { query: PageQuery, reply: Page<LogInfo> }
    /// Reads a config log, as JSON or as lctl llog_print prints it.
    GetLog = "get_log" Get "/v1/logs/{name}" { path: LogPath, query: LogQuery, reply: Log, content: ["application/json", "application/yaml"] }
    /// Reads a config log as the file that a kernel MGS would have in CONFIGS.
    GetLogRaw = "get_log_raw" Get "/v1/logs/{name}/raw" { path: LogPath, reply: (), content: ["application/octet-stream"] }
}
