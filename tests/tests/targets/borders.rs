//! Evacuations that are held at each of their borders, lose the MGS and all agents there to SIGKILL, and are cancelled: what is
//! left is what docs/operations.md says, and another one goes on from there.
//!
//! A drained node keeps a step from beginning, a frozen agent and a file that takes long keep it at work.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::site::Site;

const OST: &str = "scratch-OST0001";
/// Where the client is, and where the OST.
const CLIENT: &str = "mds1";
const SERVER: &str = "oss1";

/// A border: the step that is held, and whether before it or at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Border {
    Before(&'static str),
    At(&'static str),
    /// In the middle of moving, let rest by a person.
    Rests,
}

use Border::{At, Before, Rests};

/// All that last: what the MGS does itself is one commit, and no time to cancel.
const BORDERS: [Border; 7] =
    [Before("migrate"), At("migrate"), Rests, Before("verify"), At("verify"), Before("stop"), At("stop")];

/// An evacuation that is held.
struct Held<'a> {
    site: &'a mut Site,
    mount: &'a Path,
    id: String,
}

impl Held<'_> {
    fn node(&self, verb: &str, node: &str) {
        self.site.cluster.mgsctl(&["node", verb, node]).unwrap();
    }

    fn step(&self, kind: &str) -> Value {
        let job = self.job();
        let steps = job["steps"].as_array().unwrap();
        steps.iter().find(|step| step["kind"] == kind).unwrap_or_else(|| panic!("no step {kind}: {job:#}")).clone()
    }

    fn job(&self) -> Value {
        self.site.cluster.mgsctl(&["job", "show", &self.id]).unwrap()
    }

    /// Waits until the step is `queued`, `running` or over while everything before it is done.
    fn comes_to(&self, kind: &str, state: &str) {
        let is_there = || {
            let job = self.job();
            assert!(job["ended"].is_null(), "it ended before {kind} was {state}: {job:#}");
            let steps = job["steps"].as_array().unwrap();
            let at = steps.iter().position(|step| step["kind"] == kind).unwrap();
            Ok(steps[..at].iter().all(|step| step["state"] == "done") && steps[at]["state"] == state)
        };
        self.site.cluster.wait_for(&format!("{kind} to be {state}"), is_there).unwrap();
    }

    /// Brings it to a border and keeps it there.
    fn comes_to_border(&mut self, border: Border) {
        let slow = self.mount.join("ost1/z slow");
        match border {
            // The client was drained before it was asked for.
            Before("migrate") => self.comes_to("migrate", "queued"),
            At("migrate") | Rests => {
                self.node("undrain", CLIENT);
                self.comes_to("migrate", "running");
                let first = self.mount.join("elsewhere/a");
                self.site.cluster.wait_for("the first file to be moved", || Ok(first.exists())).unwrap();
                if border == Rests {
                    self.site.cluster.mgsctl(&["job", "pause", &self.id]).unwrap();
                    self.comes_to("migrate", "queued");
                }
            }
            Before("verify") | At("verify") => {
                fs::remove_file(&slow).unwrap();
                // What was begun goes on when a node is drained: the search behind the moves takes long enough for that.
                let bin = self.site.cluster.agent(CLIENT).bin().unwrap();
                let searches = || {
                    let asked = fs::read_to_string(bin.join("asked")).unwrap_or_default();
                    asked.lines().filter(|line| line.starts_with("find ")).count()
                };
                let before = searches();
                fs::write(bin.join("slow-find"), "").unwrap();
                self.node("undrain", CLIENT);
                self.site.cluster.wait_for("the search behind the moves", || Ok(searches() == before + 2)).unwrap();
                self.node("drain", CLIENT);
                fs::remove_file(bin.join("slow-find")).unwrap();
                self.comes_to("verify", "queued");
                if border == At("verify") {
                    self.site.cluster.agent(CLIENT).freeze().unwrap();
                    self.node("undrain", CLIENT);
                    self.comes_to("verify", "running");
                }
            }
            Before("stop") | At("stop") => {
                fs::remove_file(&slow).unwrap();
                self.node("drain", SERVER);
                self.node("undrain", CLIENT);
                self.comes_to("stop", "queued");
                if border == At("stop") {
                    self.site.cluster.agent(SERVER).freeze().unwrap();
                    self.node("undrain", SERVER);
                    self.comes_to("stop", "running");
                }
            }
            Before(_) | At(_) => unreachable!("no such border"),
        }
    }
}

fn param(site: &Site, name: &str) -> Option<String> {
    let all = site.cluster.mgsctl(&["param", "list", "scratch"]).unwrap();
    let is_it = |param: &&Value| param["name"] == name && param["scope"] == OST;
    all.as_array().unwrap().iter().find(is_it).map(|param| param["value"].as_str().unwrap().to_owned())
}

fn begin(site: &Site, mount: &Path) -> String {
    let mount = mount.to_str().unwrap();
    let asked = ["target", "evacuate", OST, "--client", CLIENT, "--mountpoint", mount];
    site.cluster.mgsctl(&asked).unwrap()["job"].as_str().unwrap().to_owned()
}

