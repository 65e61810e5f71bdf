//! examples/ansible/nodemaps.yml, and nodemaps by parts.

use serde_json::json;

use super::site::Site;

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn nodemaps_are_described_once_and_confirmed_and_changed_by_parts() {
    let site = Site::start();
    let playbook = testkit::repository().join("examples/ansible/nodemaps.yml");
    let dry = Site::played(site.command(&playbook).args(["--check", "--diff"]));
    assert!(dry.is_ok(), "{}", dry.text());
    assert!(site.cluster.mgsctl(&["nodemap", "list"]).unwrap()["items"].as_array().unwrap().is_empty());
    let first = Site::played(&mut site.command(&playbook));
    assert!(first.is_ok(), "{}", first.text());
    let listed = site.cluster.mgsctl(&["nodemap", "list"]).unwrap();
    assert!(listed["active"] == true && listed["confirm_until"].is_null(), "{listed}");
    let second = Site::played(&mut site.command(&playbook));
    assert_eq!(second.stat("mds1", "changed"), 0, "{}", second.text());

    // By parts: what is there already is no error, what is not there neither.
    let range =
        |mode: &str| json!({ "name": "computes", "ranges": ["10.0.9.*@tcp"], "uids": {"700": "800"}, "mode": mode });
    for (mode, changed) in [("add", true), ("add", false), ("remove", true), ("remove", false)] {
        let said = site.task("lustre_nodemap", &range(mode), &[]);
        assert_eq!(said["changed"], changed, "{mode}: {said}");
    }
    let same = Site::played(&mut site.command(&playbook));
    assert_eq!(same.stat("mds1", "changed"), 0, "{}", same.text());

    // Changed by hand: shown by check mode, as Terraform shows it.
    site.cluster.mgsctl(&["nodemap", "add", "servers", "--range", "10.7.0.1@tcp"]).unwrap();
    let drift = Site::played(site.command(&playbook).args(["--check", "--diff"]));
    assert_eq!(drift.stat("mds1", "changed"), 1, "{}", drift.text());
    for (options, words) in [
        (json!({ "name": "thieves", "ranges": ["10.0.1.7@tcp"] }), "nodemap computes has NIDs of 10.0.1.7@tcp"),
        (json!({ "name": "x", "ranges": ["10.0.300.1@tcp"] }), "is not understood"),
        (json!({ "name": "x", "uids": {"root": 0} }), "is no pair of ids"),
        (json!({ "name": "x", "fileset": "up" }), "is no absolute path"),
    ] {
        let refused = site.task("lustre_nodemap", &options, &["--check"]);
        assert_eq!(refused["failed"], true, "{refused}");
        assert!(refused["msg"].as_str().unwrap().contains(words), "{refused}");
    }
}
