//! Webhooks: receivers that are told of every change.

use crate::Time;
use crate::endpoint::endpoints;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every receiver of this instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhooks {
    /// By name.
    pub items: Vec<Webhook>,
}

/// A receiver, and how far it has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Its name in the configuration.
    pub name: String,
    /// Host and port of its URL; the rest may be a secret.
    pub receiver: String,
    /// Every change up to this revision was delivered, given up, or none of its business.
    pub delivered: u64,
    /// Revisions that are still to be looked at.
    pub behind: u64,
    /// The last attempts, newest last; at most 50, lost when the MGS restarts.
    pub log: Vec<Attempt>,
    /// Changes that were given up, oldest first; at most the last 1000. Kept over restarts.
    pub dead_letters: Vec<Attempt>,
}

/// One attempt to deliver a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The change.
    pub revision: u64,
    /// When.
    pub time: Time,
    /// What the receiver answered, or why there was no answer; missing when it took the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

endpoints! {
    /// Lists the receivers of this instance, what they were told last, and what was given up.
    ListWebhooks = "list_webhooks" Get "/v1/webhooks" { reply: Webhooks }
}
