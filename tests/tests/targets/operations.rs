//! Operations on a running file system: written anew, moved, renumbered, emptied.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::site::{MIB, Site};

impl Site {
    pub(crate) fn do_it(&self, arguments: &[&str]) -> Value {
        self.cluster.mgsctl(arguments).unwrap()
    }

    /// Waits until a job is over; gives it.
    pub(crate) fn end_of(&self, started: &Value) -> Value {
        let id = started["job"].as_str().unwrap_or_else(|| panic!("no job: {started}")).to_owned();
        self.cluster.wait_for(&format!("{id} to end"), || Ok(!self.job(&id)["ended"].is_null())).unwrap();
        self.job(&id)
    }

    fn job(&self, id: &str) -> Value {
        self.do_it(&["job", "show", id])
    }

    /// What a person described must be there; nothing is left to do.
    fn plan_is_empty(&self, targets: &[(&str, &str, &str, &Path)]) {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(kind, index, node, device)| {
                let index: u32 = index.parse().unwrap();
                json!({"target": {"kind": kind, "filesystem": "scratch", "index": index, "node": node, "device": device}})
            })
            .collect();
        let params = json!([{"filesystem": "scratch", "scope": "filesystem", "name": "timeout", "value": "47"}]);
        let pools = json!([{"filesystem": "scratch", "name": "flash", "members": ["scratch-OST0001"]}]);
        let filesystems = json!([{"name": "scratch"}]);
        let desired = json!({"filesystems": filesystems, "targets": targets, "params": params, "pools": pools});
        let file = self.cluster.dir().join("desired.json");
        fs::write(&file, desired.to_string()).unwrap();
        let plan = self.do_it(&["plan", file.to_str().unwrap()]);
        assert_eq!(plan["changes"].as_array().map(Vec::len), Some(0), "{plan:#}");
    }
}

fn kinds(job: &Value) -> Vec<String> {
    let steps = job["steps"].as_array().unwrap();
    let name = |step: &Value| format!("{} {}", step["kind"].as_str().unwrap(), step["svname"].as_str().unwrap_or("-"));
    steps.iter().map(name).collect()
}

#[test]
fn after_a_writeconf_everything_is_back_and_nothing_was_replayed_by_hand() {
    let site = Site::start();
    let mdt = site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let [ost0, ost1] = ["ost0", "ost1"].map(|image| site.ensure("oss1", "ost", image, 80 * MIB));
    site.do_it(&["param", "set", "scratch", "timeout", "47"]);
    site.do_it(&["param", "set", "scratch", "obdfilter.*.brw_size", "4M", "--scope", "scratch-OST0001"]);
    site.do_it(&["pool", "set", "scratch", "flash", "scratch-OST0001"]);
    let before = site.do_it(&["log", "show", "scratch-client"]);

    let shown = site.do_it(&["fs", "writeconf", "scratch", "--dry-run"]);
    let steps = [
        "stop scratch-MDT0000",
        "stop scratch-OST0000",
        "stop scratch-OST0001",
        "tune scratch-MDT0000",
        "tune scratch-OST0000",
        "tune scratch-OST0001",
        "start scratch-MDT0000",
        "start scratch-OST0000",
        "start scratch-OST0001",
    ];
    assert_eq!(kinds(&shown["object"]), steps);
    assert_eq!(shown["object"]["steps"][7]["after"], json!([6]), "OSTs wait for the first MDT");
    assert!(shown["warnings"][0].as_str().unwrap().contains("every client must have unmounted scratch"), "{shown}");
    assert_eq!(site.target("scratch-OST0000")["state"], "started", "a dry run does nothing");

    let job = site.end_of(&site.do_it(&["fs", "writeconf", "scratch"]));
    assert_eq!((job["state"].as_str(), kinds(&job)), (Some("done"), steps.map(str::to_owned).to_vec()), "{job:#}");
    for (node, svname) in [("mds1", "scratch-MDT0000"), ("oss1", "scratch-OST0000"), ("oss1", "scratch-OST0001")] {
        assert_eq!(site.target(svname)["state"], "started");
        let found = site.on_node(node, svname);
        assert_eq!(found.formatted_as.label, svname, "registered again: the mark is gone");
        assert_eq!(found.running.unwrap().instance, 2);
    }
    site.has_param("oss1", "scratch-OST0001", "ost.brw_size", "4M");
    site.has_param("mds1", "scratch-MDT0000", "sys.timeout", "47");
    let sections = |log: &Value| {
        let text = log.to_string();
        ["add_pool", "sys.timeout=47", "scratch-OST0001_UUID", "127.0.0.3@tcp"]
            .map(|part| text.matches(part).count() > 0)
    };
    let after = site.do_it(&["log", "show", "scratch-client"]);
    assert_ne!(before, after, "it was written anew");
    assert_eq!((sections(&before), sections(&after)), ([true; 4], [true; 4]), "{after:#}");
    let (mdt, ost0, ost1) = (mdt.as_path(), ost0.as_path(), ost1.as_path());
    let targets = [("mdt", "0", "mds1", mdt), ("ost", "0", "oss1", ost0), ("ost", "1", "oss1", ost1)];
    site.plan_is_empty(&targets);
}

