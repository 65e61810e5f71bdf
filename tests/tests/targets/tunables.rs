//! Permanent tunables and nodemaps, from the MGS through its logs to targets, and proven there.

use serde_json::{Value, json};

use crate::site::Site;

impl Site {
    fn explain(&self, name: &str, scope: &str) -> Value {
        self.cluster.mgsctl(&["param", "explain", "scratch", name, "--scope", scope]).unwrap()
    }

    fn is_proven(&self, name: &str, scope: &str) {
        let what = format!("{name} to be proven");
        self.cluster.wait_for(&what, || Ok(self.explain(name, scope)["is_proven"] == true)).unwrap();
    }
}

#[test]
fn a_permanent_tunable_reaches_targets_through_the_logs_and_is_proven() {
    let site = Site::with_osts(1);
    let set = |name: &str, value: &str, scope: &str| {
        site.cluster.mgsctl(&["param", "set", "scratch", name, value, "--scope", scope]).unwrap()
    };
    set("obdfilter.*.brw_size", "4M", "scratch-OST0000");
    set("timeout", "40", "filesystem");
    set("quota.ost", "gu", "filesystem");
    site.is_proven("obdfilter.*.brw_size", "scratch-OST0000");
    site.is_proven("quota.ost", "filesystem");
    site.is_proven("timeout", "filesystem");
    let timeout = site.explain("timeout", "filesystem");
    assert_eq!(timeout["nodes"].as_array().map(Vec::len), Some(2), "both nodes serve the file system: {timeout}");
    assert_eq!(timeout["conf_param_name"], "scratch.sys.timeout");

    // By hand on the node: told with the layer that lost.
    site.cluster.agent("oss1").set_tunable("obdfilter/scratch-OST0000/brw_size", "1").unwrap();
    let explained = site.explain("obdfilter.*.brw_size", "scratch-OST0000");
    assert_eq!(explained["nodes"][0]["state"], "differs", "{explained}");
    let layers = explained["nodes"][0]["layers"].as_array().unwrap();
    let won = layers.iter().find(|layer| layer["won"] == true).unwrap();
    assert_eq!((won["kind"].as_str(), won["value"].as_str()), (Some("live"), Some("1")));
    // The next change goes to the node all the same.
    set("obdfilter.*.brw_size", "8M", "scratch-OST0000");
    site.is_proven("obdfilter.*.brw_size", "scratch-OST0000");
}

#[test]
fn where_lctl_prints_something_else_than_the_agent_reads_explain_says_both() {
    let site = Site::with_osts(1);
    site.cluster.mgsctl(&["param", "set", "scratch", "timeout", "40"]).unwrap();
    site.is_proven("timeout", "filesystem");
    let said = |node: &str| {
        let explained = site.explain("timeout", "filesystem");
        let nodes = explained["nodes"].as_array().unwrap();
        let found = nodes.iter().find(|one| one["node"] == node).unwrap();
        found["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(said("oss1"), "", "a node without lctl is not doubted");
    let lctl = |text: &str| {
        let file = site.cluster.agent("oss1").bin().unwrap().join("lctl");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    lctl("echo timeout=40");
    assert_eq!(said("oss1"), "", "they agree");
    lctl("echo timeout=100");
    assert_eq!(said("oss1"), "lctl prints 100 where the agent reads 40 of timeout (1 of 1 differ)");
    lctl("exit 2");
    assert_eq!(said("oss1"), "lctl has no such tunable where the agent reads 40 of timeout (1 of 1 differ)");
    assert_eq!(said("mds1"), "", "the other node has no lctl");
}

#[test]
fn nodemaps_are_read_over_the_network_as_they_were_described() {
    let site = Site::with_osts(0);
    let spec = json!({
        "name": "nm1", "ranges": ["10.9.0.[100-110]@tcp"], "trusted": true, "uids": {"500": 600},
    });
    let file = site.cluster.dir().join("nm1.json");
    std::fs::write(&file, spec.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(site.cluster.mgsctl(&["nodemap", "set", file]).unwrap()["changed"], true);
    assert_eq!(site.cluster.mgsctl(&["nodemap", "set", file]).unwrap()["changed"], false, "it is as described");
    site.cluster.mgsctl(&["nodemap", "activate"]).unwrap();
    let read = site.read();
    let text = read.to_string();
    for words in ["nm1", "10.9.0.100@tcp", "10.9.0.110@tcp"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}
