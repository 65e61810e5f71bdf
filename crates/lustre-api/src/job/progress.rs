//! Progress of steps.

use crate::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of a step is done; `total` is missing where nobody can know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What is going on, as in `writing inode tables`.
    pub phase: String,
    /// Done so far, in `unit`.
    pub done: u64,
    /// All there is to do, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted: `bytes`, `groups`, `steps`.
    pub unit: String,
    /// When this was measured.
    pub at: Time,
    /// How much is done in a second, in `unit`, measured by the MGS since the phase began; missing until it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<u64>,
    /// How many seconds are left at that rate; missing where nobody can know: no total, or nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
}

impl Progress {
    /// Percent done, 0 to 100, where the total is known.
    pub fn percent(&self) -> Option<u8> {
        let total = self.total.filter(|total| *total > 0)?;
        u8::try_from((u128::from(self.done) * 100 / u128::from(total)).min(100)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_needs_a_total() {
        let progress = |done, total| Progress {
            phase: String::new(),
            done,
            total,
            unit: "bytes".into(),
            at: Time::from_unix_ms(0),
            rate_per_s: None,
            eta_s: None,
        };
        assert_eq!(progress(1, None).percent(), None);
        assert_eq!(progress(1, Some(0)).percent(), None);
        assert_eq!(progress(u64::MAX, Some(u64::MAX)).percent(), Some(100));
        assert_eq!(progress(1, Some(3)).percent(), Some(33));
    }
}