#[test]
fn a_file_system_grows_by_one_job_with_a_part_for_each_ost() {
    let site = Site::with_osts(0);
    let images = ["a", "b", "c"].map(|name| site.cluster.agent("oss1").image(name, 80 * MIB).unwrap());
    let devices = images.each_ref().map(|image| format!("oss1:{}", image.display()));
    let [a, b, c] = devices.each_ref().map(String::as_str);
    let shown = site.do_it(&["fs", "grow", "scratch", a, b, c, "--at-once", "2", "--dry-run"]);
    assert_eq!(kinds(&shown["object"]), ["job scratch-OST0000", "job scratch-OST0001", "job scratch-OST0002"]);
    let digest = shown["object"]["digest"].as_str().unwrap().to_owned();
    let refused = site.cluster.mgsctl(&["fs", "grow", "scratch", a, b, "--plan", &digest]).unwrap_err().to_string();
    assert!(refused.contains("another job by now"), "{refused}");

    let started = site.do_it(&["fs", "grow", "scratch", a, b, c, "--at-once", "2", "--plan", &digest]);
    let job = site.end_of(&started);
    assert_eq!(job["state"], "done", "{job:#}");
    for index in 0..3 {
        let svname = format!("scratch-OST000{index}");
        assert_eq!(site.target(&svname)["state"], "started");
        assert_eq!(site.on_node("oss1", &svname).running.unwrap().instance, 1);
    }
    let parts = site.do_it(&["job", "list", "--all", "--parent", job["id"].as_str().unwrap()]);
    assert_eq!(parts.as_array().map(Vec::len), Some(3), "{parts:#}");
    let refused = site.cluster.mgsctl(&["fs", "grow", "scratch", a, b, c]).unwrap_err().to_string();
    assert!(refused.contains("all 3 targets are in the configuration"), "{refused}");
    let refused = site.cluster.mgsctl(&["fs", "grow", "scratch", "sdb"]).unwrap_err().to_string();
    assert!(refused.contains("NODE:DEVICE"), "{refused}");
}

