//! The example with the real ansible-playbook against a real MGS and real agents.
//!
//! Needs `ansible-modules/ci.sh build` (the collection's program) and the workspace's daemons; `ci.sh test` does all of it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::Cluster;

const IMAGE_BYTES: u64 = 256 << 20;

/// A cluster of the example's two nodes, and the collection where Ansible finds it.
struct Site {
    cluster: Cluster,
    collections: tempfile::TempDir,
    root: PathBuf,
}

/// What a playbook run printed as JSON.
struct Played {
    output: Output,
    result: Value,
}

impl Played {
    fn stat(&self, host: &str, what: &str) -> u64 {
        self.result["stats"][host][what].as_u64().unwrap_or_else(|| panic!("no {what} of {host}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&[&self.output.stdout[..], &self.output.stderr[..]].concat()).into_owned()
    }
}

impl Site {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let program = root.join("ansible-modules/collection/plugins/bin");
        assert!(program.exists(), "the collection has no program; run ansible-modules/ci.sh build");
        let collections = tempfile::tempdir().unwrap();
        let namespace = collections.path().join("ansible_collections/chandelier");
        std::fs::create_dir_all(&namespace).unwrap();
        std::os::unix::fs::symlink(root.join("ansible-modules/collection"), namespace.join("lustre")).unwrap();
        let cluster = Cluster::start(&["mds1", "oss1"]).unwrap();
        for (node, image) in [("mds1", "mdt0"), ("oss1", "ost0"), ("oss1", "ost1")] {
            cluster.agent(node).image(image, IMAGE_BYTES).unwrap();
        }
        Self { cluster, collections, root }
    }

    fn play(&self, playbook: &Path, more: &[&str]) -> Played {
        let venv = std::env::var_os("LUSTRE_ANSIBLE_VENV").map_or_else(|| self.root.join(".venv"), PathBuf::from);
        let output = Command::new(venv.join("bin/ansible-playbook"))
            .args(["-i", "inventory.yml"])
            .arg(playbook)
            .args(more)
            .current_dir(self.root.join("examples/ansible"))
            .env("ANSIBLE_COLLECTIONS_PATH", self.collections.path())
            .env("ANSIBLE_CALLBACK_PLUGINS", self.root.join("ansible-modules/tests/callback"))
            .env("ANSIBLE_STDOUT_CALLBACK", "report")
            .env("LUSTRE_DEMO_DIR", self.cluster.dir())
            .output()
            .unwrap_or_else(|error| {
                panic!("no ansible-playbook in {}: {error}; run ansible-modules/ci.sh venv", venv.display())
            });
        let result = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Played { output, result }
    }

    fn example(&self, more: &[&str]) -> Played {
        self.play(Path::new("site.yml"), more)
    }

    /// Plays one task on oss1.
    fn task(&self, module: &str, options: &Value, more: &[&str]) -> Value {
        let mut options = options.clone();
        options["agent_socket"] = self.cluster.agent("oss1").socket().to_str().unwrap().into();
        let play = serde_json::json!([{
            "hosts": "oss1", "gather_facts": false,
            "tasks": [{ format!("chandelier.lustre.{module}"): options }],
        }]);
        let file = self.collections.path().join("task.yml");
        std::fs::write(&file, play.to_string()).unwrap();
        let played = self.play(&file, more);
        let result = &played.result["results"][0]["result"];
        assert!(result.is_object(), "{}", played.text());
        result.clone()
    }

    fn bytes(&self, node: &str, image: &str) -> Vec<u8> {
        std::fs::read(self.cluster.dir().join(node).join("images").join(image)).unwrap()
    }
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_first_run_changes_the_second_nothing_and_check_mode_touches_nothing() {
    let site = Site::start();
    let checked = site.example(&["--check", "--diff"]);
    assert!(checked.output.status.success(), "{}", checked.text());
    assert!(checked.stat("mds1", "changed") > 0 && checked.stat("oss1", "changed") > 0);
    assert!(checked.text().contains("create target scratch-OST0001"), "{}", checked.text());
    assert!(site.bytes("oss1", "ost0").iter().all(|byte| *byte == 0), "check mode wrote to a device");
    let nothing = site.cluster.mgsctl(&["target", "list"]).unwrap();
    assert_eq!(nothing.as_array().map(Vec::len), Some(0), "check mode made a target");

    let first = site.example(&[]);
    assert!(first.output.status.success(), "{}", first.text());
    assert!(first.stat("mds1", "changed") > 0 && first.stat("oss1", "changed") > 0);
    let before = site.bytes("oss1", "ost0");

    let second = site.example(&[]);
    assert!(second.output.status.success(), "{}", second.text());
    assert_eq!((second.stat("mds1", "changed"), second.stat("oss1", "changed")), (0, 0), "{}", second.text());
    assert!(before == site.bytes("oss1", "ost0"), "the second run wrote to a device");
    let again = site.example(&["--check", "--diff"]);
    assert_eq!((again.stat("mds1", "changed"), again.stat("oss1", "changed")), (0, 0), "{}", again.text());
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_device_with_foreign_data_is_refused_until_target_and_disk_are_confirmed() {
    let site = Site::start();
    site.task("lustre_filesystem", &serde_json::json!({"name": "scratch"}), &[]);
    let path = site.cluster.dir().join("oss1/images/ost0");
    let done = Command::new("mkfs.ext4").args(["-q", "-F", "-L", "home"]).arg(&path).status().unwrap();
    assert!(done.success());
    let before = site.bytes("oss1", "ost0");
    let task = |format: &str, confirm: Option<String>| {
        let target = serde_json::json!({"kind": "ost", "index": 0, "device": path, "confirm": confirm});
        site.task(
            "lustre_target",
            &serde_json::json!({"filesystem": "scratch", "format": format, "targets": [target]}),
            &[],
        )
    };
    let message = |result: &Value| result["msg"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned();

    let refused = task("blank", None);
    assert!(message(&refused).contains("ext4"), "{refused}");
    // What to write is in the message.
    let text = message(&refused);
    let confirm = text.split("confirm: \"").nth(1).and_then(|rest| rest.split('"').next());
    let confirm = confirm.unwrap_or_else(|| panic!("it doesn't say what to write: {refused}")).to_owned();
    assert!(confirm.starts_with("scratch-OST0000@"), "{confirm}");
    let alone = task("confirmed", None);
    assert!(message(&alone).contains("ext4"), "{alone}");
    let wrong = task("confirmed", Some("scratch-OST0001@other".to_owned()));
    assert!(message(&wrong).contains("nothing is formatted"), "{wrong}");
    let without = task("blank", Some(confirm.clone()));
    assert!(message(&without).contains("without format: confirmed"), "{without}");
    assert!(before == site.bytes("oss1", "ost0"), "a refused task wrote to the device");

    let confirmed = task("confirmed", Some(confirm.clone()));
    assert!(confirmed["changed"] == true && confirmed["msg"].is_null(), "{confirmed}");
    assert_eq!(confirmed["resource"][0]["svname"], "scratch-OST0000");
    // The old confirmation stays in the play: it must not format again.
    let formatted = site.bytes("oss1", "ost0");
    let again = task("confirmed", Some(confirm.clone()));
    assert!(again["changed"] == false, "{again}");
    assert!(formatted == site.bytes("oss1", "ost0"), "a confirmed target was formatted twice");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn async_and_a_stale_fingerprint_are_refused() {
    let site = Site::start();
    let stale =
        site.task("lustre_filesystem", &serde_json::json!({"name": "scratch", "fingerprint": "0011223344556677"}), &[]);
    assert!(stale["msg"].as_str().unwrap().contains("nothing was changed"), "{stale}");
    let checked = site.task("lustre_filesystem", &serde_json::json!({"name": "scratch"}), &["--check"]);
    let options = serde_json::json!({"name": "scratch", "fingerprint": checked["fingerprint"]});
    assert_eq!(site.task("lustre_filesystem", &options, &[])["changed"], true);
    let file = site.collections.path().join("async.yml");
    let socket = site.cluster.agent("oss1").socket();
    let play = serde_json::json!([{"hosts": "oss1", "gather_facts": false, "tasks": [
        {"chandelier.lustre.lustre_info": {"agent_socket": socket}, "async": 10, "poll": 1},
    ]}]);
    std::fs::write(&file, play.to_string()).unwrap();
    let played = site.play(&file, &[]);
    assert!(played.text().contains("does not support async"), "{}", played.text());
}
