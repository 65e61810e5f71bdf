//! History and events: every committed change, by revision.

use crate::endpoint::endpoints;
use crate::{Page, Time};
use lustre_types::FsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One committed change of the store: who changed what when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The revision that the change made.
    pub revision: u64,
    /// When.
    pub time: Time,
    /// Who.
    pub who: String,
    /// Why, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The objects that changed.
    pub changes: Vec<ObjectChange>,
}

/// One object's change, as stored. Secrets are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectChange {
    /// The object, as in `target scratch-OST0001`.
    pub object: String,
    /// Its value before; null when it was made.
    pub before: Value,
    /// Its value after; null when it was removed.
    pub after: Value,
}

/// Query of the history.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only objects whose name begins with this, as in `target scratch-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only changes after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many; 1 to 1000, 100 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Query of the event stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Begin after this revision, also one long past; with now when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only objects of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKind>,
    /// Only objects whose name begins with this, as in `target scratch-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only objects of this file system. Jobs and nodes are of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsname: Option<FsName>,
}

/// Sorts of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The MGS itself.
    Mgs,
    /// File systems.
    Filesystem,
    /// Targets, the devices that they claim, and names that are not given away again.
    Target,
    /// Tunables, also temporary ones.
    Param,
    /// Nodemaps.
    Nodemap,
    /// Pools.
    Pool,
    /// Nodes.
    Node,
    /// Jobs.
    Job,
    /// Config logs.
    Log,
    /// Running targets, as imperative recovery tells them.
    Running,
    /// The source of wanted configuration.
    Source,
    /// Which instance does what is done once; how far webhooks are. Webhooks are not told of these: it would never end.
    Duty,
}

impl std::str::FromStr for EventKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        use serde::de::{IntoDeserializer, value::Error};
        Self::deserialize(text.into_deserializer()).map_err(|err: Error| err.to_string())
    }
}

endpoints! {
    /// Lists committed changes, oldest first. `next` is the revision to give as `after`.
    GetHistory = "get_history" Get "/v1/history" { query: HistoryQuery, reply: Page<Event> }
    /// Streams committed changes as they happen, as server-sent events; the event id is the revision. With a filter, an event without
    /// changes comes now and then: begin again after its revision.
    StreamEvents = "stream_events" Get "/v1/events" { query: EventQuery, reply: Event, stream: true }
}
