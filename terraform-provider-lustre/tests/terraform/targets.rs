//! Targets: a real MGS, and a node whose devices can be in any state.

use testkit::{Mgs, Terraform};

use crate::node::{Node, blank, ext4};

const TARGETS: &str = r#"
resource "lustre_filesystem" "scratch" {
  name = "scratch"
}

resource "lustre_target" "mdt0" {
  kind       = "mdt"
  filesystem = lustre_filesystem.scratch.name
  index      = 0
  node       = "oss1"
  device     = "/dev/sda"
}

resource "lustre_target" "ost" {
  kind       = "ost"
  filesystem = lustre_filesystem.scratch.name
  node       = "oss1"
  device     = "/dev/sdb"
}

resource "lustre_pool" "all" {
  filesystem = lustre_filesystem.scratch.name
  name       = "all"
  members    = [lustre_target.ost.svname]
}
"#;

#[test]
fn targets_are_formatted_once_and_the_second_plan_is_empty() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), blank("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", TARGETS);
    let said = ws.plan();
    assert!(said.text.contains(r#"+ formatted_over = "blank""#), "what is lost is in the plan: {}", said.text);
    ws.apply();
    assert_eq!(node.formats(), 2);
    let ost = ws.state("lustre_target.ost");
    assert_eq!(
        (&ost["svname"], &ost["index"], &ost["state"]),
        (&"scratch-OST0000".into(), &0.into(), &"registered".into())
    );
    assert_eq!(ost["formatted_over"], "blank");
    assert_eq!(ws.state("lustre_pool.all")["members"][0], "scratch-OST0000");
    ws.expect_empty_plan();

    // Imported, every argument is readable and nothing is to change.
    let imported = Terraform::at(mgs.endpoint());
    imported.write("import.tf", "import {\n  to = lustre_target.o\n  id = \"scratch-OST0000\"\n}\n");
    let said = imported.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("1 to import, 0 to add, 0 to change"), "{}", said.text);

    // Nothing takes a registered target away by a change of mind.
    let said = ws.run(&["plan", "-destroy"]);
    assert!(said.text.contains("Removal prevented"), "{}", said.text);
    ws.write("main.tf", &TARGETS.replace("index      = 0", "index      = 1"));
    let said = ws.run(&["plan"]);
    assert!(said.text.contains("A target with data is not replaced"), "{}", said.text);
    assert_eq!(node.formats(), 2);
}

#[test]
fn a_device_with_data_is_refused_at_plan_and_said_when_it_is_allowed() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), ext4("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", TARGETS);
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("it holds ext4 label=home"), "{}", said.text);
    assert!(said.text.contains(r#"device = "/dev/sdb""#), "at its line: {}", said.text);

    ws.write("main.tf", &TARGETS.replace("\"/dev/sdb\"\n", "\"/dev/sdb\"\n  allow_reformat = true\n"));
    let said = ws.plan();
    assert!(said.text.contains("this is lost: ext4 label=home"), "{}", said.text);
    assert!(said.text.contains(r#"+ formatted_over = "ext4 label=home""#), "{}", said.text);
    ws.apply();
    assert_eq!(node.formats(), 2);
    ws.expect_empty_plan();
}

#[test]
fn a_device_that_changed_after_the_plan_is_not_formatted() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), blank("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", &TARGETS.replace("\"/dev/sdb\"\n", "\"/dev/sdb\"\n  allow_reformat = true\n"));
    assert_eq!(ws.run(&["plan", "-out=saved"]).code, 0);
    node.replace(ext4("/dev/sdb"));
    let said = ws.run(&["apply", "saved"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("ext4 label=home"), "{}", said.text);
    assert_eq!(node.formats(), 1, "only the MDT");
}

#[test]
fn a_failed_format_leaves_nothing_tainted_and_the_next_apply_goes_on() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), blank("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", TARGETS);
    node.fail(Some("mke2fs: no space"));
    let said = ws.run(&["apply", "-auto-approve"]);
    assert_eq!(said.code, 1);
    for words in ["The job failed", "mke2fs: no space", "write error at block 7", "mgsctl job show"] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert!(ws.state("lustre_target.ost").is_null());
    node.fail(None);
    let said = ws.apply();
    assert!(said.text.contains("0 destroyed"), "{}", said.text);
    assert_eq!(node.formats(), 2);
    ws.expect_empty_plan();
}

#[test]
fn one_device_for_two_targets_is_refused() {
    let mgs = Mgs::start().expect("an MGS");
    let _node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), blank("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", &TARGETS.replace("/dev/sda", "/dev/sdb"));
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    ws.write("main.tf", &TARGETS.replace("/dev/sdb", "/dev/sdq"));
    let said = ws.run(&["plan"]);
    assert!(
        said.text.contains("oss1 has no device /dev/sdq; it has /dev/sda (1 TiB), /dev/sdb (1 TiB) to format"),
        "{}",
        said.text
    );
}

#[test]
fn a_target_that_is_given_up_leaves_the_configuration_and_keeps_its_data() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("oss1", mgs.endpoint(), vec![blank("/dev/sda"), blank("/dev/sdb")]);
    let ws = Terraform::at(mgs.endpoint());
    let config = TARGETS.replace("name = \"scratch\"\n", "name = \"scratch\"\n  deletion_policy = \"DEREGISTER\"\n");
    let config = config.replace("\"/dev/sdb\"\n", "\"/dev/sdb\"\n  deletion_policy = \"DEREGISTER\"\n");
    let config = config.replace("\"/dev/sda\"\n", "\"/dev/sda\"\n  deletion_policy = \"DEREGISTER\"\n");
    ws.write("main.tf", &config);
    ws.apply();
    let said = ws.run(&["plan", "-destroy"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("A target with data leaves the file system"), "{}", said.text);
    let said = ws.run(&["destroy", "-auto-approve"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!(node.formats(), 2);

    // Described again, it is taken up as it is: nothing is formatted.
    let said = ws.plan();
    assert!(said.text.contains("Exists on its device"), "{}", said.text);
    ws.apply();
    assert_eq!(node.formats(), 2);
    ws.expect_empty_plan();
}
