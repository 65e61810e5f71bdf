//! Two people at once: nobody's change is lost, and nothing is done twice.

use testkit::HaltedFormat;

use crate::site::{FILESYSTEM, MIB, Site, TIB, dirty, end_of, label, spawn, target, uuid};

#[test]
fn two_applies_at_once_make_one_format() -> anyhow::Result<()> {
    let site = Site::start()?;
    let mdt = site.image("mdt0", TIB)?;
    let config = FILESYSTEM.to_owned() + &target("mdt0", "mdt", &mdt, "index = 0");
    let other = site.somebody_else();
    site.ws.write("main.tf", &config);
    other.write("main.tf", &config);
    let first = spawn(&site.ws, &["apply", "-auto-approve"])?;
    let format = HaltedFormat::of(&mdt)?;
    let second = spawn(&other, &["apply", "-auto-approve"])?;
    let chosen = format.uuid().to_owned();
    format.go_on();
    for said in [end_of(first)?, end_of(second)?] {
        assert_eq!(said.code, 0, "{}", said.text);
    }
    assert_eq!((label(&mdt)?.as_str(), uuid(&mdt)?), ("scratch:MDT0000", chosen));
    assert_eq!(site.jobs()?, 1);
    site.ws.expect_empty_plan();
    other.expect_empty_plan();
    Ok(())
}

#[test]
fn one_device_for_two_targets_goes_to_who_asked_first() -> anyhow::Result<()> {
    let site = Site::start()?;
    let device = site.image("disk", TIB)?;
    let other = site.somebody_else();
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("mdt0", "mdt", &device, "index = 0")));
    other.write("main.tf", &(FILESYSTEM.to_owned() + &target("ost0", "ost", &device, "index = 0")));
    assert_eq!(other.plan().code, 2, "nothing is wrong with it yet");
    let first = spawn(&site.ws, &["apply", "-auto-approve"])?;
    let format = HaltedFormat::of(&device)?;
    let refused = other.refused(&["apply", "-auto-approve"]);
    refused.assert("lustre_target.ost0", &format!("device = {device:?}"), &["scratch-MDT0000"]);
    format.go_on();
    assert_eq!(end_of(first)?.code, 0);
    assert_eq!(label(&device)?, "scratch:MDT0000");
    Ok(())
}

#[test]
fn a_saved_plan_that_is_stale_is_refused_with_what_changed() -> anyhow::Result<()> {
    let site = Site::start()?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &dirty("512", "")));
    site.ws.apply();
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &dirty("256", "")));
    assert_eq!(site.ws.run(&["plan", "-out=saved"]).code, 0);
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "1024", "--scope", "clients"])?;
    let refused = site.ws.refused(&["apply", "saved"]);
    refused.assert(
        "lustre_param.dirty",
        "value = \"256\"",
        &["Changed since the plan", "scratch/clients/osc.*.max_dirty_mb", "value was \"512\" and is \"1024\""],
    );
    let kept = site.cluster.mgsctl(&["param", "get", "scratch", "osc.*.max_dirty_mb", "--scope", "clients"])?;
    assert_eq!(kept["value"], "1024", "{kept:#}");
    Ok(())
}

/// The provider's own look at the MGS is older than the change: only the MGS can know.
#[test]
fn a_change_during_an_apply_is_a_conflict_that_the_mgs_sees() -> anyhow::Result<()> {
    let site = Site::start()?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &dirty("512", "")));
    site.ws.apply();
    let mdt = site.image("mdt0", TIB)?;
    let config = [
        FILESYSTEM.to_owned(),
        dirty("256", "depends_on = [lustre_target.mdt0]"),
        target("mdt0", "mdt", &mdt, "index = 0"),
    ];
    site.ws.write("main.tf", &config.concat());
    let apply = spawn(&site.ws, &["apply", "-auto-approve", "-json"])?;
    let format = HaltedFormat::of(&mdt)?;
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "1024", "--scope", "clients"])?;
    format.go_on();
    let output = apply.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1));
    let mut found = testkit::diagnostics(&String::from_utf8_lossy(&output.stdout));
    found.retain(|diagnostic| diagnostic.is_error);
    let [refused] = found.as_slice() else { panic!("one problem expected: {found:#?}") };
    assert_eq!(refused.address, "lustre_param.dirty");
    assert!(refused.summary.contains("Changed since the plan"), "{refused:#?}");
    assert!(refused.detail.contains("osc.*.max_dirty_mb"), "{refused:#?}");
    let kept = site.cluster.mgsctl(&["param", "get", "scratch", "osc.*.max_dirty_mb", "--scope", "clients"])?;
    assert_eq!(kept["value"], "1024", "{kept:#}");
    site.ws.apply();
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn an_index_that_is_taken_is_refused_at_its_line() -> anyhow::Result<()> {
    let site = Site::start()?;
    let devices = [site.image("ost0", 300 * MIB)?, site.image("ost1", 300 * MIB)?];
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("a", "ost", &devices[0], "index = 0")));
    site.ws.apply();
    site.ws.write(
        "main.tf",
        &[
            FILESYSTEM.to_owned(),
            target("a", "ost", &devices[0], "index = 0"),
            target("b", "ost", &devices[1], "index = 0"),
        ]
        .concat(),
    );
    site.ws.refused(&["plan"]).assert("lustre_target.b", "index = 0", &["scratch-OST0000"]);
    Ok(())
}
