//! examples/ansible/tunables.yml, and tunables with proof.

use serde_json::json;

use super::site::Site;

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn tunables_are_set_once_and_nodes_that_differ_are_named() {
    let site = Site::start();
    site.cluster.mgsctl(&["fs", "create", "work"]).unwrap();
    let device = "osc/work-OST0000-osc-ff01/max_dirty_mb";
    site.cluster.agent("oss1").set_tunable(device, "64").unwrap();
    let playbook = testkit::repository().join("examples/ansible/tunables.yml");
    let first = Site::played(&mut site.command(&playbook));
    assert!(first.is_ok(), "{}", first.text());
    assert_eq!(first.stat("mds1", "changed"), 1);
    let proof = &first.results()[0]["proof"];
    assert!(proof.as_array().unwrap().iter().any(|one| one["is_proven"] == true), "{proof}");
    let second = Site::played(&mut site.command(&playbook));
    assert_eq!(second.stat("mds1", "changed"), 0, "{}", second.text());

    site.cluster.agent("oss1").set_tunable(device, "48").unwrap();
    let asked = site.task("lustre_param_info", &json!({ "filesystem": "work", "names": ["osc.*.max_dirty_mb"] }), &[]);
    let param = &asked["params"][0];
    assert_eq!((&param["is_proven"], &param["nodes"][0]["state"]), (&json!(false), &json!("differs")), "{asked}");
    assert!(param["nodes"][0]["message"].as_str().unwrap().contains("is 48 instead of 64M"), "{asked}");

    // The same plan as Terraform's, in check mode; then it is set right.
    let checked = Site::played(site.command(&playbook).args(["--check", "--diff"]));
    assert_eq!(checked.stat("mds1", "changed"), 1, "{}", checked.text());
    for words in ["nodes.oss1", "max_dirty_mb is 48 instead of 64M", "oss1: it is set there again"] {
        assert!(checked.text().contains(words), "{words}: {}", checked.text());
    }
    assert_eq!(site.cluster.agent("oss1").tunable(device).unwrap(), "48", "check mode touches nothing");
    let third = Site::played(&mut site.command(&playbook));
    assert_eq!(third.stat("mds1", "changed"), 1, "{}", third.text());
    assert_eq!(site.cluster.agent("oss1").tunable(device).unwrap(), "64M");
    let fourth = Site::played(&mut site.command(&playbook));
    assert_eq!(fourth.stat("mds1", "changed"), 0, "{}", fourth.text());

    for (name, value, words) in [
        ("osc.*.max_dirty_md", "64", "osc.*.max_dirty_mb"),
        ("osc.*.max_dirty_mb", "4G", "1 MiB to 1.9 GiB"),
        ("osc.*.checksums", "perhaps", "0 or 1"),
        ("conns_per_peer", "4", "option of a kernel module"),
        ("obdfilter.*.brw_size", "3M", "powers of two"),
    ] {
        let refused =
            site.task("lustre_param", &json!({ "filesystem": "work", "name": name, "value": value }), &["--check"]);
        assert_eq!(refused["failed"], true, "{refused}");
        assert!(refused["msg"].as_str().unwrap().contains(words), "{refused}");
    }
}
