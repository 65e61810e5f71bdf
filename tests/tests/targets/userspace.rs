//! Targets that the userspace driver starts.

use crate::site::Site;

#[test]
fn a_target_registers_over_lnet_and_says_that_it_serves_no_io() {
    let site = Site::with_osts(1);
    for (node, svname) in [("mds1", "scratch-MDT0000"), ("oss1", "scratch-OST0000")] {
        let target = site.target(svname);
        assert!(target["state_reason"].as_str().unwrap().contains("serves no file I/O"), "{target}");
        let found = site.on_node(node, svname);
        assert!(found.formatted_as.registered, "the label says so now");
        assert_eq!(found.formatted_as.label, svname);
        assert_eq!(found.formatted_as.flags & 0x40, 0, "UPDATE is done with");
        let running = found.running.unwrap();
        assert_eq!((running.instance, running.mgs.as_str()), (1, "127.0.0.1@tcp"));
        assert!(running.note.contains("no file I/O"));
    }
    let read = site.read().to_string();
    for name in ["scratch-MDT0000", "scratch-OST0000", "127.0.0.2@tcp", "127.0.0.3@tcp"] {
        assert!(read.contains(name), "{name} in {read}");
    }
}

#[test]
fn a_started_target_follows_its_config_log() {
    let site = Site::with_osts(1);
    let set = |name: &str, value: &str| site.cluster.mgsctl(&["param", "set", "scratch", name, value]).unwrap();
    set("timeout", "40");
    site.has_param("oss1", "scratch-OST0000", "sys.timeout", "40");
    site.has_param("mds1", "scratch-MDT0000", "sys.timeout", "40");
    set("timeout", "50");
    site.has_param("oss1", "scratch-OST0000", "sys.timeout", "50");
}

#[test]
fn a_started_target_holds_the_locks_of_a_kernel_target_and_does_what_params_says() {
    let site = Site::with_osts(1);
    // Its own log, the file system's security rules, `params`, the clients' log and the nodemaps; an MDT also write barriers and
    // where targets run.
    let has_locks = |nid: &str, locks: u64| {
        let exports = site.cluster.mgsctl(&["export", "list"])?;
        let of = exports.as_array().and_then(|all| all.iter().find(|export| export["nid"] == nid).cloned());
        Ok(of.is_some_and(|export| export["locks"] == locks))
    };
    for (nid, locks) in [("127.0.0.2@tcp", 7), ("127.0.0.3@tcp", 5)] {
        site.cluster.wait_for(&format!("{nid} to hold {locks} locks"), || has_locks(nid, locks)).unwrap();
    }
    let set = |scope: &str, value: &str| {
        let set = ["param", "set", "scratch", "obdfilter.*.brw_size", value, "--scope", scope];
        site.cluster.mgsctl(&set).unwrap()
    };
    set("scratch-OST0000", "4M");
    site.has_param("oss1", "scratch-OST0000", "ost.brw_size", "4M");
    // For all OSTs: that goes to every node over `params`, and each sets what it has.
    set("osts", "8M");
    site.has_param("oss1", "scratch-OST0000", "obdfilter.scratch-OST*.brw_size", "8M");
    let shown = || Ok(site.cluster.agent("oss1").tunable("obdfilter/scratch-OST0000/brw_size")? == "8M");
    site.cluster.wait_for("brw_size to be 8M", shown).unwrap();
}

#[test]
fn a_started_mdt_is_told_where_targets_run_and_every_target_of_the_nodemaps() {
    let site = Site::with_osts(1);
    let running = |node: &str, svname: &str| site.on_node(node, svname).running.unwrap();
    let runs = |instance: u32| {
        let peers = running("mds1", "scratch-MDT0000").peers;
        Ok(peers.get("scratch-OST0000").is_some_and(|ost| ost.instance == instance && ost.nids == ["127.0.0.3@tcp"]))
    };
    site.cluster.wait_for("the MDT to be told of the OST", || runs(1)).unwrap();
    assert!(running("oss1", "scratch-OST0000").peers.is_empty(), "OSTs don't ask");
    site.cluster.mgsctl(&["target", "stop", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "stopped");
    site.cluster.mgsctl(&["target", "start", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "started");
    site.cluster.wait_for("the MDT to be told of its second start", || runs(2)).unwrap();

    let targets = [("mds1", "scratch-MDT0000"), ("oss1", "scratch-OST0000")];
    for (node, svname) in targets {
        let told = running(node, svname).nodemaps.unwrap();
        assert_eq!((told.active, told.names), (false, vec!["default".to_owned()]));
    }
    site.cluster.mgsctl(&["nodemap", "add", "campus", "--range", "10.1.0.[1-9]@tcp"]).unwrap();
    site.cluster.mgsctl(&["nodemap", "activate"]).unwrap();
    for (node, svname) in targets {
        let is_told = || {
            let told = running(node, svname).nodemaps;
            Ok(told.is_some_and(|told| told.active && told.names == ["default", "campus"]))
        };
        site.cluster.wait_for(&format!("{svname} to be told of the nodemap"), is_told).unwrap();
    }
}

#[test]
fn a_started_target_goes_on_after_a_crash_of_its_agent_and_of_the_mgs() {
    let mut site = Site::with_osts(1);
    site.cluster.agent_mut("oss1").crash_and_restart().unwrap();
    let runs = |site: &Site| site.on_node("oss1", "scratch-OST0000").running.is_some();
    site.cluster.wait_for("the target to go on", || Ok(runs(&site))).unwrap();
    site.cluster.mgs.crash_and_restart().unwrap();
    site.cluster.mgsctl(&["param", "set", "scratch", "timeout", "60"]).unwrap();
    site.has_param("oss1", "scratch-OST0000", "sys.timeout", "60");
    assert_eq!(site.target("scratch-OST0000")["state"], "started");
}

#[test]
fn a_started_target_is_not_formatted_and_a_stopped_one_is_started_again() {
    let site = Site::with_osts(1);
    let device = site.on_node("oss1", "scratch-OST0000").device;
    let inventory = site.cluster.mgsctl(&["node", "devices", "oss1"]).unwrap().to_string();
    let why = "started as scratch-OST0000 by the userspace driver";
    assert!(inventory.contains(why), "{inventory}");
    let refused = site.format_over("oss1", "scratch-OST0005", &device);
    assert!(refused.contains(why) && refused.contains("no option overrides this"), "{refused}");
    site.cluster.mgsctl(&["target", "stop", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "stopped");
    assert!(site.on_node("oss1", "scratch-OST0000").running.is_none());
    site.cluster.mgsctl(&["target", "start", "scratch-OST0000"]).unwrap();
    site.reaches("scratch-OST0000", "started");
    let again = site.on_node("oss1", "scratch-OST0000");
    assert_eq!((again.running.unwrap().instance, again.device), (2, device));
}
