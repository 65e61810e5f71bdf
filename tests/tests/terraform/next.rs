//! What newer Terraforms can do: identity (1.12) and lists (1.14), with the real 1.15.

use testkit::Terraform;

use crate::site::{FILESYSTEM, MIB, Site, dirty, target};

/// A file system with one of each kind.
fn configuration(site: &Site) -> anyhow::Result<String> {
    let ost = site.image("ost0", 300 * MIB)?;
    let pool = "resource \"lustre_pool\" \"flash\" {\n  filesystem = lustre_filesystem.scratch.name\n  name = \"flash\"\n  \
                members = [lustre_target.ost0.svname]\n}\n";
    Ok([FILESYSTEM, &target("ost0", "ost", &ost, ""), &dirty("512", ""), pool].concat())
}

fn at(site: &Site) -> Terraform {
    site.somebody_else().next()
}

#[test]
fn a_newer_terraform_keeps_the_identity_of_each_object_and_plans_empty() -> anyhow::Result<()> {
    let site = Site::start()?;
    let ws = at(&site);
    ws.write("main.tf", &configuration(&site)?);
    ws.apply();
    ws.expect_empty_plan();
    let state: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(ws.path("terraform.tfstate"))?)?;
    let resources = state["resources"].as_array().cloned().unwrap_or_default();
    let identity = |kind: &str| {
        let found = resources.iter().find(|resource| resource["type"] == kind);
        found.map(|resource| resource["instances"][0]["identity"].clone()).unwrap_or_default()
    };
    assert_eq!(identity("lustre_target"), serde_json::json!({ "svname": "scratch-OST0000" }));
    assert_eq!(identity("lustre_pool"), serde_json::json!({ "filesystem": "scratch", "name": "flash" }));
    assert_eq!(
        identity("lustre_param"),
        serde_json::json!({ "filesystem": "scratch", "scope": "clients", "name": "osc.*.max_dirty_mb" })
    );

    // Drift is no other object.
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "64", "--scope", "clients"])?;
    ws.apply();
    ws.expect_empty_plan();
    Ok(())
}

#[test]
fn objects_are_imported_by_identity() -> anyhow::Result<()> {
    let site = Site::start()?;
    let config = configuration(&site)?;
    site.ws.write("main.tf", &config);
    site.ws.apply();
    let ws = at(&site);
    ws.write(
        "import.tf",
        r#"
        import {
          to       = lustre_filesystem.scratch
          identity = { name = "scratch" }
        }
        import {
          to       = lustre_target.ost0
          identity = { svname = "scratch-OST0000" }
        }
        import {
          to       = lustre_pool.flash
          identity = { filesystem = "scratch", name = "flash" }
        }
        import {
          to       = lustre_param.dirty
          identity = { filesystem = "scratch", scope = "clients", name = "osc.*.max_dirty_mb" }
        }
        "#,
    );
    let said = ws.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("4 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();
    Ok(())
}

#[test]
fn what_an_mgs_has_is_listed_with_configuration_to_take_it_over() -> anyhow::Result<()> {
    let site = Site::start()?;
    site.ws.write("main.tf", &configuration(&site)?);
    site.ws.apply();
    let ws = at(&site);
    let list = |kind: &str, body: &str| format!("list \"{kind}\" \"all\" {{\n  provider = lustre\n{body}}}\n");
    let only = "  config {\n    filesystem = \"scratch\"\n  }\n";
    let other =
        "list \"lustre_target\" \"others\" {\n  provider = lustre\n  config {\n    filesystem = \"home\"\n  }\n}\n";
    ws.write(
        "all.tfquery.hcl",
        &[
            list("lustre_filesystem", ""),
            list("lustre_target", only),
            list("lustre_pool", ""),
            list("lustre_param", only),
            other.to_owned(),
        ]
        .concat(),
    );
    let said = ws.run(&["query", "-generate-config-out=found.tf"]);
    assert_eq!(said.code, 0, "{}", said.text);
    for words in ["svname=scratch-OST0000", "filesystem=scratch,name=flash", "name=scratch"] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert!(said.text.contains("[list.lustre_target.others] returned 0 results"), "none is of home: {}", said.text);
    let said = ws.run(&["plan"]);
    assert!(said.text.contains("4 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();
    Ok(())
}
