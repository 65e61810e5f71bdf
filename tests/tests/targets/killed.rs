//! The MGS is killed between the commits of a job, as a process, with SIGKILL: before and behind each step, and while each is
//! at work. The next one goes on, and what must run once runs once.
//!
//! A maintenance window keeps a job between its steps, and a frozen agent keeps it in a step, for as long as it takes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lustre_api::job::{Job, JobState};
use serde_json::json;

use crate::site::{MIB, Site};

/// Where a job is between two commits, as in `running: done, running, queued`.
pub(crate) fn boundary(job: &Job) -> String {
    let steps: Vec<&str> = job.steps.iter().map(|step| step.state.as_str()).collect();
    format!("{}: {}", job.state.as_str(), steps.join(", "))
}

impl Site {
    /// Lets steps begin on no node, or on all: their maintenance window is hours away, or always. To a drained node nothing
    /// would be moved.
    pub(crate) fn hold_back(&self, is_held: bool) {
        let hours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600;
        let window = format!("{:02}:00-{:02}:00", (hours + 6) % 24, (hours + 7) % 24);
        let windows: &[&str] = if is_held { &["--window", &window] } else { &[] };
        for agent in &self.cluster.agents {
            self.cluster.mgsctl(&[&["node", "schedule", &agent.node], windows].concat()).unwrap();
        }
    }

    /// Waits until a job is over, or so that none of its steps is at work, or one is.
    pub(crate) fn comes_to(&self, id: &str, is_at_work: bool) -> Job {
        let job = || -> Job { serde_json::from_value(self.cluster.mgsctl(&["job", "show", id]).unwrap()).unwrap() };
        let is_there = |job: &Job| {
            let at_work = job.steps.iter().any(|step| step.state == JobState::Running);
            job.state.is_final() || at_work == is_at_work
        };
        self.cluster.wait_for(&format!("{id} to be at work: {is_at_work}"), || Ok(is_there(&job()))).unwrap();
        job()
    }

    /// Kills the MGS wherever the job of a drained file system can be; gives it when it is over, and where that was.
    fn kill_between_steps_and_within(&mut self, id: &str) -> (Job, BTreeSet<String>) {
        let mut hit = BTreeSet::new();
        loop {
            for is_at_work in [false, true] {
                let job = self.comes_to(id, is_at_work);
                if job.state.is_final() {
                    return (job, hit);
                }
                hit.insert(boundary(&job));
                if is_at_work {
                    // What the next MGS finds must not begin more by itself.
                    self.hold_back(true);
                }
                self.cluster.mgs.crash_and_restart().unwrap();
                let signal = if is_at_work { testkit::Agent::thaw } else { testkit::Agent::freeze };
                self.cluster.agents.iter().for_each(|agent| signal(agent).unwrap());
                if !is_at_work {
                    self.hold_back(false);
                }
            }
        }
    }
}

/// Counts each run of mke2fs that writes, and runs it.
fn count_formats(site: &Site, node: &str) {
    let wrapper = site.cluster.agent(node).bin().unwrap().join("mke2fs");
    let log = site.cluster.dir().join("formats");
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\ncase \"$*\" in *image*) echo \"$*\" >> {} ;; esac\nexec mke2fs \"$@\"\n",
        log.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn formats_of(site: &Site, image: &Path) -> usize {
    let log = std::fs::read_to_string(site.cluster.dir().join("formats")).unwrap_or_default();
    log.lines().filter(|line| line.contains(image.to_str().unwrap())).count()
}

fn ran_once(job: &Job) {
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert!(job.steps.iter().all(|step| step.attempts == 1 && step.earlier.is_empty()), "{job:#?}");
}

#[test]
fn a_target_is_formatted_started_and_registered_once_wherever_the_mgs_is_killed() {
    let mut site = Site::start();
    count_formats(&site, "oss1");
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let image = site.cluster.agent("oss1").image("ost0", 80 * MIB).unwrap();
    site.hold_back(true);
    let (svname, job) = site.begin_ensure("oss1", "ost", &image);
    let (job, hit) = site.kill_between_steps_and_within(&job);
    ran_once(&job);
    // The registration is the MGS's own: it begins and ends with one commit, which ends the job.
    let expected = [
        "queued: queued, queued, queued",
        "running: running, queued, queued",
        "running: done, queued, queued",
        "running: done, running, queued",
    ];
    assert_eq!(hit, expected.map(str::to_owned).into());
    assert_eq!(formats_of(&site, &image), 1, "one mke2fs");
    assert_eq!(site.target(&svname)["state"], "started");
    assert_eq!(site.on_node("oss1", &svname).running.map(|running| running.instance), Some(1), "started once");
}

#[test]
fn a_writeconf_goes_through_once_wherever_the_mgs_is_killed() {
    let mut site = Site::with_osts(2);
    site.hold_back(true);
    let started = site.cluster.mgsctl(&["fs", "writeconf", "scratch"]).unwrap();
    let (job, hit) = site.kill_between_steps_and_within(started["job"].as_str().unwrap());
    ran_once(&job);
    // Five waves of steps: before each, and within.
    assert!(hit.len() >= 10, "killed {} times: {hit:#?}", hit.len());
    for (node, svname) in [("mds1", "scratch-MDT0000"), ("oss1", "scratch-OST0000"), ("oss1", "scratch-OST0001")] {
        let found = site.on_node(node, svname);
        assert_eq!(found.formatted_as.label, svname, "registered again: the mark is gone");
        let instance = found.running.map(|running| running.instance);
        assert_eq!(instance, Some(2), "{svname} was started once more, and once only");
    }
    let jobs = site.cluster.mgsctl(&["job", "list", "--all"]).unwrap();
    let writeconfs = jobs.as_array().unwrap().iter().filter(|job| job["kind"] == json!("writeconf")).count();
    assert_eq!(writeconfs, 1);
}
