//! What people decide about a node: whether steps of jobs begin on it, and when.

use crate::Time;
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
        let minute = u16::try_from(now.unix_ms() / 60_000 % 1440).unwrap_or(0);
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
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
