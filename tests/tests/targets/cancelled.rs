//! Jobs of several steps that are cancelled at each of their borders, before a step and while it is at work: they end, nothing
//! else begins, and the same asked for again takes up what is left.

use std::collections::BTreeSet;

use lustre_api::job::JobState;
use serde_json::Value;

use crate::killed::boundary;
use crate::site::Site;

impl Site {
    /// Asks for a job as often as it has borders, and cancels it at the next one each time, until one goes through.
    fn cancel_at_every_border(&self, ask: impl Fn(&Self, usize) -> Value) -> BTreeSet<String> {
        let mut hit = BTreeSet::new();
        for nth in 0.. {
            self.hold_back(true);
            let id = ask(self, nth)["job"].as_str().unwrap().to_owned();
            let mut is_at_work = false;
            let mut passed = 0;
            loop {
                let job = self.comes_to(&id, is_at_work);
                if job.state.is_final() {
                    self.hold_back(false);
                    assert_eq!(job.state, JobState::Done, "{job:#?}");
                    return hit;
                }
                if passed == nth {
                    hit.insert(boundary(&job));
                    break;
                }
                passed += 1;
                if is_at_work {
                    self.hold_back(true);
                }
                let signal = if is_at_work { testkit::Agent::thaw } else { testkit::Agent::freeze };
                self.cluster.agents.iter().for_each(|agent| signal(agent).unwrap());
                if !is_at_work {
                    self.hold_back(false);
                }
                is_at_work = !is_at_work;
            }
            self.cluster.mgsctl(&["job", "cancel", &id]).unwrap();
            self.cluster.agents.iter().for_each(|agent| agent.thaw().unwrap());
            self.hold_back(false);
            let shown = || self.cluster.mgsctl(&["job", "show", &id]).unwrap();
            self.cluster.wait_for(&format!("{id} to end"), || Ok(!shown()["ended"].is_null())).unwrap();
            let job = shown();
            let steps: Vec<&str> =
                job["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
            // Whose last step was done meanwhile has done everything.
            let expected = if steps.iter().all(|state| *state == "done") { "done" } else { "cancelled" };
            assert_eq!(job["state"], expected, "{job:#}");
            assert!(steps.iter().all(|state| ["done", "cancelled", "queued"].contains(state)), "{job:#}");
        }
        hit
    }

    /// As a person does behind a cancel; no step begins afterwards.
    fn start_what_is_stopped(&self, targets: &[&str]) {
        self.hold_back(false);
        for svname in targets {
            if self.target(svname)["state"] != "started" {
                self.cluster.mgsctl(&["target", "start", svname]).unwrap();
                self.reaches(svname, "started");
            }
        }
        self.hold_back(true);
    }
}

#[test]
fn a_writeconf_is_cancelled_at_every_border_and_the_next_one_goes_through() {
    let site = Site::with_osts(1);
    site.cluster.mgsctl(&["param", "set", "scratch", "timeout", "47"]).unwrap();
    let hit = site.cancel_at_every_border(|site, _| site.cluster.mgsctl(&["fs", "writeconf", "scratch"]).unwrap());
    assert!(hit.len() >= 6, "{hit:#?}");
    for (node, svname) in [("mds1", "scratch-MDT0000"), ("oss1", "scratch-OST0000")] {
        assert_eq!(site.target(svname)["state"], "started");
        assert_eq!(site.on_node(node, svname).formatted_as.label, svname, "registered again: the mark is gone");
    }
    site.has_param("mds1", "scratch-MDT0000", "sys.timeout", "47");
}

#[test]
fn replaced_nids_are_cancelled_at_every_border_and_the_last_ones_are_written() {
    let site = Site::with_osts(1);
    let svname = "scratch-OST0000";
    let nid = |nth: usize| format!("127.0.0.{}@tcp", 100 + nth);
    let asked = std::cell::Cell::new(0);
    let hit = site.cancel_at_every_border(|site, nth| {
        asked.set(nth);
        site.start_what_is_stopped(&["scratch-MDT0000", svname]);
        site.cluster.mgsctl(&["target", "replace-nids", svname, &nid(nth)]).unwrap()
    });
    assert!(hit.len() >= 4, "{hit:#?}");
    assert_eq!(site.target(svname)["state"], "started");
    let log = site.cluster.mgsctl(&["log", "show", "scratch-MDT0000"]).unwrap().to_string();
    assert!(log.contains(&nid(asked.get())) && !log.contains("127.0.0.3@tcp"), "{log}");
}

#[test]
fn a_move_is_cancelled_at_every_border_and_the_target_is_started_where_it_was_last_or_moved() {
    let site = Site::on(&["mds1", "oss1", "oss2"]);
    site.ensure("mds1", "mdt", "mdt0", 300 * crate::site::MIB);
    let device = site.cluster.agent("oss1").loop_device("shared", 80 * crate::site::MIB).unwrap();
    site.ensure_on("oss1", "ost", device.path(), &serde_json::json!({"failover_nodes": ["127.0.0.4@tcp"]}));
    let svname = "scratch-OST0000";
    let hit = site.cancel_at_every_border(|site, _| {
        site.start_what_is_stopped(&[svname]);
        let place = if site.target(svname)["runs_on"].is_null() { "oss2" } else { "oss1" };
        site.cluster.mgsctl(&["target", "move", svname, place]).unwrap()
    });
    assert!(hit.len() >= 4, "{hit:#?}");
    assert_eq!(site.target(svname)["state"], "started");
    let running = ["oss1", "oss2"].map(|node| site.on_node(node, svname).running.is_some());
    assert!(running[0] != running[1], "it runs on one node: {running:?}");
}