#[test]
fn a_target_moves_to_its_partner_and_back() {
    let site = Site::on(&["mds1", "oss1", "oss2"]);
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let device = site.cluster.agent("oss1").loop_device("shared", 80 * MIB).unwrap();
    let partner = json!({"failover_nodes": ["127.0.0.4@tcp"]});
    site.ensure_on("oss1", "ost", device.path(), &partner);
    let svname = "scratch-OST0000";
    let refused = site.cluster.mgsctl(&["target", "move", svname, "mds1"]).unwrap_err().to_string();
    assert!(refused.contains("mds1 is no node of scratch-OST0000"), "{refused}");
    let refused = site.cluster.mgsctl(&["target", "move", svname, "--node-is-down"]).unwrap_err().to_string();
    assert!(refused.contains("was heard of a moment ago"), "{refused}");

    let job = site.end_of(&site.do_it(&["target", "move", svname]));
    assert_eq!(job["state"], "done", "{job:#}");
    let target = site.target(svname);
    let place = ["state", "node", "runs_on"].map(|field| target[field].as_str().unwrap_or("-").to_owned());
    assert_eq!(place, ["started", "oss1", "oss2"], "{target:#}");
    let nids = site.on_node("oss2", svname).running.map(|running| running.instance);
    assert_eq!(nids, Some(1), "it runs there");
    assert!(site.on_node("oss1", svname).running.is_none(), "and nowhere else");
    // Stop and start go to where it is.
    site.end_of(&site.do_it(&["target", "stop", svname]));
    assert!(site.on_node("oss2", svname).running.is_none());

    let job = site.end_of(&site.do_it(&["target", "move", svname, "oss1"]));
    assert_eq!(job["state"], "done", "{job:#}");
    assert!(site.target(svname)["runs_on"].is_null());
    assert!(site.on_node("oss1", svname).running.is_some());
    let refused = site.cluster.mgsctl(&["target", "move", svname, "oss1"]).unwrap_err().to_string();
    assert!(refused.contains("is on oss1 already"), "{refused}");
}

#[test]
fn replaced_nids_reach_who_reads_the_logs() {
    let site = Site::with_osts(1);
    assert!(site.read().to_string().contains("127.0.0.3@tcp"));
    let job = site.end_of(&site.do_it(&["target", "replace-nids", "scratch-OST0000", "127.0.0.77@tcp:127.0.0.78@tcp"]));
    assert_eq!(job["state"], "done", "{job:#}");
    let expected = [
        "stop scratch-MDT0000",
        "stop scratch-OST0000",
        "replace_nids scratch-OST0000",
        "start scratch-MDT0000",
        "start scratch-OST0000",
    ];
    assert_eq!(kinds(&job), expected);
    // As a client reads it now, over the network.
    let read = site.read().to_string();
    assert!(read.contains("127.0.0.77@tcp") && read.contains("127.0.0.78@tcp"), "{read}");
    let log = site.do_it(&["log", "show", "scratch-MDT0000"]).to_string();
    assert!(log.contains("127.0.0.77@tcp") && !log.contains("127.0.0.3@tcp"), "{log}");
    assert_eq!(site.target("scratch-OST0000")["state"], "started");
}

#[test]
fn nids_that_nobody_confirms_are_put_back_by_another_job() {
    let site = Site::with_osts(1);
    let svname = "scratch-OST0000";
    let asked = site.do_it(&["target", "replace-nids", svname, "127.0.0.77@tcp", "--confirm-within", "10"]);
    assert!(asked["warnings"].to_string().contains("mgsctl target confirm scratch-OST0000"), "{asked:#}");
    site.end_of(&asked);
    assert!(site.read().to_string().contains("127.0.0.77@tcp"));
    assert!(site.target(svname)["confirm_until"].is_string(), "{:#}", site.target(svname));
    let is_done = |job: &Value| job["kind"] == "replace_nids" && job["state"] == "done";
    let jobs = || site.cluster.mgsctl(&["job", "list", "--all"]);
    let done = || Ok(jobs()?.as_array().map_or(0, |jobs| jobs.iter().filter(|job| is_done(job)).count()) == 2);
    site.cluster.wait_for("a second job to have put them back", done).unwrap();
    let read = site.read().to_string();
    assert!(read.contains("127.0.0.3@tcp") && !read.contains("127.0.0.77@tcp"), "{read}");
    assert!(site.target(svname)["confirm_until"].is_null());
    assert_eq!(site.target(svname)["state"], "started");
}

