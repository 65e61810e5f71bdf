//! Tunables: refused before anything happens, applied, proven on nodes, changed by hand, put back.

use testkit::{Cluster, Terraform, repository};

use crate::site::{FILESYSTEM, Site};

pub(crate) const DEVICE: &str = "osc/scratch-OST0000-osc-ff01";
const LLITE: &str = "llite/scratch-ff01";

/// Two clients with what a kernel would show of a mounted file system.
pub(crate) fn clients() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(&["c1", "c2"])?;
    cluster.mgsctl(&["fs", "create", "scratch"])?;
    for node in ["c1", "c2"] {
        let agent = cluster.agent(node);
        agent.set_tunable(&format!("{DEVICE}/max_dirty_mb"), "2000")?;
        agent.set_tunable(&format!("{DEVICE}/max_pages_per_rpc"), "1024")?;
        agent.set_tunable(&format!("{LLITE}/max_read_ahead_mb"), "256")?;
    }
    Ok(cluster)
}

#[test]
fn tunables_are_applied_and_proven_and_drift_on_a_node_is_shown() -> anyhow::Result<()> {
    let cluster = clients()?;
    // Nodes take permanent values from the MGS's logs; here each is tried on all of them, which is as good.
    cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "64M", "--canary", "c1"])?;
    for node in ["c1", "c2"] {
        assert_eq!(cluster.agent(node).tunable(&format!("{DEVICE}/max_dirty_mb"))?, "64M");
    }
    cluster.mgsctl(&["param", "unset", "scratch", "osc.*.max_dirty_mb"])?;

    let example = repository().join("examples/terraform/tunables");
    let ws = Terraform::of_example(&example, cluster.mgs.endpoint());
    let applied = ws.apply();
    assert!(!applied.text.contains("Check block assertion failed"), "{}", applied.text);
    let outputs = ws.outputs();
    let names = &outputs["both_names"]["value"];
    assert_eq!(names["llite.scratch-*.max_read_ahead_mb"], "scratch.llite.max_read_ahead_mb");
    assert!(outputs["known_of_read_ahead"]["value"].as_array().is_some_and(|known| known.len() >= 3));
    ws.expect_empty_plan();

    // By hand, behind everybody's back.
    cluster.agent("c2").set_tunable(&format!("{DEVICE}/max_dirty_mb"), "48")?;
    let plan = ws.plan();
    for words in [
        "\"c2\" = \"osc.scratch-OST0000-osc-ff01.max_dirty_mb is 48 instead of 64M\"",
        "1 to change",
        "c2: it is set there again",
    ] {
        assert!(plan.text.contains(words), "{words}: {}", plan.text);
    }
    // The apply sets it right there, and says what nodes have then.
    ws.apply();
    assert_eq!(cluster.agent("c2").tunable(&format!("{DEVICE}/max_dirty_mb"))?, "64M");
    let proof = ws.outputs()["proof"]["value"]["osc.*.max_dirty_mb"].clone();
    assert_eq!(proof, serde_json::json!({ "c1": "applied", "c2": "applied" }));
    ws.expect_empty_plan();
    Ok(())
}

#[test]
fn a_value_is_tried_on_a_canary_and_confirms_itself_when_it_is_proven() -> anyhow::Result<()> {
    let cluster = clients()?;
    let ws = Terraform::at(cluster.mgs.endpoint());
    let more = "canary = \"c2\"\n  confirm_within_s = 60\n  confirm_when_proven = true";
    ws.write(
        "main.tf",
        &format!(
            "resource \"lustre_param\" \"dirty\" {{\n  filesystem = \"scratch\"\n  name = \"osc.*.max_dirty_mb\"\n  \
             value = \"64M\"\n  {more}\n}}\n"
        ),
    );
    // As a kernel that takes no value.
    cluster.agent("c2").set_tunable_mode(&format!("{DEVICE}/max_dirty_mb"), 0o444)?;
    let words =
        ["c2: osc.scratch-OST0000-osc-ff01.max_dirty_mb: can only be read", "every node has its value before again"];
    ws.refused(&["apply", "-auto-approve"]).assert("lustre_param.dirty", "value = \"64M\"", &words);
    assert_eq!(cluster.agent("c1").tunable(&format!("{DEVICE}/max_dirty_mb"))?, "2000", "no other node saw it");
    cluster.agent("c2").set_tunable_mode(&format!("{DEVICE}/max_dirty_mb"), 0o644)?;

    let applied = ws.apply();
    assert!(!applied.text.contains("Waits for confirmation"), "{}", applied.text);
    for node in ["c1", "c2"] {
        assert_eq!(cluster.agent(node).tunable(&format!("{DEVICE}/max_dirty_mb"))?, "64M");
    }
    let param = cluster.mgsctl(&["param", "get", "scratch", "osc.*.max_dirty_mb"])?;
    assert!(param["confirm_until"].is_null(), "{param}");
    ws.expect_empty_plan();
    Ok(())
}

