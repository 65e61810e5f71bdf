//! A site that exists is taken over: configuration is generated for it, and nothing is to be done then.

use std::fmt::Write;

use testkit::{Cluster, Terraform, repository};

use crate::site::MIB;

#[test]
fn the_whole_example_is_imported_with_generated_configuration_and_plans_empty() -> anyhow::Result<()> {
    let cluster = Cluster::start(&["mds1", "oss1", "oss2"])?;
    let mdt = cluster.agent("mds1").image("mdt0", 300 * MIB)?;
    let mut oss = String::new();
    for node in ["oss1", "oss2"] {
        let osts = ["a", "b"].map(|name| cluster.agent(node).image(name, 300 * MIB));
        let [a, b] = osts;
        write!(oss, "{node} = [{:?}, {:?}], ", a?, b?)?;
    }
    let examples = repository().join("examples/terraform");
    let scratch = Terraform::of_example(&examples.join("scratch-4-ost"), cluster.mgs.endpoint());
    scratch.write("terraform.tfvars", &format!("mds = {{ node = \"mds1\", device = {mdt:?} }}\noss = {{ {oss} }}\n"));
    scratch.apply();
    let tuned = Terraform::of_example(&examples.join("pools-and-params"), cluster.mgs.endpoint());
    tuned.write("terraform.tfvars", "flash_osts = [\"OST[0-1]\"]\n");
    tuned.apply();

    let mut blocks = String::new();
    let ids = [
        ("lustre_filesystem.scratch", "scratch"),
        ("lustre_target.mdt0", "scratch-MDT0000"),
        ("lustre_target.ost0", "scratch-OST0000"),
        ("lustre_target.ost1", "scratch-OST0001"),
        ("lustre_target.ost2", "scratch-OST0002"),
        ("lustre_target.ost3", "scratch-OST0003"),
        ("lustre_pool.flash", "scratch.flash"),
        ("lustre_param.dirty", "scratch/clients/osc.*.max_dirty_mb"),
        ("lustre_param.timeout", "scratch/filesystem/timeout"),
    ];
    for (address, id) in ids {
        write!(blocks, "import {{\n  to = {address}\n  id = {id:?}\n}}\n")?;
    }
    let ws = Terraform::at(cluster.mgs.endpoint());
    ws.write("import.tf", &blocks);
    let said = ws.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("9 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();
    assert_eq!(ws.state("lustre_target.ost3")["node"], scratch_node(&scratch, 3));
    scratch.expect_empty_plan();
    tuned.expect_empty_plan();
    Ok(())
}

/// The node of an OST, as the one who made it knows it.
fn scratch_node(scratch: &Terraform, index: usize) -> String {
    let place = scratch.outputs()["osts"]["value"][format!("scratch-OST{index:04x}")].clone();
    place.as_str().and_then(|place| place.split(':').next()).unwrap_or_default().to_owned()
}
