//! What is wrong is refused in the plan, at its line, with what was found and what to do; devices stay as they are.

use std::path::Path;
use std::process::Command;

use testkit::{Terraform, run};

use crate::site::{FILESYSTEM, MIB, Site, dirty, target};

#[test]
fn a_device_that_can_not_be_taken_is_refused_by_what_is_on_it_and_left_alone() -> anyhow::Result<()> {
    let site = Site::start()?;
    let make = |name: &str, command: &[&str]| -> anyhow::Result<std::path::PathBuf> {
        let device = site.image(name, 400 * MIB)?;
        run(Command::new(command[0]).args(&command[1..]).arg(&device).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"))?;
        Ok(device)
    };
    let ext4 = make("ext4", &["mke2fs", "-q", "-t", "ext4", "-L", "home"])?;
    let xfs = make("xfs", &["mkfs.xfs", "-q", "-L", "projects"])?;
    let swap = make("swap", &["mkswap", "-q"])?;
    let small = site.image("small", MIB)?;
    let missing = std::path::PathBuf::from("/dev/disk/by-id/nothing");
    for (device, words) in [
        (&ext4, &["ext4", "home", "allow_reformat"][..]),
        (&xfs, &["xfs", "projects", "allow_reformat"]),
        (&swap, &["swap", "allow_reformat"]),
        (&small, &["too small", "1 MiB"]),
        (&missing, &["oss1 has no device /dev/disk/by-id/nothing; it has"]),
    ] {
        let before = std::fs::read(device).unwrap_or_default();
        site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("t", "ost", device, "index = 0")));
        let refused = site.ws.refused(&["plan"]);
        refused.assert("lustre_target.t", &format!("device = {device:?}"), words);
        assert!(std::fs::read(device).unwrap_or_default() == before, "{} was touched", device.display());
    }
    assert_eq!(site.jobs()?, 0);
    Ok(())
}

#[test]
fn a_mounted_device_is_refused_whatever_is_allowed() -> anyhow::Result<()> {
    let site = Site::start()?;
    let device = site.agent().loop_device("disk", 400 * MIB)?;
    run(Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-L", "home"]).arg(device.path()))?;
    let home = site.cluster.dir().join("home");
    let mounted = device.mount(&home)?;
    std::fs::write(home.join("thesis"), "years of work")?;
    let config = target("t", "ost", device.path(), "index = 0\n  allow_reformat = true");
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &config));
    let line = format!("device = {:?}", device.path());
    site.ws.refused(&["plan"]).assert("lustre_target.t", &line, &["mounted", &home.display().to_string()]);
    assert_eq!(std::fs::read_to_string(home.join("thesis"))?, "years of work");

    // Unmounted, it is shown what is lost, and then it is lost: that was asked for.
    drop(mounted);
    let plan = site.ws.plan();
    assert!(plan.text.contains("this is lost: ext4 label=home"), "{}", plan.text);
    site.ws.apply();
    assert_eq!(crate::site::label(device.path())?, "scratch:OST0000");
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn one_device_in_two_resources_is_refused() -> anyhow::Result<()> {
    let site = Site::start()?;
    let device = site.image("disk", 400 * MIB)?;
    let config = [
        FILESYSTEM.to_owned(),
        target("a", "ost", &device, "index = 0"),
        target("b", "ost", &device, "index = 1\n  depends_on = [lustre_target.a]"),
    ];
    site.ws.write("main.tf", &config.concat());
    let line = format!("device = {device:?}");
    site.ws.refused(&["plan"]).assert("lustre_target.b", &line, &["Described twice", &device.display().to_string()]);
    Ok(())
}

#[test]
fn a_wrong_name_or_value_is_refused_at_its_line() -> anyhow::Result<()> {
    let site = Site::start()?;
    let filesystem = |name: &str| format!("resource \"lustre_filesystem\" \"f\" {{\n  name = {name:?}\n}}\n");
    for (name, words) in [("much-too-long", &["8"][..]), ("", &["empty"]), ("a.b", &["'.'"])] {
        site.ws.write("main.tf", &filesystem(name));
        site.ws.refused(&["plan"]).assert("lustre_filesystem.f", &format!("name = {name:?}"), words);
    }
    let blank = site.image("blank", 400 * MIB)?;
    for (config, address, line, words) in [
        (dirty("many", ""), "lustre_param.dirty", "value = \"many\"", &["max_dirty_mb"][..]),
        (dirty("0", ""), "lustre_param.dirty", "value = \"0\"", &["range"]),
        (target("t", "ost", &blank, "index = 65536"), "lustre_target.t", "index = 65536", &["65536 is out of range"]),
        (
            target("t", "ost", &blank, "").replace("oss1", "oss9"),
            "lustre_target.t",
            "node = \"oss9\"",
            &["no node oss9 has enrolled"],
        ),
    ] {
        site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &config));
        site.ws.refused(&["plan"]).assert(address, line, words);
    }
    Ok(())
}

#[test]
fn an_mgs_or_an_agent_that_can_not_be_reached_is_named() -> anyhow::Result<()> {
    let mut site = Site::start()?;
    let device = site.image("disk", 400 * MIB)?;
    let config = FILESYSTEM.to_owned() + &target("t", "ost", &device, "index = 0");
    site.ws.write("main.tf", &config);
    site.cluster.agent_mut("oss1").kill();
    let warned = site.ws.diagnostics(&["plan"]);
    let about = warned.iter().find(|found| found.address == "lustre_target.t").cloned();
    about.unwrap_or_else(|| panic!("not verified, and not said: {warned:#?}")).assert(
        "lustre_target.t",
        &format!("device = {device:?}"),
        &["Not verified", "the agent of oss1 can't be asked", "the apply looks again"],
    );

    let nowhere = Terraform::at("http://127.0.0.1:9");
    nowhere.write("main.tf", &config);
    let all = nowhere.diagnostics(&["plan"]);
    let first = all.first().unwrap_or_else(|| panic!("nothing was said"));
    assert!(first.is_error && first.detail.contains("http://127.0.0.1:9 can't be reached"), "{all:#?}");
    assert!(Path::new(&device).exists());
    Ok(())
}
