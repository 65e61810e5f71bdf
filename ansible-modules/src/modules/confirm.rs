//! Changes that go back by themselves unless they are confirmed: the options, and `state: confirmed`.

use lustre_api::Time;
use serde_json::{Map, Value};

use super::{Task, common};
use crate::argspec::{Argument, ArgumentType};
use crate::contract::{Failure, Outcome};

/// `confirm_within`.
pub(super) fn argument(what: &str) -> Argument {
    Argument::new("confirm_within", ArgumentType::Int)
        .doc(&format!("Put {what} back unless somebody confirms the change within so many seconds, 10 to 86400."))
        .doc("For what can cut off those who set it.")
}

/// `state` of what can be confirmed.
pub(super) fn state(present: &str, absent: &str) -> Argument {
    common::state(present, absent)
        .choices(["present", "absent", "confirmed"])
        .doc("V(confirmed): what O(confirm_within) would put back stays. Nothing else is changed, and other options do not matter.")
}

/// The seconds that `confirm_within` gives. Errors: not such a number; the MGS knows the range.
pub(super) fn within(task: &Task<'_>) -> Result<Option<u32>, Failure> {
    let Some(seconds) = task.params.get("confirm_within").and_then(Value::as_i64) else { return Ok(None) };
    u32::try_from(seconds)
        .map(Some)
        .map_err(|_| Failure::from(format!("confirm_within: {seconds} is no number of seconds")))
}

/// Whether the task confirms, and does nothing else.
pub(super) fn is_wanted(task: &Task<'_>) -> bool {
    task.text("state") == Some("confirmed")
}

/// The result of a confirmation: changed where something waited for it.
pub(super) fn outcome(waited: impl IntoIterator<Item = Option<Time>>, resource: Value) -> Outcome {
    let changed = waited.into_iter().any(|until| until.is_some());
    let mut values = Map::new();
    values.insert("resource".to_owned(), resource.clone());
    values.insert("previous".to_owned(), resource);
    values.insert("plan".to_owned(), Value::Array(Vec::new()));
    Outcome { changed, values, ..Outcome::default() }
}
