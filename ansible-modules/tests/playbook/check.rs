//! What check mode and diff mode show: the plan that everybody else shows.

use std::process::Command;

use serde_json::{Value, json};
use testkit::Terraform;

use super::site::{Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_diff_of_a_task_is_the_text_of_the_plan_that_the_mgs_makes() {
    let site = Site::start();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let target = json!({ "kind": "ost", "index": 3, "device": site.image("oss1", "ost0") });
    let options = json!({ "filesystem": "work", "targets": [target] });
    let shown = site.task("lustre_target", &options, &["--check", "--diff"]);
    assert_eq!(shown["changed"], true);

    let mut wanted = target.clone();
    wanted["filesystem"] = "work".into();
    wanted["node"] = "oss1".into();
    let file = site.dir.path().join("desired.json");
    std::fs::write(&file, json!({ "targets": [{ "target": wanted }] }).to_string()).unwrap();
    let plan = |format: &str| {
        let mut mgsctl = Command::new(testkit::binary("mgsctl").unwrap());
        mgsctl.args(["--endpoint", site.cluster.mgs.endpoint(), "-o", format, "plan"]);
        testkit::run(mgsctl.arg(&file)).unwrap()
    };
    assert_eq!(shown["diff"][0]["prepared"].as_str().unwrap().trim(), plan("table").trim());
    let changes: Value = serde_json::from_str(&plan("json")).unwrap();
    assert_eq!(shown["plan"], changes["changes"]);

    let real = site.task("lustre_target", &options, &["--diff"]);
    assert_eq!((&real["diff"], &real["plan"]), (&shown["diff"], &shown["plan"]), "the real run shows what it does");
    let again = site.task("lustre_target", &options, &["--diff"]);
    assert_eq!((again["changed"].as_bool(), again.get("diff")), (Some(false), None), "{again}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_same_drift_is_the_same_change_in_ansible_and_in_terraform() {
    let site = Site::start();
    let url = site.cluster.mgs.endpoint();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let terraform = Terraform::at(url);
    terraform.write(
        "main.tf",
        "resource \"lustre_param\" \"dirty\" {\n  filesystem = \"work\"\n  name = \"osc.*.max_dirty_mb\"\n  value = \"512\"\n}\n",
    );
    terraform.apply();
    let options = json!({ "filesystem": "work", "name": "osc.*.max_dirty_mb", "value": "512" });
    assert_eq!(site.task("lustre_param", &options, &[])["changed"], false, "what Terraform did is done for Ansible");
    terraform.expect_empty_plan();

    site.cluster.mgsctl(&["param", "set", "work", "osc.*.max_dirty_mb", "256"]).unwrap();
    let shown = site.task("lustre_param", &options, &["--check", "--diff"]);
    let fields = shown["plan"][0]["fields"].as_array().unwrap_or_else(|| panic!("{shown}"));
    let value = fields.iter().find(|field| field["path"] == "value").unwrap_or_else(|| panic!("{shown}"));
    let said = terraform.run(&["plan", "-out=drift"]);
    assert_eq!(said.code, 0, "{}", said.text);
    let theirs = testkit::run(&mut terraform.command(&["show", "-json", "drift"])).unwrap();
    let theirs: Value = serde_json::from_str(&theirs).unwrap();
    let change = &theirs["resource_changes"][0]["change"];
    assert_eq!((&change["before"]["value"], &change["after"]["value"]), (&value["before"], &value["after"]));
    assert_eq!((&value["before"], &value["after"]), (&json!("256"), &json!("512")));
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn what_terraform_refuses_ansible_refuses_for_the_same_reason() {
    let site = Site::start();
    let device = site.image("oss1", "ost0");
    testkit::run(Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-L", "home"]).arg(&device)).unwrap();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let terraform = Terraform::at(site.cluster.mgs.endpoint());
    let resource = format!(
        "resource \"lustre_target\" \"ost\" {{\n  kind = \"ost\"\n  filesystem = \"work\"\n  index = 0\n  node = \"oss1\"\n  device = \"{}\"\n}}\n",
        device.display()
    );
    terraform.write("main.tf", &resource);
    let theirs = terraform.refused(&["plan"]);
    let target = json!({ "kind": "ost", "index": 0, "device": device });
    let ours = site.task("lustre_target", &json!({ "filesystem": "work", "targets": [target] }), &["--check"]);
    // As far as the remedy, which names the options of each.
    let reason = message(&ours).split("; ").next().unwrap();
    assert!(reason.contains("holds ext4 label=home"), "{reason}");
    assert!(theirs.summary.contains(reason) || theirs.detail.contains(reason), "{reason}\n{theirs:#?}");
}
