//! The present moment.

use lustre_api::Time;
use std::time::SystemTime;

/// Now, by the wall clock; 1970 on a machine whose clock stands before it.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
