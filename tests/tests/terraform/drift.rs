//! What somebody does behind terraform's back is shown, and undone only by an apply.

use crate::site::{FILESYSTEM, MIB, Site, dirty, target, uuid};

#[test]
fn a_tunable_changed_by_hand_is_shown_and_set_back() -> anyhow::Result<()> {
    let site = Site::start()?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &dirty("512", "")));
    site.ws.apply();
    site.cluster.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "64", "--scope", "clients"])?;
    let plan = site.ws.plan();
    assert!(plan.text.contains(r#"~ value = "64" -> "512""#), "{}", plan.text);
    let refresh = site.ws.run(&["plan", "-refresh-only"]);
    assert!(refresh.text.contains(r#"~ value = "512" -> "64""#), "{}", refresh.text);
    site.ws.apply();
    site.ws.expect_empty_plan();

    site.cluster.mgsctl(&["param", "unset", "scratch", "osc.*.max_dirty_mb", "--scope", "clients"])?;
    let plan = site.ws.plan();
    assert!(plan.text.contains("lustre_param.dirty will be created"), "{}", plan.text);
    site.ws.apply();
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn a_target_deregistered_by_hand_is_taken_up_again_as_it_is() -> anyhow::Result<()> {
    let site = Site::start()?;
    let device = site.image("ost0", 300 * MIB)?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("ost0", "ost", &device, "index = 0")));
    site.ws.apply();
    let before = (uuid(&device)?, std::fs::read(&device)?);

    site.cluster.mgsctl(&["target", "delete", "scratch-OST0000"])?;
    site.cluster.wait_for("the target to be gone", || {
        Ok(site.cluster.mgsctl(&["target", "list"])?.as_array().is_some_and(Vec::is_empty))
    })?;
    let plan = site.ws.plan();
    assert_eq!(plan.code, 2, "{}", plan.text);
    for words in ["lustre_target.ost0 will be created", "Exists on its device", "nothing is formatted"] {
        assert!(plan.text.contains(words), "{words}: {}", plan.text);
    }
    site.ws.apply();
    assert_eq!(uuid(&device)?, before.0, "the same file system");
    assert!(std::fs::read(&device)? == before.1, "not a byte of it changed");
    site.ws.expect_empty_plan();
    Ok(())
}
