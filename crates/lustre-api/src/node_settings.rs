//! What people decide about a node: whether steps of jobs begin on it, and when.

use crate::{Time, Window};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What people decide about a node. The node's own announcements leave it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// The node is drained, for this reason (which may be empty): no step of a job begins on it; those at work go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
    /// The enclosure whose disks it serves: together with other nodes it takes only so many steps at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enclosure: Option<String>,
    /// Steps begin within these times only, as in `22:00-06:00`; at any time where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl NodeSettings {
    /// Whether steps may begin at this moment.
    pub fn is_open(&self, now: Time) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now))
    }
}