#[test]
fn what_is_wrong_with_a_tunable_is_refused_in_the_plan() -> anyhow::Result<()> {
    let site = Site::start()?;
    let param = |name: &str, scope: &str, value: &str| {
        format!(
            "resource \"lustre_param\" \"p\" {{\n  filesystem = lustre_filesystem.scratch.name\n  scope = {scope:?}\n  \
             name = {name:?}\n  value = {value:?}\n}}\n"
        )
    };
    for (name, scope, value, line, words) in [
        ("osc.*.max_dirty_md", "filesystem", "64", "name = \"osc.*.max_dirty_md\"", "osc.*.max_dirty_mb"),
        ("osc.*.max_dirty_mb", "filesystem", "4G", "value = \"4G\"", "1 MiB to 1.9 GiB"),
        ("osc.*.checksums", "filesystem", "perhaps", "value = \"perhaps\"", "0 or 1"),
        ("obdfilter.*.brw_size", "mdts", "4M", "scope = \"mdts\"", "obdfilter devices are of OSTs"),
        ("mdt.*.evict_client", "filesystem", "x", "name = \"mdt.*.evict_client\"", "can't be set permanently"),
        ("obdfilter.*.brw_size", "osts", "3M", "value = \"3M\"", "powers of two"),
        ("timeout", "filesystem", "64M", "value = \"64M\"", "a whole number, which is in s, is expected"),
        (
            "osc.*.max_dirty_mb",
            "home-OST0000",
            "64",
            "scope = \"home-OST0000\"",
            "target home-OST0000 is not of scratch",
        ),
        (
            "osc.hoem-OST*.max_dirty_mb",
            "filesystem",
            "64",
            "name = \"osc.hoem-OST*.max_dirty_mb\"",
            "matches nothing: no file system has a device called hoem-OST*",
        ),
    ] {
        site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &param(name, scope, value)));
        site.ws.refused(&["plan"]).assert("lustre_param.p", line, &[words]);
    }
    let long = "u".repeat(4095);
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &param("jobid_name", "filesystem", &long)));
    let words = "is too long: with its name it has 4106 bytes, a log takes 4095";
    site.ws.refused(&["plan"]).assert("lustre_param.p", &format!("value = {long:?}"), &[words]);
    Ok(())
}

#[test]
fn a_revert_restores_what_terraform_had_set() -> anyhow::Result<()> {
    let cluster = clients()?;
    let ws = Terraform::of_example(&repository().join("examples/terraform/tunables"), cluster.mgs.endpoint());
    ws.apply();
    // Nothing reads the MGS's logs on these nodes: it is drift, and applying again sets it there.
    assert!(ws.plan().text.contains("to change"));
    ws.apply();
    ws.expect_empty_plan();
    let revision = cluster.mgsctl(&["param", "list"])?.as_array().map(|params| {
        params.iter().filter_map(|param| param["revision"].as_u64()).max().unwrap_or_default().to_string()
    });
    let revision = revision.unwrap_or_default();
    cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "32"])?;
    cluster.mgsctl(&["param", "unset", "scratch", "llite.*.max_read_ahead_mb"])?;
    assert!(ws.plan().text.contains("to add"), "what somebody unset is shown");
    let reverted = cluster.mgsctl(&["param", "revert", &revision, "--why", "a bad night"])?;
    assert_eq!(reverted["object"]["differences"].as_array().map(Vec::len), Some(2), "{reverted}");
    ws.expect_empty_plan();
    Ok(())
}
