//! A moment, as RFC 3339 text in JSON.

use std::fmt;

/// A moment in UTC with millisecond resolution; in JSON RFC 3339, as in `2026-11-23T09:30:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Time(jiff::Timestamp);

impl Time {
    /// The moment `ms` milliseconds after 1970; the last representable one where that is too far.
    pub fn from_unix_ms(ms: u64) -> Self {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        Self(jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX))
    }

    /// Milliseconds after 1970; 0 for earlier moments.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or(0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "description": "A moment in UTC, RFC 3339." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_rfc_3339() {
        let time = Time::from_unix_ms(1_795_426_200_123);
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-11-23T09:30:00.123Z\"");
        assert_eq!(time.unix_ms(), 1_795_426_200_123);
        assert!(Time::from_unix_ms(u64::MAX).to_string().starts_with("9999"));
    }
}
