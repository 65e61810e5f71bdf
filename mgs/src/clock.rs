//! The clock and the random source: the only places where the daemon reads them for decisions.

use std::time::{SystemTime, UNIX_EPOCH};

use lustre_api::Time;

/// Now, by the wall clock. Revisions order changes; this only labels them.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fresh random bytes (122 random bits), for tokens and UUIDs.
pub(crate) fn seed() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}
