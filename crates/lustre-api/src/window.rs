//! Times of the day.

use crate::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 1440 * MINUTE_MS;

/// A time of every day in UTC, `HH:MM-HH:MM`; the end is not a part of it, and may be on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Window {
    /// Minutes since midnight.
    from: u16,
    to: u16,
}

impl Window {
    /// Whether the moment is within it.
    pub fn contains(&self, now: Time) -> bool {
        let (since, length) = self.place(now);
        since < length
    }

    /// `now`, or when it begins next.
    pub fn open_at(&self, now: Time) -> Time {
        let (since, length) = self.place(now);
        if since < length { now } else { later(now, DAY_MS - since) }
    }

    /// The end of the window that `now` is within.
    pub fn closed_at(&self, now: Time) -> Time {
        let (since, length) = self.place(now);
        later(now, length.saturating_sub(since))
    }

    /// How long ago it began last, and how long it is, milliseconds.
    fn place(&self, now: Time) -> (u64, u64) {
        let from = u64::from(self.from) * MINUTE_MS;
        let since = (now.unix_ms() % DAY_MS + DAY_MS - from) % DAY_MS;
        (since, (u64::from(self.to) * MINUTE_MS + DAY_MS - from) % DAY_MS)
    }
}

fn later(time: Time, ms: u64) -> Time {
    Time::from_unix_ms(time.unix_ms().saturating_add(ms))
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

/// A text that is no [`Window`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time of the day like 22:00-06:00")]
pub struct WindowError(String);

impl TryFrom<String> for Window {
    type Error = WindowError;
    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl std::str::FromStr for Window {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let minutes = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.split_once(':')?;
            let is_two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes) = (is_two(hours).then_some(hours)?, is_two(minutes).then_some(minutes)?);
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let window = text.split_once('-').and_then(|(from, to)| Some(Self { from: minutes(from)?, to: minutes(to)? }));
        window.filter(|window| window.from != window.to).ok_or_else(|| WindowError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_go_over_midnight() {
        let at = |hours: u64, minutes: u64| Time::from_unix_ms(((24 * 365 + hours) * 60 + minutes) * 60_000);
        let night: Window = "22:00-06:00".parse().unwrap();
        assert_eq!(night.to_string(), "22:00-06:00");
        assert!(
            night.contains(at(22, 0))
                && night.contains(at(3, 0))
                && !night.contains(at(6, 0))
                && !night.contains(at(12, 0))
        );
        let noon: Window = "11:30-12:00".parse().unwrap();
        assert_eq!((night.open_at(at(7, 0)), night.closed_at(at(23, 0))), (at(22, 0), at(30, 0)));
        assert_eq!((noon.open_at(at(11, 45)), noon.open_at(at(12, 0))), (at(11, 45), at(24 + 11, 30)));
        assert!(noon.contains(at(11, 59)) && !noon.contains(at(12, 0)) && !noon.contains(at(11, 29)));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in
            ["", "22:00", "24:00-01:00", "1:00-2:00", "10:00-10:00", "10:60-11:00", "aa:bb-cc:dd", "+1:00-02:00"]
        {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
