//! `lustre_params`: several tunables at once, exclusive, imported, and what waits for a confirmation.

use crate::site::{FILESYSTEM, Site};

fn set(params: &[(&str, &str)], more: &str) -> String {
    let lines: String = params.iter().map(|(name, value)| format!("    {name:?} = {value:?}\n")).collect();
    format!(
        "{FILESYSTEM}resource \"lustre_params\" \"all\" {{\n  filesystem = lustre_filesystem.scratch.name\n  scope = \"clients\"\n  \
         params = {{\n{lines}  }}\n  {more}\n}}\n"
    )
}

#[test]
fn tunables_are_set_together_and_others_are_unset_where_it_is_exclusive() -> anyhow::Result<()> {
    let site = Site::start()?;
    site.ws.write("main.tf", &set(&[("osc.*.max_dirty_mb", "64M"), ("llite.*.max_read_ahead_mb", "256")], ""));
    let applied = site.ws.apply();
    assert!(applied.text.contains("the clients of scratch"), "{}", applied.text);
    site.ws.expect_empty_plan();
    let listed = site.cluster.mgsctl(&["param", "list"])?;
    let revisions: Vec<_> = listed.as_array().into_iter().flatten().map(|param| &param["revision"]).collect();
    assert!(revisions.len() == 2 && revisions[0] == revisions[1], "one commit: {listed}");

    // Another spelling of the same, and a tunable that is none of its business.
    site.ws.write("main.tf", &set(&[("osc/*/max_dirty_mb", "67108864B"), ("llite.*.max_read_ahead_mb", "256M")], ""));
    site.ws.expect_empty_plan();
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_rpcs_in_flight", "16", "--scope", "clients"])?;
    site.ws.expect_empty_plan();

    let exclusive = set(&[("osc.*.max_dirty_mb", "64M"), ("llite.*.max_read_ahead_mb", "128")], "exclusive = true");
    site.ws.write("main.tf", &exclusive);
    site.ws.apply();
    let listed = site.cluster.mgsctl(&["param", "list"])?;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    site.ws.expect_empty_plan();

    // What somebody sets besides is drift now.
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_rpcs_in_flight", "16", "--scope", "clients"])?;
    let plan = site.ws.plan();
    for words in ["osc.*.max_rpcs_in_flight", "1 to change"] {
        assert!(plan.text.contains(words), "{words}: {}", plan.text);
    }
    site.ws.apply();
    site.ws.expect_empty_plan();

    let other = site.somebody_else();
    other.write("import.tf", "import {\n  to = lustre_params.all\n  id = \"scratch/clients\"\n}\n");
    let said = other.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("1 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);

    site.ws.run(&["destroy", "-auto-approve"]);
    assert_eq!(site.cluster.mgsctl(&["param", "list"])?.as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn one_bad_value_of_a_set_refuses_all_of_it_in_the_plan() -> anyhow::Result<()> {
    let site = Site::start()?;
    for (name, value, words) in [
        ("osc.*.max_dirty_md", "64", "osc.*.max_dirty_mb"),
        ("osc.*.max_rpcs_in_flight", "9999", "1 to 256"),
        ("osc.*.checksums", "perhaps", "0 or 1"),
        ("mdt.*.evict_client", "x", "can't be set permanently"),
        ("osc.*.checksum_type", "md5", "crc32"),
    ] {
        site.ws.write("main.tf", &set(&[("osc.*.max_dirty_mb", "64M"), (name, value)], ""));
        let lines = format!("params = {{\n    \"osc.*.max_dirty_mb\" = \"64M\"\n    {name:?} = {value:?}\n  }}");
        site.ws.refused(&["plan"]).assert("lustre_params.all", &lines, &[words]);
    }
    assert_eq!(site.cluster.mgsctl(&["param", "list"])?.as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn tunables_that_nobody_confirms_go_back_by_themselves_also_after_the_mgs_was_killed() -> anyhow::Result<()> {
    let mut site = Site::start()?;
    site.ws.write("main.tf", &set(&[("osc.*.max_dirty_mb", "64M")], ""));
    site.ws.apply();
    site.ws.write("main.tf", &set(&[("osc.*.max_dirty_mb", "32M")], "confirm_within_s = 10"));
    let applied = site.ws.apply();
    assert!(applied.text.contains("Waits for confirmation"), "{}", applied.text);
    let value = |site: &Site| -> anyhow::Result<String> {
        let param = site.cluster.mgsctl(&["param", "get", "scratch", "osc.*.max_dirty_mb", "--scope", "clients"])?;
        Ok(param["value"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(value(&site)?, "32M");
    site.cluster.mgs.crash_and_restart()?;
    site.cluster.wait_for("the value before to be back", || Ok(value(&site)? == "64M"))?;
    // It is drift again: terraform wants what nobody confirmed.
    assert!(site.ws.plan().text.contains("1 to change"));
    Ok(())
}
