//! What is cut off in the middle goes on where it was, and nothing is formatted twice.

use crate::site::{Formatting, end_of, interrupt, label, spawn, uuid};

#[test]
fn an_interrupted_apply_goes_on_with_the_format_that_it_began() -> anyhow::Result<()> {
    let Formatting { site, mdt, apply, format } = Formatting::begin()?;
    interrupt(&apply)?;
    let said = end_of(apply)?;
    assert_eq!(said.code, 1, "{}", said.text);
    for words in
        ["Error: Interrupted", "on scratch-MDT0000", "The job goes on; apply again to wait for it", "mgsctl job watch"]
    {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert!(site.ws.state("lustre_target.mdt0").is_null(), "nothing half-made is in state, so nothing is tainted");

    // The job is still there: this apply waits for it.
    let plan = site.ws.plan();
    assert!(plan.text.contains("1 to add, 0 to change, 0 to destroy"), "{}", plan.text);
    let again = spawn(&site.ws, &["apply", "-auto-approve"])?;
    let chosen = format.uuid().to_owned();
    format.go_on();
    let said = end_of(again)?;
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!((label(&mdt)?.as_str(), uuid(&mdt)?), ("scratch:MDT0000", chosen), "the format that was begun first");
    assert_eq!(site.jobs()?, 1, "one job from beginning to end");
    assert_eq!(site.ws.state("lustre_target.mdt0")["state"], "registered");
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn a_format_that_is_cancelled_leaves_no_target_and_the_next_apply_formats() -> anyhow::Result<()> {
    let Formatting { site, mdt, apply, format } = Formatting::begin()?;
    let chosen = format.uuid().to_owned();
    let jobs = site.cluster.mgsctl(&["job", "list"])?;
    let id = jobs[0]["id"].as_str().unwrap_or_default();
    site.cluster.mgsctl(&["job", "cancel", id])?;
    let said = end_of(apply)?;
    drop(format);
    assert_eq!(said.code, 1, "{}", said.text);
    for words in ["Error: The job was cancelled", id, "When the cause is gone, apply again"] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert!(site.ws.state("lustre_target.mdt0").is_null(), "nothing half-made is in state");
    let devices = site.cluster.mgsctl(&["node", "devices", "oss1"])?.to_string();
    assert!(devices.contains("unfinished"), "{devices}");
    // There may be no superblock yet.
    assert!(!label(&mdt).is_ok_and(|label| label.contains("MDT0000")), "no label of a target");

    let plan = site.ws.plan();
    assert!(plan.text.contains("1 to add, 0 to change, 0 to destroy"), "{}", plan.text);
    assert!(!plan.text.contains("is lost"), "nobody is asked to give up half a format: {}", plan.text);
    site.ws.apply();
    assert_ne!(uuid(&mdt)?, chosen, "another format than the one that was cancelled");
    assert_eq!(label(&mdt)?, "scratch:MDT0000");
    assert_eq!(site.ws.state("lustre_target.mdt0")["state"], "registered");
    assert_eq!(site.jobs()?, 2);
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn an_agent_that_is_killed_in_the_middle_of_a_format_goes_on_with_it() -> anyhow::Result<()> {
    let Formatting { mut site, mdt, apply, format } = Formatting::begin()?;
    let chosen = format.uuid().to_owned();
    site.cluster.agent_mut("oss1").crash_and_restart()?;
    format.go_on();
    let said = end_of(apply)?;
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!((label(&mdt)?.as_str(), uuid(&mdt)?), ("scratch:MDT0000", chosen));
    assert_eq!(site.jobs()?, 1);
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn a_format_that_died_with_its_node_is_done_again_and_was_never_a_target() -> anyhow::Result<()> {
    let Formatting { mut site, mdt, apply, format } = Formatting::begin()?;
    let chosen = format.uuid().to_owned();
    site.cluster.agent_mut("oss1").kill();
    drop(format);
    let seen = site.cluster.mgsctl(&["target", "show", "scratch-MDT0000"])?;
    assert_eq!(seen["state"], "formatting", "{seen:#}");
    site.cluster.agent_mut("oss1").crash_and_restart()?;
    let said = end_of(apply)?;
    if said.code != 0 {
        assert!(said.text.contains("The job failed"), "{}", said.text);
        site.ws.apply();
    }
    assert_eq!(label(&mdt)?, "scratch:MDT0000");
    assert_ne!(chosen, "", "the first format had chosen an identity");
    assert_eq!(site.ws.state("lustre_target.mdt0")["state"], "registered");
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn an_mgs_that_is_killed_in_the_middle_of_a_format_goes_on_with_it() -> anyhow::Result<()> {
    let Formatting { mut site, mdt, apply, format } = Formatting::begin()?;
    let chosen = format.uuid().to_owned();
    site.cluster.mgs.crash_and_restart()?;
    format.go_on();
    // Whether the wait survives depends on the moment; the next apply finds out what became of it.
    let said = end_of(apply)?;
    if said.code != 0 {
        assert!(said.text.contains("The MGS"), "{}", said.text);
        site.ws.apply();
    }
    assert_eq!((label(&mdt)?.as_str(), uuid(&mdt)?), ("scratch:MDT0000", chosen));
    assert_eq!(site.jobs()?, 1);
    site.ws.expect_empty_plan();
    Ok(())
}