/// As it is after a cancel.
fn is_taken_back(site: &Site, border: Border, job: &Value) {
    assert_eq!(job["state"], "cancelled", "{border:?}: {job:#}");
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("the OST takes new files again"), "{border:?}: {error}");
    assert_eq!(param(site, "obdfilter.*.no_create").as_deref(), Some("0"), "{border:?}");
    let is_deactivated = matches!(border, Before("verify" | "stop") | At("verify" | "stop"));
    assert_eq!(error.contains("the OST is active again"), is_deactivated, "{border:?}: {error}");
    assert!(param(site, "osc.*.active").is_none_or(|active| active == "1"), "{border:?}");
    let members = &site.cluster.mgsctl(&["pool", "show", "scratch", "flash"]).unwrap()["members"];
    let has_left = matches!(border, Before("stop") | At("stop"));
    let expected = if has_left { json!(["scratch-OST0000"]) } else { json!(["scratch-OST0000", OST]) };
    assert_eq!(*members, expected, "{border:?}");
    let state = site.target(OST)["state"].as_str().unwrap().to_owned();
    let may_be: &[&str] = if border == At("stop") { &["stopped", "started"] } else { &["started"] };
    assert!(may_be.contains(&state.as_str()), "{border:?}: {state}");
}

#[test]
fn an_evacuation_is_cancelled_at_every_border_also_behind_a_crash_of_everything_and_another_goes_through() {
    let mut site = Site::with_osts(2);
    let mount: PathBuf = crate::operations::fake_client(&site, CLIENT);
    for border in BORDERS {
        println!("{border:?}");
        let _ = fs::remove_dir_all(mount.join("elsewhere"));
        for name in ["a", "z slow"] {
            fs::write(mount.join("ost1").join(name), "12345").unwrap();
        }
        site.cluster.mgsctl(&["pool", "set", "scratch", "flash", "scratch-OST0000", OST]).unwrap();
        site.cluster.mgsctl(&["node", "drain", CLIENT]).unwrap();
        let id = begin(&site, &mount);
        let mut held = Held { site: &mut site, mount: &mount, id: id.clone() };
        held.comes_to_border(border);
        assert_eq!(param(held.site, "obdfilter.*.no_create").as_deref(), Some("1"), "{border:?}");
        let is_frozen = matches!(border, At("verify" | "stop"));
        // Whoever is at work dies with what it knows; frozen agents die when everything is cancelled.
        held.site.cluster.mgs.crash_and_restart().unwrap();
        if !is_frozen {
            for node in [CLIENT, SERVER] {
                held.site.cluster.agent_mut(node).crash_and_restart().unwrap();
            }
        }
        let at = match border {
            Before(kind) | At(kind) => kind,
            Rests => "migrate",
        };
        assert!(["queued", "running"].contains(&held.step(at)["state"].as_str().unwrap()), "{:#}", held.job());
        if border == Rests {
            // Rests through all of that, and goes on and rests again.
            assert!(held.step("migrate")["message"].as_str().unwrap().starts_with("rests"), "{:#}", held.job());
            held.site.cluster.mgsctl(&["job", "resume", &id]).unwrap();
            held.comes_to("migrate", "running");
            held.site.cluster.mgs.crash_and_restart().unwrap();
            held.site.cluster.mgsctl(&["job", "pause", &id]).unwrap();
            held.comes_to("migrate", "queued");
        }
        held.site.cluster.mgsctl(&["job", "cancel", &id]).unwrap();
        if is_frozen {
            for node in [CLIENT, SERVER] {
                held.site.cluster.agent_mut(node).crash_and_restart().unwrap();
            }
        }
        held.site.cluster.wait_for("it to end", || Ok(!held.job()["ended"].is_null())).unwrap();
        let job = held.job();
        is_taken_back(&site, border, &job);
        let was_moved = !matches!(border, Before("migrate"));
        assert_eq!(mount.join("elsewhere/a").exists(), was_moved, "{border:?}: what was moved stays where it is");
        for node in [CLIENT, SERVER] {
            site.cluster.mgsctl(&["node", "undrain", node]).unwrap();
        }
        if site.target(OST)["state"] == "stopped" {
            site.cluster.mgsctl(&["target", "start", OST]).unwrap();
            site.reaches(OST, "started");
        }
    }
    let _ = fs::remove_file(mount.join("ost1/z slow"));
    fs::write(mount.join("ost1/b"), "12345").unwrap();
    let id = begin(&site, &mount);
    let job = || site.cluster.mgsctl(&["job", "show", &id]).unwrap();
    site.cluster.wait_for("the last one to end", || Ok(!job()["ended"].is_null())).unwrap();
    assert_eq!(job()["state"], "done", "{:#}", job());
    assert!(mount.join("elsewhere/b").exists());
    let targets = site.cluster.mgsctl(&["target", "list"]).unwrap().to_string();
    assert!(!targets.contains(OST), "{targets}");
}
