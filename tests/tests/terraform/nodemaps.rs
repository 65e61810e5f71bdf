//! examples/terraform/nodemaps: described, put in force, confirmed, imported, changed by others.

use testkit::{Cluster, Terraform, repository};

use crate::site::Site;

fn example() -> anyhow::Result<(Cluster, Terraform)> {
    let cluster = Cluster::start(&[])?;
    let ws = Terraform::of_example(&repository().join("examples/terraform/nodemaps"), cluster.mgs.endpoint());
    Ok((cluster, ws))
}

#[test]
fn nodemaps_are_described_once_confirmed_and_taken_back_by_destroy() -> anyhow::Result<()> {
    let (cluster, ws) = example()?;
    let applied = ws.apply();
    for words in ["Who notices", "Waits for confirmation", "mgsctl nodemap confirm"] {
        assert!(applied.text.contains(words), "{words}: {}", applied.text);
    }
    assert_eq!(ws.outputs()["numbers"]["value"]["default"], 0);
    ws.expect_empty_plan();
    let listed = cluster.mgsctl(&["nodemap", "list"])?;
    assert!(listed["active"] == true && listed["confirm_until"].is_string(), "{listed}");
    cluster.mgsctl(&["nodemap", "confirm"])?;
    assert!(cluster.mgsctl(&["nodemap", "list"])?["confirm_until"].is_null());
    ws.expect_empty_plan();

    // Others change it: by one range, and by the notation of what is there, which is no change.
    cluster.mgsctl(&["nodemap", "add", "computes", "--range", "10.0.3.1@tcp", "--uid", "502:602"])?;
    let plan = ws.plan();
    for words in ["10.0.3.1@tcp", "\"502\"", "1 to change"] {
        assert!(plan.text.contains(words), "{words}: {}", plan.text);
    }
    cluster.mgsctl(&["nodemap", "remove", "computes", "--range", "10.0.3.1@tcp", "--uid", "502"])?;
    ws.expect_empty_plan();

    // Taken over by somebody else, with a configuration that terraform writes.
    let other = Terraform::at(cluster.mgs.endpoint());
    let blocks = [("lustre_nodemap.computes", "computes"), ("lustre_nodemaps.this", "nodemaps")];
    let blocks = blocks.map(|(to, id)| format!("import {{\n  to = {to}\n  id = {id:?}\n}}\n"));
    other.write("import.tf", &blocks.concat());
    let said = other.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("2 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);

    ws.run(&["destroy", "-auto-approve"]);
    let listed = cluster.mgsctl(&["nodemap", "list"])?;
    assert!(listed["active"] == false && listed["items"].as_array().is_some_and(Vec::is_empty), "{listed}");
    Ok(())
}

#[test]
fn what_is_wrong_with_a_nodemap_is_refused_in_the_plan() -> anyhow::Result<()> {
    let site = Site::start()?;
    let file = site.cluster.dir().join("taken.json");
    std::fs::write(&file, r#"{ "name": "taken", "ranges": ["10.0.0.[1-9]@tcp"] }"#)?;
    site.cluster.mgsctl(&["nodemap", "set", &file.display().to_string()])?;
    for (attribute, words) in [
        ("ranges = [\"10.0.0.300@tcp\"]", "is not understood"),
        ("ranges = [\"10.0.0.7@tcp\"]", "nodemap taken has NIDs of 10.0.0.7@tcp"),
        ("ranges = [\"10.0.1.*@tcp\", \"10.0.1.7@tcp\"]", "have NIDs in common"),
        ("uids = { root = 0 }", "is no id"),
        ("fileset = \"../up\"", "is no absolute path"),
        ("squash_uid = -1", "is not a whole number"),
    ] {
        site.ws.write("main.tf", &format!("resource \"lustre_nodemap\" \"n\" {{\n  name = \"n\"\n  {attribute}\n}}\n"));
        site.ws.refused(&["plan"]).assert("lustre_nodemap.n", attribute, &[words]);
    }
    Ok(())
}
