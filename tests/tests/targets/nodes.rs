//! All targets of a node moved at once, partner nodes that come and go, labels that were lost, and looks at devices.

use std::process::Command;

use serde_json::{Value, json};

use crate::site::{MIB, Site};

const SVNAME: &str = "scratch-OST0000";

fn label(device: &std::path::Path, label: Option<&str>) -> String {
    let mut command = Command::new("e2label");
    command.arg(device).args(label);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn state(job: &Value) -> &str {
    job["state"].as_str().unwrap()
}

#[test]
fn all_targets_of_a_node_fail_over_and_back_by_one_job_each() {
    let site = Site::on(&["mds1", "oss1", "oss2"]);
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let partner = json!({"failover_nodes": ["127.0.0.4@tcp"]});
    let devices = ["a", "b"].map(|name| site.cluster.agent("oss1").loop_device(name, 80 * MIB).unwrap());
    for device in &devices {
        site.ensure_on("oss1", "ost", device.path(), &partner);
    }
    let both = [SVNAME, "scratch-OST0001"];
    let refused = site.cluster.mgsctl(&["node", "failover", "mds1"]).unwrap_err().to_string();
    assert!(refused.contains("scratch-MDT0000 has no partner node"), "{refused}");
    let refused = site.cluster.mgsctl(&["node", "failover", "oss1", "--node-is-down"]).unwrap_err().to_string();
    assert!(refused.contains("was heard of a moment ago"), "{refused}");

    let shown = site.do_it(&["node", "failover", "oss1", "--dry-run"]);
    let moves = shown["plan"]["moves"].as_array().unwrap();
    assert!(moves.iter().any(|moved| moved["becomes"] == "started on oss2"), "{shown:#}");
    let digest = shown["object"]["digest"].as_str().unwrap();
    let job = site.end_of(&site.do_it(&["node", "failover", "oss1", "--plan", digest]));
    assert_eq!(state(&job), "done", "{job:#}");
    for svname in both {
        let target = site.target(svname);
        assert_eq!(
            (target["runs_on"].as_str(), target["state"].as_str()),
            (Some("oss2"), Some("started")),
            "{target:#}"
        );
        assert!(site.on_node("oss2", svname).running.is_some() && site.on_node("oss1", svname).running.is_none());
    }
    let parts = site.do_it(&["job", "list", "--all", "--parent", job["id"].as_str().unwrap()]);
    assert_eq!(parts.as_array().map(Vec::len), Some(2), "{parts:#}");
    let nothing = site.cluster.mgsctl(&["node", "failover", "oss1"]).unwrap_err().to_string();
    assert!(nothing.contains("there is nothing to do"), "{nothing}");

    let job = site.end_of(&site.do_it(&["node", "failback", "oss1"]));
    assert_eq!(state(&job), "done", "{job:#}");
    for svname in both {
        assert!(site.target(svname)["runs_on"].is_null());
        assert!(site.on_node("oss1", svname).running.is_some() && site.on_node("oss2", svname).running.is_none());
    }
}

#[test]
fn a_partner_node_reaches_readers_at_once_and_the_device_when_that_is_asked_for() {
    let site = Site::on(&["mds1", "oss1", "oss2"]);
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let device = site.cluster.agent("oss1").loop_device("shared", 80 * MIB).unwrap();
    site.ensure_on("oss1", "ost", device.path(), &json!({}));
    let on_device = || site.on_node("oss1", SVNAME).formatted_as.failover_nodes;
    let job = site.end_of(&site.do_it(&["target", "add-failover-node", SVNAME, "oss2"]));
    assert_eq!(state(&job), "done", "{job:#}");
    assert!(site.read().to_string().contains("127.0.0.4@tcp"), "who follows the log hears of it");
    assert_eq!(site.on_node("oss1", SVNAME).running.unwrap().instance, 1, "it was not stopped");
    assert!(on_device().is_empty(), "and its device is as it was");
    let again = site.cluster.mgsctl(&["target", "add-failover-node", SVNAME, "127.0.0.4@tcp"]).unwrap_err().to_string();
    assert!(again.contains("already"), "{again}");

    let job = site.end_of(&site.do_it(&["target", "add-failover-node", SVNAME, "oss2", "--write-device"]));
    assert_eq!(state(&job), "done", "{job:#}");
    assert_eq!(on_device(), ["127.0.0.4@tcp"], "{job:#}");
    assert_eq!(site.on_node("oss1", SVNAME).running.unwrap().instance, 2);
    let job = site.end_of(&site.do_it(&["target", "move", SVNAME]));
    assert_eq!(state(&job), "done", "it can be moved there: {job:#}");
    let refused = site.cluster.mgsctl(&["target", "remove-failover-node", SVNAME, "oss2"]).unwrap_err().to_string();
    assert!(refused.contains("is on oss2 now"), "{refused}");
    site.end_of(&site.do_it(&["node", "failback", "oss1"]));

    site.end_of(&site.do_it(&["target", "stop", SVNAME]));
    let job = site.end_of(&site.do_it(&["target", "remove-failover-node", SVNAME, "oss2"]));
    assert_eq!(state(&job), "done", "{job:#}");
    assert!(on_device().is_empty(), "the device of a target that is stopped is written, too");
    assert_eq!(site.target(SVNAME)["state"], "stopped");
    let job = site.end_of(&site.do_it(&["target", "start", SVNAME]));
    assert_eq!(state(&job), "done", "{job:#}");
}

#[test]
fn a_target_whose_label_was_lost_starts_again_after_a_relabel() {
    let site = Site::start();
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    let device = site.cluster.agent("oss1").loop_device("ost0", 80 * MIB).unwrap();
    site.ensure_on("oss1", "ost", device.path(), &json!({}));
    let refused = site.cluster.mgsctl(&["target", "relabel", SVNAME]).unwrap_err().to_string();
    assert!(refused.contains("is started on oss1") && refused.contains("mgsctl target stop"), "{refused}");
    site.end_of(&site.do_it(&["target", "stop", SVNAME]));
    label(device.path(), Some("data1"));
    let job = site.end_of(&site.do_it(&["target", "start", SVNAME]));
    assert_eq!(state(&job), "failed", "nobody knows it by this label: {job:#}");

    let shown = site.do_it(&["target", "relabel", SVNAME, "--dry-run"]);
    assert_eq!(shown["plan"]["moves"][0]["becomes"], SVNAME, "{shown:#}");
    assert_eq!(label(device.path(), None), "data1", "a dry run does nothing");
    let job = site.end_of(&site.do_it(&["target", "relabel", SVNAME]));
    assert_eq!((state(&job), label(device.path(), None).as_str()), ("done", SVNAME), "{job:#}");
    assert_eq!(site.target(SVNAME)["label"], SVNAME);
    let job = site.end_of(&site.do_it(&["target", "start", SVNAME]));
    assert_eq!(state(&job), "done", "{job:#}");
}

#[test]
fn the_devices_of_nodes_are_looked_at_by_a_job_that_lists_them() {
    let site = Site::start();
    let image = site.cluster.agent("oss1").image("disk", 80 * MIB).unwrap();
    let job = site.end_of(&site.do_it(&["node", "scan", "oss1"]));
    let step = &job["steps"][0];
    assert_eq!(
        (state(&job), step["kind"].as_str(), step["node"].as_str()),
        ("done", Some("scan"), Some("oss1")),
        "{job:#}"
    );
    let lines: Vec<&str> = step["output"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let line = lines.iter().find(|line| line.starts_with(image.to_str().unwrap())).unwrap();
    assert!(line.ends_with("blank"), "{line}");
    assert!(step["message"].as_str().unwrap().contains("devices were looked at"), "{step:#}");
    let job = site.end_of(&site.do_it(&["node", "scan", "--all"]));
    assert_eq!((state(&job), job["steps"].as_array().map(Vec::len)), ("done", Some(2)), "{job:#}");
    let unknown = site.cluster.mgsctl(&["node", "scan", "oss1", "oss9"]).unwrap_err().to_string();
    assert!(unknown.contains("there is no node oss9"), "{unknown}");
}
