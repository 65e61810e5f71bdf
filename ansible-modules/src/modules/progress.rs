//! How far the jobs are, for the person who waits.
//!
//! A module's result is one JSON object at its end. While it waits, lines on standard error tell about the jobs; the action
//! plugin shows them where it runs the program itself, and asks for them by [`ASKED_FOR`]. Nobody else gets them.

use std::io::Write;
use std::time::{Duration, Instant};

use lustre_api::job::{Job, JobState, Step, StepKind};

/// The environment variable that asks for progress.
const ASKED_FOR: &str = "LUSTRE_MODULES_PROGRESS";
/// What each line begins with; the rest is for people.
const PREFIX: &str = "@lustre-modules progress ";
/// News of the same job come no faster.
const PACE: Duration = Duration::from_secs(2);

/// Tells about jobs: each one's end, and what is going on in between.
pub(super) struct Progress {
    is_wanted: bool,
    last: Option<(Instant, String)>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_wanted: std::env::var_os(ASKED_FOR).is_some_and(|value| value == "1"), last: None }
    }

    /// `job` is number `n` (from 0) of `count`.
    pub(super) fn tell(&mut self, job: &Job, n: usize, count: usize) {
        if !self.is_wanted || job.state == JobState::Failed {
            return; // The failure itself says more.
        }
        let now = Instant::now();
        let is_due = self.last.as_ref().is_none_or(|(told, _)| now.duration_since(*told) >= PACE);
        let line = line(job, n, count);
        if (is_due || job.state.is_final()) && self.last.as_ref().is_none_or(|(_, last)| *last != line) {
            // Nobody may be there to read: then the jobs go on all the same.
            let _ = writeln!(std::io::stderr(), "{PREFIX}{line}");
            self.last = Some((now, line));
        }
    }
}

/// As in `scratch-OST0001: formatting /dev/sdb, writing inode tables, 40 % (2 of 8)`.
fn line(job: &Job, n: usize, count: usize) -> String {
    let mut text = format!("{}: ", job.object);
    match job.steps.iter().find(|step| !step.state.is_final()) {
        Some(step) if !job.state.is_final() => text += &what(step),
        _ => text += job.state.as_str(),
    }
    if count > 1 {
        text += &format!(" ({} of {count})", n + 1);
    }
    text
}

fn what(step: &Step) -> String {
    let doing = match step.kind {
        StepKind::Format => "formatting",
        StepKind::Start => "starting",
        StepKind::Stop => "stopping",
        StepKind::Register => "registering",
        StepKind::Deregister => "deregistering",
        StepKind::Job => "waiting for another job",
        StepKind::LoadProxy => "loading the kernel proxy",
        StepKind::UnloadProxy => "unloading the kernel proxy",
        StepKind::Tune => "changing what its device says",
        StepKind::ReplaceNids => "writing other NIDs",
        StepKind::NoCreate => "keeping new files off",
        StepKind::Migrate => "moving files",
        StepKind::Deactivate => "deactivating",
        StepKind::Verify => "looking for files",
        StepKind::LeavePools => "leaving its pools",
        StepKind::SetParam => "setting it",
        StepKind::KeepParam => "keeping it",
        StepKind::Relabel => "writing its label",
        StepKind::FailoverNodes => "writing its partner nodes",
        StepKind::Scan => "looking at devices",
    };
    let mut text = match (&step.node, step.state) {
        (Some(node), JobState::Queued) => format!("{doing}, waiting for {node}"),
        _ => doing.to_owned(),
    };
    if let Some(progress) = &step.progress {
        text += &format!(", {}", progress.phase);
        if let Some(percent) = progress.percent() {
            text += &format!(", {percent} %");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, step_state: &str) -> Job {
        serde_json::from_value(serde_json::json!({
            "id": "ensure-1", "kind": "ensure_target", "svname": "scratch-OST0001", "state": state, "who": "root",
            "created": "2026-01-01T00:00:00Z", "version": 3,
            "steps": [
                {"kind": "format", "node": "oss1", "state": step_state, "attempts": 1, "progress": {
                    "phase": "writing inode tables", "done": 2, "total": 5, "unit": "groups", "at": "2026-01-01T00:00:00Z",
                }},
                {"kind": "register", "state": "queued"},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_line_says_which_target_what_and_how_much() {
        assert_eq!(
            line(&job("running", "running"), 1, 8),
            "scratch-OST0001: formatting, writing inode tables, 40 % (2 of 8)"
        );
        assert_eq!(line(&job("running", "done"), 0, 1), "scratch-OST0001: registering");
        assert_eq!(line(&job("done", "done"), 0, 1), "scratch-OST0001: done");
    }
}
