//! examples/ansible/tunables.yml and tunables-back.yml: set, proven, drifted, put back; and what is refused.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::site::{Played, Site, message};

const DIRTY: &str = "osc/work-OST0000-osc-ff01/max_dirty_mb";

fn playbook(name: &str) -> PathBuf {
    testkit::repository().join("examples/ansible").join(name)
}

impl Site {
    /// What a node of a kernel would have: one mounted OST.
    fn with_tunables() -> Self {
        let site = Self::start();
        site.cluster.mgsctl(&["fs", "create", "work"]).unwrap();
        site.cluster.agent("oss1").set_tunable(DIRTY, "64").unwrap();
        site
    }

    fn set(&self, more: &[&str]) -> Played {
        Self::played(self.command(&playbook("tunables.yml")).args(more))
    }

    fn back(&self, revision: u64, more: &[&str]) -> Played {
        let revision = format!("lustre_revision={revision}");
        Self::played(self.command(&playbook("tunables-back.yml")).args(["-e", &revision]).args(more))
    }

    /// The values that are set, by name.
    fn values(&self) -> Value {
        let list = self.cluster.mgsctl(&["param", "list"]).unwrap();
        let pair = |param: &Value| (param["name"].as_str().unwrap().to_owned(), param["value"].clone());
        list.as_array().unwrap().iter().map(pair).collect::<serde_json::Map<_, _>>().into()
    }
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn tunables_are_set_once_and_nodes_that_differ_are_named() {
    let site = Site::with_tunables();
    let first = site.set(&[]);
    assert!(first.is_ok(), "{}", first.text());
    assert_eq!(first.stat("mds1", "changed"), 1);
    let proof = &first.results()[1]["proof"];
    assert!(proof.as_array().unwrap().iter().any(|one| one["is_proven"] == true), "{proof}");
    let second = site.set(&[]);
    assert_eq!(second.stat("mds1", "changed"), 0, "{}", second.text());

    site.cluster.agent("oss1").set_tunable(DIRTY, "48").unwrap();
    let asked = site.task("lustre_param_info", &json!({ "filesystem": "work", "names": ["osc.*.max_dirty_mb"] }), &[]);
    let param = &asked["params"][0];
    assert_eq!((&param["is_proven"], &param["nodes"][0]["state"]), (&json!(false), &json!("differs")), "{asked}");
    assert!(param["nodes"][0]["message"].as_str().unwrap().contains("is 48 instead of 64M"), "{asked}");

    // The same plan as Terraform's, in check mode; then it is set right.
    let checked = site.set(&["--check", "--diff"]);
    assert_eq!(checked.stat("mds1", "changed"), 1, "{}", checked.text());
    for words in ["nodes.oss1", "max_dirty_mb is 48 instead of 64M", "oss1: it is set there again"] {
        assert!(checked.text().contains(words), "{words}: {}", checked.text());
    }
    assert_eq!(site.cluster.agent("oss1").tunable(DIRTY).unwrap(), "48", "check mode touches nothing");
    let third = site.set(&[]);
    assert_eq!(third.stat("mds1", "changed"), 1, "{}", third.text());
    assert_eq!(site.cluster.agent("oss1").tunable(DIRTY).unwrap(), "64M");
    let fourth = site.set(&[]);
    assert_eq!(fourth.stat("mds1", "changed"), 0, "{}", fourth.text());
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_revert_restores_what_was_set_and_a_second_one_changes_nothing() {
    let site = Site::with_tunables();
    assert!(site.set(&[]).is_ok());
    let wanted = site.values();
    assert_eq!(wanted, json!({ "osc.*.max_dirty_mb": "64M", "llite.*.max_read_ahead_mb": "256" }));
    // Another person's night: one changed, one unset, one new. The example says the revision to go back to.
    let again = site.set(&[]);
    let revision = again.results()[0]["revision"].as_u64().unwrap();
    assert!(again.text().contains(&format!("tunables-back.yml -e lustre_revision={revision}")), "{}", again.text());
    let mgsctl = |arguments: &[&str]| site.cluster.mgsctl(arguments).unwrap();
    mgsctl(&["param", "set", "work", "osc.*.max_dirty_mb", "32"]);
    mgsctl(&["param", "unset", "work", "llite.*.max_read_ahead_mb"]);
    mgsctl(&["param", "set", "work", "timeout", "40"]);
    let night = site.values();

    let checked = site.back(revision, &["--check", "--diff"]);
    assert_eq!(checked.stat("mds1", "changed"), 1, "{}", checked.text());
    let diff = checked.results()[0]["diff"][0].clone();
    assert_eq!(diff["before"]["work/filesystem/osc.*.max_dirty_mb"], "32", "{diff}");
    assert_eq!(diff["after"]["work/filesystem/osc.*.max_dirty_mb"], "64M", "{diff}");
    assert_eq!(diff["after"]["work/filesystem/timeout"], Value::Null, "{diff}");
    assert_eq!(site.values(), night, "check mode touches nothing");

    let back = site.back(revision, &[]);
    assert!(back.is_ok(), "{}", back.text());
    assert_eq!(site.values(), wanted);
    assert_eq!(site.cluster.agent("oss1").tunable(DIRTY).unwrap(), "64", "64M, as the node had it all the time");
    assert_eq!(site.back(revision, &[]).stat("mds1", "changed"), 0);
    assert_eq!(site.set(&[]).stat("mds1", "changed"), 0, "all is as described");

    let refused = site.task("lustre_param_revert", &json!({ "filesystem": "work", "revision": 100_000 }), &[]);
    assert!(message(&refused).contains("100000"), "{refused}");
    let refused = site.task("lustre_param_revert", &json!({ "filesystem": "work", "revision": -1 }), &[]);
    assert_eq!(message(&refused), "revision: -1 is no revision");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn what_is_wrong_with_a_tunable_is_refused_in_check_mode() {
    let site = Site::with_tunables();
    let long = "u".repeat(4095);
    let cases = [
        ("osc.*.max_dirty_md", "filesystem", "64", "osc.*.max_dirty_mb"),
        ("osc.*.max_dirty_mb", "filesystem", "4G", "1 MiB to 1.9 GiB"),
        ("osc.*.checksums", "filesystem", "perhaps", "0 or 1"),
        ("conns_per_peer", "filesystem", "4", "option of a kernel module"),
        ("obdfilter.*.brw_size", "filesystem", "3M", "powers of two"),
        ("timeout", "filesystem", "64M", "a whole number, which is in s, is expected"),
        ("obdfilter.*.brw_size", "mdts", "4M", "can't have scope \"mdts\": obdfilter devices are of OSTs"),
        ("osc.*.max_dirty_mb", "home-OST0000", "64", "target home-OST0000 is not of work"),
        ("osc.hoem-OST*.max_dirty_mb", "filesystem", "64", "no file system has a device called hoem-OST*"),
        ("jobid_name", "filesystem", &long, "with its name it has 4106 bytes, a log takes 4095"),
    ];
    let task = |(name, scope, value, _): &(&str, &str, &str, &str)| {
        let options = json!({ "filesystem": "work", "scope": scope, "name": name, "value": value });
        json!({ "chandelier.lustre.lustre_param": options, "check_mode": true, "ignore_errors": true })
    };
    let results = site.tasks(&cases.iter().map(task).collect::<Vec<_>>());
    assert_eq!(results.len(), cases.len());
    for ((name, scope, _, words), refused) in cases.iter().zip(&results) {
        assert!(message(refused).contains(words), "{name} of {scope}: {refused}");
    }
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn what_is_absent_comes_back_unless_that_is_confirmed() {
    let site = Site::with_tunables();
    assert!(site.set(&[]).is_ok());
    let nodemap = |more: Value| {
        let mut options = json!({ "name": "guests", "ranges": ["10.9.1.*@tcp"] });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "chandelier.lustre.lustre_nodemap": options })
    };
    let param = |name: &str, more: Value| {
        let mut options = json!({ "filesystem": "work", "name": name, "state": "absent" });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "chandelier.lustre.lustre_param": options })
    };
    let within = json!({ "state": "absent", "confirm_within": 10 });
    let (kept, gone) = ("osc.*.max_dirty_mb", "llite.*.max_read_ahead_mb");
    let confirmed = json!({ "state": "confirmed" });
    let results = site.tasks(&[
        nodemap(json!({})),
        param(kept, within.clone()),
        param(gone, within.clone()),
        nodemap(within),
        param(gone, confirmed.clone()),
    ]);
    assert!(results.iter().all(|result| result["changed"] == true), "{results:?}");
    for result in &results[1..4] {
        assert!(result["warnings"].to_string().contains("unless it is confirmed"), "{result}");
    }
    let nodemaps = || Ok::<_, anyhow::Error>(site.cluster.mgsctl(&["nodemap", "list"])?.to_string());
    let is_back = || Ok(nodemaps()?.contains("guests") && site.values() == json!({ kept: "64M" }));
    assert!(!is_back().unwrap());
    site.cluster.wait_for("what nobody confirmed to be back", is_back).unwrap();

    // With a confirmation it stays away.
    let results = site.tasks(&[param(kept, json!({ "confirm_within": 10 })), param(kept, confirmed)]);
    assert!(results.iter().all(|result| result["changed"] == true), "{results:?}");
    let removals = site.cluster.mgsctl(&["param", "confirm", "work", kept]).unwrap_err();
    assert!(removals.to_string().contains("is not set"), "nothing waits any more: {removals:#}");
}
