//! examples/ansible, as the README tells to run it.

use std::process::Command;

use serde_json::{Value, json};

use super::site::{Site, venv};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_first_run_changes_the_second_nothing_and_check_mode_touches_nothing() {
    let site = Site::start();
    let checked = site.example(&["--check", "--diff"]);
    assert!(checked.is_ok(), "{}", checked.text());
    assert!(checked.stat("mds1", "changed") > 0 && checked.stat("oss1", "changed") > 0);
    assert!(checked.text().contains("create target work-OST0001"), "{}", checked.text());
    assert!(site.bytes("oss1", "ost0").iter().all(|byte| *byte == 0), "check mode wrote to a device");
    for kind in ["fs", "target", "param", "pool", "job"] {
        assert_eq!(site.count(kind), 0, "check mode made a {kind}");
    }

    let first = site.example(&[]);
    assert!(first.is_ok(), "{}", first.text());
    assert!(first.stat("mds1", "changed") > 0 && first.stat("oss1", "changed") > 0);
    // While a task waits, it says how far its jobs are; not on standard output, which is the callback's.
    let said = String::from_utf8_lossy(&first.output.stderr);
    assert!(said.contains("  oss1: work-OST0001: done (2 of 2)"), "{said}");
    let before = site.bytes("oss1", "ost0");

    let second = site.example(&[]);
    assert!(second.is_ok(), "{}", second.text());
    assert_eq!(second.changed(), (0, 0), "{}", second.text());
    assert!(before == site.bytes("oss1", "ost0"), "the second run wrote to a device");
    let again = site.example(&["--check", "--diff"]);
    assert_eq!(again.changed(), (0, 0), "{}", again.text());
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_host_after_the_other_gives_the_same_file_system() {
    let site = Site::start();
    let playbook = std::fs::read_to_string(testkit::repository().join("examples/ansible/site.yml")).unwrap();
    let serial = playbook.replacen("  become: true\n", "  become: true\n  serial: 1\n", 1);
    assert_ne!(serial, playbook);
    let file = site.dir.path().join("serial.yml");
    std::fs::write(&file, serial).unwrap();
    let first = Site::played(&mut site.command(&file));
    assert!(first.is_ok(), "{}", first.text());
    assert_eq!((site.count("target"), site.count("pool"), site.count("param")), (3, 1, 1));
    let second = Site::played(&mut site.command(&file));
    assert_eq!(second.changed(), (0, 0), "{}", second.text());
    assert_eq!(site.example(&[]).changed(), (0, 0), "all hosts at once find nothing else to do");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_inventory_of_the_example_is_one_that_the_playbook_takes() {
    let example = testkit::repository().join("examples/ansible");
    let read = Command::new(venv().join("bin/ansible-inventory"))
        .args(["-i", "inventory.yml", "--list"])
        .current_dir(&example)
        .output()
        .unwrap();
    let inventory: Value = serde_json::from_slice(&read.stdout).unwrap();
    let hosts = &inventory["_meta"]["hostvars"];
    assert_eq!(hosts["mds1"]["lustre_targets"][0]["kind"], "mdt");
    // Its targets are understood; only the node is one that nobody knows.
    let site = Site::start();
    site.task("lustre_filesystem", &json!({ "name": hosts["oss1"]["lustre_fsname"] }), &[]);
    let mut targets = hosts["oss1"]["lustre_targets"].clone();
    for target in targets.as_array_mut().unwrap() {
        target["node"] = "oss9".into();
    }
    let url = site.cluster.mgs.endpoint();
    let options = json!({ "filesystem": "work", "targets": targets, "api_url": url });
    let planned = site.task("lustre_target", &options, &["--check"]);
    let missing = planned["warnings"].as_array().unwrap_or_else(|| panic!("{planned}"));
    assert_eq!(missing.len(), 2, "{planned}");
    assert!(missing.iter().all(|warning| warning.as_str().unwrap().contains("oss9")), "{planned}");
}
