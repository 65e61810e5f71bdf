//! Operations on targets on ZFS: real daemons, and the real `zpool` and `zfs` of zfs-fuse, one of its own on each node. The
//! userspace driver starts the targets, and the nodes share disks.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::Cluster;

use crate::site::{MIB, Site};

impl Site {
    /// On these nodes, each with a ZFS of its own; MDT0000 in a pool of `mds1`.
    fn on_zfs(nodes: &[&str]) -> Self {
        let cluster = Cluster::start_zfs(nodes).unwrap();
        cluster.mgsctl(&["fs", "create", "scratch"]).unwrap();
        let site = Self { cluster, runtime: tokio::runtime::Runtime::new().unwrap() };
        site.on_dataset("mds1", "mdt", "meta/mdt0", "meta", &json!({}));
        site
    }

    /// Ensures a target on a dataset; its pool is made on a disk called like it, which every `oss` node sees.
    fn on_dataset(&self, node: &str, kind: &str, dataset: &str, disk: &str, more: &Value) {
        let agent = self.cluster.agent(node);
        let path = agent.path(disk);
        if !path.exists() {
            agent.image(disk, 300 * MIB).unwrap();
            let others = self.cluster.agents.iter().filter(|other| other.node.starts_with("oss") && other.node != node);
            others.filter(|_| node.starts_with("oss")).for_each(|other| drop(other.share(&path).unwrap()));
        }
        let mut more = more.clone();
        more["vdevs"] = json!([path]);
        self.ensure_on(node, kind, Path::new(dataset), &more);
    }

