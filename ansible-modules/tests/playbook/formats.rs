//! What a format may overwrite: `format`, `confirm`, `serial`.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::HaltedFormat;

use super::site::{HUGE_BYTES, Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_device_with_foreign_data_is_refused_until_target_and_disk_are_confirmed() {
    let site = Site::start();
    site.task("lustre_filesystem", &json!({"name": "work"}), &[]);
    let path = site.image("oss1", "ost0");
    let done = Command::new("mkfs.ext4").args(["-q", "-F", "-L", "home"]).arg(&path).status().unwrap();
    assert!(done.success());
    let before = site.bytes("oss1", "ost0");
    let task = |format: &str, confirm: Option<String>| {
        let target = json!({"kind": "ost", "index": 0, "device": path, "confirm": confirm});
        site.task("lustre_target", &json!({"filesystem": "work", "format": format, "targets": [target]}), &[])
    };

    let refused = task("blank", None);
    assert!(message(&refused).contains("ext4"), "{refused}");
    // What to write is in the message.
    let text = message(&refused).to_owned();
    let confirm = text.split("confirm: \"").nth(1).and_then(|rest| rest.split('"').next());
    let confirm = confirm.unwrap_or_else(|| panic!("it doesn't say what to write: {refused}")).to_owned();
    assert!(confirm.starts_with("work-OST0000@"), "{confirm}");
    let alone = task("confirmed", None);
    assert!(message(&alone).contains("ext4"), "{alone}");
    let wrong = task("confirmed", Some("work-OST0001@other".to_owned()));
    assert!(message(&wrong).contains("nothing is formatted"), "{wrong}");
    let without = task("blank", Some(confirm.clone()));
    assert!(message(&without).contains("without format: confirmed"), "{without}");
    assert!(before == site.bytes("oss1", "ost0"), "a refused task wrote to the device");

    let confirmed = task("confirmed", Some(confirm.clone()));
    assert!(confirmed["changed"] == true && confirmed["msg"].is_null(), "{confirmed}");
    assert_eq!(confirmed["resource"][0]["svname"], "work-OST0000");
    // The old confirmation stays in the play: it must not format again.
    let formatted = site.bytes("oss1", "ost0");
    let again = task("confirmed", Some(confirm.clone()));
    assert!(again["changed"] == false, "{again}");
    assert!(formatted == site.bytes("oss1", "ost0"), "a confirmed target was formatted twice");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn an_unfinished_format_of_the_same_target_is_done_again_only_when_asked() {
    // An MGS whose format was cancelled half-way; its disk came to a node of another.
    let other = Site::start();
    let disk = other.cluster.agent("oss1").image("big", HUGE_BYTES).unwrap();
    other.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let options = |index: u32, device: &Path| json!({ "filesystem": "work", "targets": [{ "kind": "ost", "index": index, "device": device }] });
    let mut begun = options(0, &disk);
    begun["wait"] = false.into();
    let _halted = std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(other.task("lustre_target", &begun, &[])["changed"], true));
        HaltedFormat::of(&disk).unwrap()
    });
    let state = || Ok(other.cluster.mgsctl(&["job", "list", "--all"])?[0]["state"].clone());
    let job = other.cluster.mgsctl(&["job", "list"]).unwrap()[0]["id"].clone();
    other.cluster.mgsctl(&["job", "cancel", job.as_str().unwrap()]).unwrap();
    testkit::wait_for("the job to be cancelled", || state().map(|state| state == "cancelled")).unwrap();
    let site = Site::start();
    let device = site.image("oss1", "big");
    testkit::run(Command::new("cp").arg("--sparse=always").args([&disk, &device])).unwrap();

    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let task = |format: &str, index: u32| {
        let mut options = options(index, &device);
        options["format"] = format.into();
        site.task("lustre_target", &options, &[])
    };
    let refused = task("blank", 0);
    assert!(message(&refused).contains("set format: same_identity"), "{refused}");
    let seventh = task("same_identity", 7);
    assert!(message(&seventh).contains("work-OST0000"), "it names what is there: {seventh}");
    assert_eq!(site.count("target"), 0, "nothing was begun");
    let again = task("same_identity", 0);
    assert_eq!(
        (again["changed"].as_bool(), again["resource"][0]["svname"].as_str()),
        (Some(true), Some("work-OST0000")),
        "{again}"
    );
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_disk_with_another_serial_number_is_not_formatted() {
    let site = Site::start();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let target = json!({ "kind": "ost", "device": site.image("oss1", "ost0"), "serial": "S3Z8" });
    let refused = site.task("lustre_target", &json!({ "filesystem": "work", "targets": [target] }), &[]);
    assert!(message(&refused).contains("should have the serial number \"S3Z8\""), "{refused}");
    assert!(site.bytes("oss1", "ost0").iter().all(|byte| *byte == 0));
}