/// A client whose files lie in a directory, with a stand-in for `lfs`: what the engine and the commands do with a real one
/// was never run.
pub(crate) fn fake_client(site: &Site, node: &str) -> PathBuf {
    let bin = site.cluster.agent(node).bin().unwrap();
    fs::copy(testkit::repository().join("agent/testdata/lfs"), bin.join("lfs")).unwrap();
    let mount = site.cluster.dir().join("mnt");
    fs::create_dir_all(mount.join("ost1")).unwrap();
    fs::write(mount.join(".fsname"), "scratch").unwrap();
    mount
}

fn evacuate(site: &Site, mount: &Path) -> Value {
    let mount = mount.to_str().unwrap();
    site.do_it(&["target", "evacuate", "scratch-OST0001", "--client", "mds1", "--mountpoint", mount])
}

#[test]
fn an_evacuated_ost_is_empty_and_gone() {
    let site = Site::with_osts(2);
    let mount = fake_client(&site, "mds1");
    for name in ["a", "b c", "d"] {
        fs::write(mount.join("ost1").join(name), "12345").unwrap();
    }
    site.do_it(&["pool", "set", "scratch", "flash", "scratch-OST0000", "scratch-OST0001"]);
    let job = site.end_of(&evacuate(&site, &mount));
    assert_eq!(job["state"], "done", "{job:#}");
    let done: Vec<&str> = job["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(done, ["no_create", "migrate", "deactivate", "verify", "leave_pools", "stop", "deregister"]);
    let said = job["steps"][1]["message"].as_str().unwrap();
    assert!(said.contains("3 files of 15 bytes moved"), "{said}");
    assert_eq!(fs::read_dir(mount.join("elsewhere")).unwrap().count(), 3);
    let targets = site.do_it(&["target", "list"]).to_string();
    assert!(targets.contains("scratch-OST0000") && !targets.contains("scratch-OST0001"), "{targets}");
    assert_eq!(site.do_it(&["pool", "show", "scratch", "flash"])["members"], json!(["scratch-OST0000"]));
    assert!(site.on_node("oss1", "scratch-OST0001").running.is_none(), "stopped, and its device as it was");
}

#[test]
fn an_evacuation_rests_goes_on_and_is_taken_back() {
    let site = Site::with_osts(2);
    let mount = fake_client(&site, "mds1");
    fs::write(mount.join("ost1/a"), "12345").unwrap();
    fs::write(mount.join("ost1/b slow"), "12345").unwrap();
    let id = evacuate(&site, &mount)["job"].as_str().unwrap().to_owned();
    site.has_param("oss1", "scratch-OST0001", "ost.no_create", "1");
    site.cluster.wait_for("the first file to be moved", || Ok(mount.join("elsewhere/a").exists())).unwrap();
    site.do_it(&["job", "pause", &id]);
    let step = |at: usize| site.job(&id)["steps"][at].clone();
    site.cluster.wait_for("it to rest", || Ok(step(1)["state"] == "queued")).unwrap();
    assert!(step(1)["message"].as_str().unwrap().starts_with("rests; pass 1: 1 files"), "{}", step(1));
    assert!(mount.join("ost1/b slow").exists());

    site.do_it(&["job", "resume", &id]);
    site.cluster.wait_for("it to go on", || Ok(step(1)["state"] == "running")).unwrap();
    site.do_it(&["job", "cancel", &id]);
    site.cluster.wait_for("it to end", || Ok(!site.job(&id)["ended"].is_null())).unwrap();
    let job = site.job(&id);
    assert_eq!(job["state"], "cancelled", "{job:#}");
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("the OST takes new files again") && error.contains("mgsctl target evacuate"), "{error}");
    site.has_param("oss1", "scratch-OST0001", "ost.no_create", "0");
    let refused = site.cluster.mgsctl(&["job", "retry", &id]).unwrap_err().to_string();
    assert!(refused.contains("were taken back") && refused.contains("ask for the evacuate"), "{refused}");
    assert_eq!(site.target("scratch-OST0001")["state"], "started");
}