    /// Runs `mgsctl`, which starts a job; gives that when it is over.
    fn ends(&self, arguments: &[&str]) -> Value {
        let started = self.cluster.mgsctl(arguments).unwrap();
        let id = started["job"].as_str().unwrap_or_else(|| panic!("no job: {started}")).to_owned();
        let job = || self.cluster.mgsctl(&["job", "show", &id]);
        self.cluster.wait_for(&format!("{id} to end"), || Ok(!job()?["ended"].is_null())).unwrap();
        job().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> Value {
        let job = self.ends(arguments);
        assert_eq!(job["state"], "done", "{job:#}");
        job
    }

    fn refused(&self, arguments: &[&str]) -> String {
        self.cluster.mgsctl(arguments).unwrap_err().to_string()
    }

    fn has_pool(&self, node: &str, pool: &str) -> bool {
        self.cluster.agent(node).zfs().has(pool)
    }

    /// A property of a target on the node that has it.
    fn property(&self, node: &str, dataset: &str, name: &str) -> String {
        self.cluster.agent(node).zfs().get(dataset, name).unwrap()
    }

    /// The node of a started target, and that it runs there.
    fn runs_on(&self, svname: &str) -> String {
        let target = self.target(svname);
        assert_eq!(target["state"], "started", "{target:#}");
        let node = target["runs_on"].as_str().or(target["node"].as_str()).unwrap().to_owned();
        assert!(self.on_node(&node, svname).running.is_some(), "{target:#}");
        node
    }
}

const PARTNER: &str = "127.0.0.4@tcp";

#[test]
fn after_a_writeconf_of_targets_on_zfs_everything_is_back_and_their_partners_are_on_them() {
    let site = Site::on_zfs(&["mds1", "oss1"]);
    site.on_dataset("oss1", "ost", "tank/ost0", "disk", &json!({}));
    site.cluster
        .mgsctl(&["param", "set", "scratch", "obdfilter.*.brw_size", "4M", "--scope", "scratch-OST0000"])
        .unwrap();
    site.has_param("oss1", "scratch-OST0000", "ost.brw_size", "4M");
    assert_eq!(site.property("oss1", "tank/ost0", "lustre:svname"), "scratch-OST0000");
    assert_eq!(site.property("oss1", "tank/ost0", "lustre:flags"), "34", "UPDATE is gone, as behind a mount");
    let described = json!({"target": {"kind": "ost", "filesystem": "scratch", "index": 0, "node": "oss1",
        "device": "tank/ost0", "failover_nodes": [PARTNER]}});
    let file = site.cluster.dir().join("desired.json");
    std::fs::write(&file, json!({"filesystems": [{"name": "scratch"}], "targets": [described]}).to_string()).unwrap();
    site.cluster.mgsctl(&["apply", file.to_str().unwrap(), "--yes"]).unwrap();

    site.done(&["fs", "writeconf", "scratch", "--mgs-nids"]);
    for (node, svname, dataset) in [("mds1", "scratch-MDT0000", "meta/mdt0"), ("oss1", "scratch-OST0000", "tank/ost0")]
    {
        assert_eq!(site.runs_on(svname), node);
        assert_eq!(site.on_node(node, svname).running.unwrap().instance, 2);
        assert_eq!(site.property(node, dataset, "lustre:svname"), svname, "registered again: the mark is gone");
        assert_eq!(site.property(node, dataset, "lustre:mgsnode"), "127.0.0.1@tcp");
        assert_eq!(site.property(node, dataset, "lustre-agent:changing"), "-");
    }
    assert_eq!(site.property("oss1", "tank/ost0", "lustre:failover.node"), PARTNER);
    site.has_param("oss1", "scratch-OST0000", "ost.brw_size", "4M");
    let plan = site.cluster.mgsctl(&["plan", file.to_str().unwrap()]).unwrap();
    assert_eq!(plan["changes"].as_array().map(Vec::len), Some(0), "{plan:#}");

    site.done(&["target", "replace-nids", "scratch-OST0000", "127.0.0.77@tcp:127.0.0.78@tcp"]);
    let read = site.read().to_string();
    assert!(read.contains("127.0.0.77@tcp") && read.contains("127.0.0.78@tcp"), "{read}");
    assert_eq!(site.runs_on("scratch-OST0000"), "oss1");

    // A change that was cut off for good: it does not start, the job says what to do, and another writeconf makes it whole.
    site.done(&["target", "stop", "scratch-OST0000"]);
    site.cluster.agent("oss1").zfs().run("zfs", &["set", "lustre-agent:changing=x", "tank/ost0"]).unwrap();
    let job = site.ends(&["target", "start", "scratch-OST0000"]);
    assert!(job["error"].as_str().unwrap().contains("a change of tank/ost0 is half done"), "{job:#}");
    site.done(&["fs", "writeconf", "scratch"]);
    assert_eq!(site.runs_on("scratch-OST0000"), "oss1");
}

#[test]
fn a_target_on_zfs_moves_with_its_pool_and_back_and_the_plan_stays_empty() {
    let site = Site::on_zfs(&["mds1", "oss1", "oss2"]);
    let svname = "scratch-OST0000";
    site.on_dataset("oss1", "ost", "tank/ost0", "disk", &json!({"failover_nodes": [PARTNER]}));
    let target = json!({"kind": "ost", "filesystem": "scratch", "index": 0, "node": "oss1", "device": "tank/ost0",
        "failover_nodes": [PARTNER], "vdevs": [site.cluster.agent("oss1").path("disk")]});
    let desired = json!({"filesystems": [{"name": "scratch"}], "targets": [{"target": target}]});
    let file = site.cluster.dir().join("desired.json");
    std::fs::write(&file, desired.to_string()).unwrap();
    let plan_is_empty = || {
        let plan = site.cluster.mgsctl(&["plan", file.to_str().unwrap()]).unwrap();
        assert_eq!(plan["changes"].as_array().map(Vec::len), Some(0), "{plan:#}");
        assert_eq!(plan["findings"].as_array().map_or(0, Vec::len), 0, "{plan:#}");
    };
    plan_is_empty();
    site.done(&["target", "move", svname]);
    assert_eq!(site.runs_on(svname), "oss2");
    assert!(site.has_pool("oss2", "tank") && !site.has_pool("oss1", "tank"));
    plan_is_empty();
    // Stop and start go to where it is, and leave the pool there.
    site.done(&["target", "stop", svname]);
    assert!(site.has_pool("oss2", "tank"));
    site.done(&["target", "start", svname]);
    let refused = site.refused(&["fs", "writeconf", "scratch"]);
    assert!(
        refused.contains("runs on its partner oss2") && refused.contains("target move scratch-OST0000 oss1"),
        "{refused}"
    );
    // A start that brings its pool along.
    let export = |node: &str| {
        site.done(&["target", "stop", svname]);
        site.cluster.agent(node).zfs().run("zpool", &["export", "tank"]).unwrap();
    };
    export("oss2");
    site.done(&["target", "start", svname]);
    site.done(&["target", "move", svname, "oss1"]);
    assert_eq!(site.runs_on(svname), "oss1");
    assert!(site.has_pool("oss1", "tank") && !site.has_pool("oss2", "tank"));
    plan_is_empty();
    export("oss1");
    site.done(&["fs", "writeconf", "scratch"]);
    assert_eq!(site.runs_on(svname), "oss1");
}

#[test]
fn a_file_system_grows_on_zfs_and_a_part_that_was_cancelled_leaves_no_target() {
    let site = Site::on_zfs(&["mds1", "oss1"]);
    let agent = site.cluster.agent("oss1");
    let disk = agent.image("disk", 300 * MIB).unwrap();
    agent.zfs().run("zpool", &["create", "-O", "canmount=off", "tank", disk.to_str().unwrap()]).unwrap();
    let grow = ["fs", "grow", "scratch", "oss1:tank/ost0", "oss1:tank/ost1"];
    site.done(&grow);
    for (svname, dataset) in [("scratch-OST0000", "tank/ost0"), ("scratch-OST0001", "tank/ost1")] {
        assert_eq!(site.runs_on(svname), "oss1");
        assert_eq!(site.property("oss1", dataset, "lustre:svname"), svname);
    }
    assert!(site.refused(&grow).contains("are in the configuration"));

    // A format that is cancelled between two commands: no target, and the same again makes it.
    let hold = agent.bin().unwrap().join("zfs.hold");
    std::fs::copy(testkit::repository().join("agent/testdata/held"), agent.bin().unwrap().join("zfs")).unwrap();
    std::fs::write(&hold, "set").unwrap();
    let more = ["fs", "grow", "scratch", "oss1:tank/ost2"];
    let started = site.cluster.mgsctl(&more).unwrap();
    let id = started["job"].as_str().unwrap();
    site.cluster.wait_for("a command to be held", || Ok(hold.with_extension("held").exists())).unwrap();
    site.cluster.mgsctl(&["job", "cancel", id]).unwrap();
    std::fs::remove_file(&hold).unwrap();
    let ended = || site.cluster.mgsctl(&["job", "show", id]).map(|job| job["state"] == "cancelled");
    site.cluster.wait_for("the job to be cancelled", ended).unwrap();
    let devices = site.cluster.mgsctl(&["node", "devices", "oss1"]).unwrap();
    let found =
        devices["inventory"]["devices"].as_array().unwrap().iter().find(|one| one["path"] == "tank/ost2").unwrap();
    assert!(found["content"].as_str().unwrap().contains("(unfinished)"), "{found:#}");
    assert_eq!(found["formatted_as"]["incomplete"], true, "{found:#}");
    site.done(&more);
    assert_eq!(site.runs_on("scratch-OST0002"), "oss1");
}

#[test]
fn a_target_whose_pool_has_others_in_use_moves_with_them_or_not_at_all() {
    let site = Site::on_zfs(&["mds1", "oss1", "oss2"]);
    for ost in 0..3 {
        let more = json!({"failover_nodes": [PARTNER]});
        site.on_dataset("oss1", "ost", &format!("tank/ost{ost}"), "disk", &more);
    }
    let refused = site.refused(&["target", "move", "scratch-OST0001"]);
    assert!(refused.contains("scratch-OST0000, scratch-OST0002 in it would be torn out"), "{refused}");
    assert!(refused.contains("--whole-pool"), "{refused}");
    let refused = site.refused(&["target", "move", "scratch-MDT0000", "--whole-pool"]);
    assert!(refused.contains("scratch-MDT0000 has no partner node"), "{refused}");

    // What is stopped is not torn out, but is told of, and follows.
    site.done(&["target", "stop", "scratch-OST0002"]);
    let shown = site.cluster.mgsctl(&["target", "move", "scratch-OST0001", "--whole-pool", "--dry-run"]).unwrap();
    let warnings = shown["warnings"].to_string();
    assert!(warnings.contains("scratch-OST0002 is in the same ZFS pool, which leaves oss1"), "{shown:#}");
    assert!(site.has_pool("oss1", "tank"), "a dry run does nothing");
    let job = site.done(&["target", "move", "scratch-OST0001", "--whole-pool"]);
    let steps: Vec<String> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {}", step["kind"].as_str().unwrap(), step["svname"].as_str().unwrap()))
        .collect();
    let expected = ["stop scratch-OST0001", "stop scratch-OST0000", "start scratch-OST0001", "start scratch-OST0000"];
    assert_eq!(steps, expected);
    for svname in ["scratch-OST0000", "scratch-OST0001"] {
        assert_eq!(site.runs_on(svname), "oss2");
    }
    let job = site.ends(&["target", "start", "scratch-OST0002"]);
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("was used by another node last") && error.contains("mgsctl target move"), "{error}");
    site.done(&["target", "move", "scratch-OST0002"]);
    assert_eq!(site.runs_on("scratch-OST0002"), "oss2");
}

