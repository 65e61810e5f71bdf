//! Targets on ZFS, from the plan to the dataset: with the real `zpool` and `zfs`, those of zfs-fuse where the kernel has none.

use std::path::Path;

use testkit::{Terraform, Zfs};

use crate::site::{FILESYSTEM, MIB, Site, target};

fn ost(name: &str, index: u32, dataset: &str, more: &str) -> String {
    target(name, "ost", Path::new(dataset), &format!("index = {index}\n  deletion_policy = \"DEREGISTER\"\n  {more}"))
}

#[test]
fn targets_on_zfs_are_planned_made_read_back_imported_and_never_destroyed() -> anyhow::Result<()> {
    let zfs = Zfs::start("tf")?;
    let site = Site::start()?;
    let disks = [site.image("disk0", 300 * MIB)?, site.image("disk1", 300 * MIB)?];
    let (ost0, ost1) = (zfs.dataset("ost0"), zfs.dataset("ost1"));
    let vdevs = format!("vdevs = [\"mirror\", {:?}, {:?}]", disks[0], disks[1]);

    // Nothing to make the pool of, and a vdev that is none: both in the plan.
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &ost("ost0", 0, &ost0, "")));
    let words = [&format!("oss1 has no pool {}", zfs.pool()), "zpool import", "vdevs"];
    site.ws.refused(&["plan"]).assert("lustre_target.ost0", &format!("device = {ost0:?}"), &words);
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &ost("ost0", 0, &ost0, "vdevs = [\"-f\"]")));
    site.ws.refused(&["plan"]).assert("lustre_target.ost0", "vdevs = [\"-f\"]", &["-f", "zpool-create"]);

    // Two at once need the pool, and one makes it.
    let settings = format!("{vdevs}\n  mkfs_options = \"-o compression=off\"");
    let both = FILESYSTEM.to_owned() + &ost("ost0", 0, &ost0, &settings) + &ost("ost1", 1, &ost1, &vdevs);
    site.ws.write("main.tf", &both);
    site.ws.apply();
    site.ws.expect_empty_plan();
    for (name, index) in [("ost0", "0"), ("ost1", "1")] {
        assert_eq!(zfs.get(name, "lustre:svname")?, format!("scratch:OST000{index}"));
        assert_eq!((zfs.get(name, "lustre:index")?.as_str(), zfs.get(name, "lustre:version")?.as_str()), (index, "1"));
        assert_eq!(zfs.get(name, "lustre-agent:unfinished")?, "-");
    }
    assert_eq!(zfs.get("ost0", "compression")?, "off");
    let state = site.ws.state("lustre_target.ost0");
    assert_eq!((&state["state"], &state["formatted_over"]), (&"registered".into(), &"blank".into()), "{state:#}");
    assert_eq!(state["uuid"].as_str(), Some(zfs.get("ost0", "lustre-agent:uuid")?.as_str()));

    // What the node has of ZFS is in its inventory, under the names that a configuration uses.
    let devices = site.cluster.mgsctl(&["node", "devices", "oss1"])?;
    let inventory = &devices["inventory"];
    let listed = inventory["devices"].as_array().and_then(|all| all.iter().find(|one| one["path"] == ost1.as_str()));
    let listed = listed.unwrap_or_else(|| panic!("{ost1} is not listed: {inventory:#}"));
    assert_eq!((&listed["kind"], &listed["formatted_as"]["svname"]), (&"zfs".into(), &"scratch-OST0001".into()));
    let pools = inventory["zfs"]["pools"].as_array().cloned().unwrap_or_default();
    assert!(pools.iter().any(|pool| pool["name"] == zfs.pool() && pool["health"] == "ONLINE"), "{pools:?}");

    // A dataset of somebody else, whatever is allowed.
    zfs.create("home")?;
    let home = zfs.dataset("home");
    site.ws.write("main.tf", &(both.clone() + &ost("ost2", 2, &home, "allow_reformat = true")));
    let words = ["holds zfs_dataset", "zfs destroy"];
    site.ws.refused(&["plan"]).assert("lustre_target.ost2", &format!("device = {home:?}"), &words);
    assert_eq!(zfs.get("home", "lustre:version")?, "-");

    // Somebody else takes them over.
    let other = site.somebody_else();
    let imports = ["ost0", "ost1"].map(|name| {
        format!("import {{\n  to = lustre_target.{name}\n  id = \"scratch-{}\"\n}}\n", name.replace("ost", "OST000"))
    });
    other.write("import.tf", &imports.concat());
    let said = other.run(&["plan", "-generate-config-out=generated.tf"]);
    assert!(said.text.contains("2 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);
    other.apply();
    other.expect_empty_plan();

    // Out of the configuration, they are as they were, and are taken up again as they are.
    let uuid = zfs.get("ost1", "lustre-agent:uuid")?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &ost("ost0", 0, &ost0, &settings)));
    site.ws.apply();
    assert_eq!(zfs.get("ost1", "lustre:svname")?, "scratch:OST0001");
    site.ws.write("main.tf", &both);
    let plan: Terraform = site.ws;
    assert!(plan.plan().text.contains("Exists on its device"));
    plan.apply();
    plan.expect_empty_plan();
    assert_eq!(zfs.get("ost1", "lustre-agent:uuid")?, uuid);
    Ok(())
}
