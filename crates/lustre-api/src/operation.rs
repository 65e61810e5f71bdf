//! Operations on file systems and targets that exist, each a job.

use crate::filesystem::FilesystemPath;
use crate::job::Job;
use crate::target::TargetPath;
use crate::{WriteQuery, Written, endpoint::endpoints};
use lustre_types::{NidList, NodeName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Has the configuration of a file system written anew: stops its targets, marks them, starts them in the right order. What
/// was set with the MGS (tunables, pools, partner nodes) comes back by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteconfFilesystem {
    /// Also write this MGS's NIDs onto the targets: for an MGS that moved.
    #[serde(default)]
    pub set_mgs_nids: bool,
}

/// Stops a target on the node where it runs and starts it on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTarget {
    /// The node: its own or a partner's. When missing, the other one of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The node where it runs is switched off: don't stop it there. Refused while that node's agent is heard of. **Two nodes
    /// with one target destroy it**: make sure before you say so.
    #[serde(default)]
    pub node_is_down: bool,
}

/// Writes other NIDs of a target into the configuration, as `lctl replace_nids` does: its file system is stopped for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceNids {
    /// NIDs of its node, then of each partner node: `10.0.0.5@tcp,10.1.0.5@o2ib:10.0.0.6@tcp`.
    pub nids: NidList,
}

/// Empties an OST and takes it out of the configuration; its device is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvacuateTarget {
    /// The node that moves the files: one with an agent, that has mounted the file system as a client.
    pub client: NodeName,
    /// Where it is mounted there; looked up when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
    /// At most so many bytes a second; without limit when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Move files only in this time of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<DailyWindow>,
}

/// A time of every day, by the clock of UTC: from `from` until `to`, over midnight where `to` is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DailyWindow {
    /// Minute of the day when it begins, 0 to 1439.
    pub from_minute: u16,
    /// Minute of the day when it is over, 0 to 1439; another one than `from_minute`.
    pub to_minute: u16,
}

/// Why a text is no [`DailyWindow`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time of the day; write it like 22:00-06:00 (UTC)")]
pub struct WindowError(String);

impl DailyWindow {
    /// Whether its numbers can be.
    pub fn is_valid(&self) -> bool {
        self.from_minute < 1440 && self.to_minute < 1440 && self.from_minute != self.to_minute
    }
}

impl std::str::FromStr for DailyWindow {
    type Err = WindowError;

    /// Reads `22:00-06:00`.
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let minute = |clock: &str| -> Option<u16> {
            let (hours, minutes) = clock.split_once(':')?;
            let number = |digits: &str, below: u16| {
                digits.parse::<u16>().ok().filter(|number| digits.len() == 2 && *number < below)
            };
            Some(number(hours, 24)? * 60 + number(minutes, 60)?)
        };
        let window = text.split_once('-').and_then(|(from, to)| {
            Some(Self { from_minute: minute(from)?, to_minute: minute(to)? }).filter(Self::is_valid)
        });
        window.ok_or_else(|| WindowError(text.chars().take(40).collect()))
    }
}

endpoints! {
    /// Has the configuration of a file system written anew, by a job. Every client must have unmounted it.
    PostWriteconf = "writeconf_filesystem" Post "/v1/filesystems/{fsname}/writeconf" { path: FilesystemPath, query: WriteQuery, body: WriteconfFilesystem, reply: Written<Job>, status: 202 }
    /// Moves a target to its partner node, or back, by a job.
    PostMove = "move_target" Post "/v1/targets/{svname}/move" { path: TargetPath, query: WriteQuery, body: MoveTarget, reply: Written<Job>, status: 202 }
    /// Writes other NIDs of a target into the configuration, by a job. Every client must have unmounted its file system.
    PostReplaceNids = "replace_nids" Post "/v1/targets/{svname}/replace_nids" { path: TargetPath, query: WriteQuery, body: ReplaceNids, reply: Written<Job>, status: 202 }
    /// Empties an OST and takes it out of the configuration, by a job that may take days.
    PostEvacuate = "evacuate_target" Post "/v1/targets/{svname}/evacuate" { path: TargetPath, query: WriteQuery, body: EvacuateTarget, reply: Written<Job>, status: 202 }
    /// Lets an evacuation rest: nothing is moved until it is resumed. What it has set stays set.
    PauseJob = "pause_job" Post "/v1/jobs/{id}/pause" { path: crate::job::JobPath, query: WriteQuery, reply: Written<Job>, status: 202 }
    /// Lets an evacuation that rests go on.
    ResumeJob = "resume_job" Post "/v1/jobs/{id}/resume" { path: crate::job::JobPath, query: WriteQuery, reply: Written<Job>, status: 202 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reads_as_a_person_writes_it() {
        let window: DailyWindow = "22:30-06:00".parse().unwrap();
        assert_eq!((window.from_minute, window.to_minute), (1350, 360));
        for wrong in ["", "22:00", "24:00-06:00", "22:60-06:00", "6:00-7:00", "06:00-06:00", "a-b", "+1:00-02:00"] {
            assert!(wrong.parse::<DailyWindow>().is_err(), "{wrong}");
        }
    }
}