#[test]
fn the_pool_of_a_node_that_is_off_is_taken_over_by_a_persons_word_and_not_given_back_by_itself() {
    let mut site = Site::on_zfs(&["mds1", "oss1", "oss2"]);
    let svname = "scratch-OST0000";
    site.on_dataset("oss1", "ost", "tank/ost0", "disk", &json!({"failover_nodes": [PARTNER]}));
    let refused = site.refused(&["target", "move", svname, "--node-is-down"]);
    assert!(refused.contains("was heard of a moment ago"), "{refused}");
    site.cluster.agent_mut("oss1").kill();
    site.cluster.agent("oss1").zfs().crash().unwrap();
    let is_known = || site.cluster.mgsctl(&["node", "show", "oss1"]).map(|node| node["is_alive"] == false);
    site.cluster.wait_for("oss1 to be missed", is_known).unwrap();
    site.done(&["target", "move", svname, "--node-is-down"]);
    assert_eq!(site.runs_on(svname), "oss2");

    site.cluster.agent("oss1").zfs().restart().unwrap();
    site.cluster.agent_mut("oss1").crash_and_restart().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!site.has_pool("oss1", "tank") && site.has_pool("oss2", "tank"));
    assert_eq!(site.runs_on(svname), "oss2");
    let is_known = || site.cluster.mgsctl(&["node", "show", "oss1"]).map(|node| node["is_alive"] == true);
    site.cluster.wait_for("oss1 to be back", is_known).unwrap();
    site.done(&["target", "move", svname]);
    assert_eq!(site.runs_on(svname), "oss1");
}
