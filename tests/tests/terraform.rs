//! A person with `terraform`: an MGS, two agents, image files as devices, and the examples.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Cluster, Terraform};

const MIB: u64 = 1 << 20;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/terraform").join(name)
}

fn label(device: &Path) -> String {
    let output = Command::new("/usr/sbin/e2label").arg(device).output().expect("e2label of e2fsprogs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn apply_brings_up_a_file_system_and_a_second_plan_is_empty() -> anyhow::Result<()> {
    let cluster = Cluster::start(&["mds1", "oss1"])?;
    let mdt = cluster.agent("mds1").image("mdt0", 300 * MIB)?;
    let osts = [cluster.agent("oss1").image("ost0", 300 * MIB)?, cluster.agent("oss1").image("ost1", 300 * MIB)?];
    let mds = format!("mds={{node=\"mds1\",device=\"{}\"}}", mdt.display());
    let oss = format!("oss={{oss1=[\"{}\",\"{}\"]}}", osts[0].display(), osts[1].display());
    let variables = ["-var", &mds, "-var", &oss];

    let terraform = Terraform::of_example(&example("scratch-4-ost"), cluster.mgs.endpoint())?;
    terraform.apply(&variables)?;
    assert_eq!(label(&mdt), "scratch:MDT0000");
    let mut labels = osts.each_ref().map(|ost| label(ost));
    labels.sort();
    assert_eq!(labels, ["scratch:OST0000", "scratch:OST0001"]);
    let outputs = terraform.outputs()?;
    assert_eq!(outputs["mount_source"]["value"], "10.9.0.1@tcp:/scratch");
    assert_eq!(outputs["state"]["value"], "ready");

    let (changes, text) = terraform.plan(&variables)?;
    assert!(!changes, "a second plan is empty:\n{text}");
    Ok(())
}

#[test]
fn a_device_with_a_foreign_file_system_is_refused_in_the_plan_and_left_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(&["oss1"])?;
    let mdt = cluster.agent("oss1").image("mdt", 300 * MIB)?;
    let home = cluster.agent("oss1").image("home", 300 * MIB)?;
    let made = Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-L", "home"]).arg(&home).status()?;
    assert!(made.success());
    let before = std::fs::read(&home)?;

    let terraform = Terraform::of_example(&example("minimal"), cluster.mgs.endpoint())?;
    let (mdt, ost) = (format!("mdt_device={}", mdt.display()), format!("ost_device={}", home.display()));
    let ran = terraform.run(&["plan", "-no-color", "-var", "node=oss1", "-var", &mdt, "-var", &ost])?;
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.text.contains("ext4") && ran.text.contains("home"), "it names what is on the device:\n{}", ran.text);
    assert!(std::fs::read(&home)? == before, "the device was not touched");
    Ok(())
}
