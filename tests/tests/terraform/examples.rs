//! The examples, whole: over LNet, with targets that the userspace driver starts.

use testkit::{Cluster, Terraform, repository};

use crate::site::{MIB, label};

/// An example of the repository, with its variables.
fn example(name: &str, cluster: &Cluster, variables: &str) -> Terraform {
    let ws = Terraform::of_example(&repository().join("examples/terraform").join(name), cluster.mgs.endpoint());
    ws.write("terraform.tfvars", variables);
    ws
}

#[test]
fn minimal_is_a_file_system_and_a_second_plan_is_empty() -> anyhow::Result<()> {
    let cluster = Cluster::start_userspace(&["oss1"])?;
    let devices = ["mdt", "ost"].map(|name| cluster.agent("oss1").image(name, 300 * MIB));
    let [mdt, ost] = devices;
    let (mdt, ost) = (mdt?, ost?);
    let variables = format!("node = \"oss1\"\nmdt_device = {mdt:?}\nost_device = {ost:?}\n");
    let ws = example("minimal", &cluster, &variables);
    ws.apply();
    assert_eq!((label(&mdt)?.as_str(), label(&ost)?.as_str()), ("tiny-MDT0000", "tiny-OST0000"));
    assert_eq!(ws.outputs()["mount_source"]["value"], "127.0.0.1@tcp:/tiny");
    ws.expect_empty_plan();
    Ok(())
}

#[test]
fn an_interrupted_apply_is_continued_and_a_cancelled_format_done_again_as_the_example_shows() -> anyhow::Result<()> {
    let bin = testkit::binary("lustre-mgs")?;
    let mut example = std::process::Command::new(repository().join("examples/interrupted/run"));
    let output = example.env("LUSTRE_BIN", bin.parent().unwrap_or(&bin)).output()?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    for words in ["Error: Interrupted", "Error: The job was cancelled", "(unfinished)", "No changes."] {
        assert!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}

#[test]
fn apply_brings_up_a_file_system_on_two_nodes_and_a_second_plan_is_empty() -> anyhow::Result<()> {
    let cluster = Cluster::start_userspace(&["mds1", "oss1"])?;
    // Real block devices, as far as a machine without spare disks has them.
    let mdt = cluster.agent("mds1").loop_device("mdt0", 300 * MIB)?;
    let a = cluster.agent("oss1").loop_device("ost0", 300 * MIB)?;
    let b = cluster.agent("oss1").loop_device("ost1", 300 * MIB)?;
    let variables = format!(
        "mds = {{ node = \"mds1\", device = {:?} }}\noss = {{ oss1 = [{:?}, {:?}] }}\n",
        mdt.path(),
        a.path(),
        b.path()
    );
    let scratch = example("scratch-4-ost", &cluster, &variables);
    scratch.apply();
    assert_eq!(label(mdt.path())?, "scratch-MDT0000", "registered");
    let mut labels = [label(a.path())?, label(b.path())?];
    labels.sort();
    assert_eq!(labels, ["scratch-OST0000", "scratch-OST0001"]);
    let outputs = scratch.outputs();
    assert_eq!(outputs["mount_source"]["value"], "127.0.0.1@tcp:/scratch");
    assert_eq!(outputs["state"]["value"], "ready");
    scratch.expect_empty_plan();

    let tuned = example("pools-and-params", &cluster, "flash_osts = [\"OST[0-1]\"]\n");
    tuned.apply();
    tuned.expect_empty_plan();
    scratch.expect_empty_plan();
    Ok(())
}
