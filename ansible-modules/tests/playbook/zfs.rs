//! Targets on ZFS: the real `zpool` and `zfs` of zfs-fuse, one of its own on each node.

use serde_json::json;

use super::site::{Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn targets_on_zfs_are_made_once_started_and_never_made_of_what_somebody_else_has() {
    let site = Site::with_zfs();
    site.task("lustre_filesystem", &json!({"name": "work"}), &[]);
    let vdev = |node: &str, disk: &str| {
        let agent = site.cluster.agent(node);
        agent.image(disk, 300 << 20).unwrap()
    };
    let targets = json!([
        {"kind": "mdt", "index": 0, "node": "mds1", "device": "meta/mdt0", "vdevs": [vdev("mds1", "disk")]},
        {"kind": "ost", "index": 0, "node": "oss1", "device": "tank/ost0", "vdevs": ["mirror", vdev("oss1", "a"), vdev("oss1", "b")]},
    ]);
    let options = json!({"filesystem": "work", "targets": targets});
    let planned = site.task("lustre_target", &options, &["--check", "--diff"]);
    assert!(planned["changed"] == true && planned["msg"].is_null(), "{planned}");
    assert!(!site.cluster.agent("oss1").zfs().has("tank"), "check mode made the pool");
    let done = site.task("lustre_target", &options, &[]);
    assert!(done["changed"] == true && done["msg"].is_null(), "{done}");
    let again = site.task("lustre_target", &options, &[]);
    assert_eq!(again["changed"], false, "{again}");
    for (node, dataset, svname) in [("mds1", "meta/mdt0", "work-MDT0000"), ("oss1", "tank/ost0", "work-OST0000")] {
        let zfs = site.cluster.agent(node).zfs();
        assert_eq!(zfs.get(dataset, "lustre:svname").unwrap(), svname, "registered");
        assert_eq!(site.cluster.mgsctl(&["target", "show", svname]).unwrap()["state"], "started");
    }

    site.cluster.agent("oss1").zfs().run("zfs", &["create", "-o", "canmount=off", "tank/home"]).unwrap();
    let taken = json!([{"kind": "ost", "index": 1, "node": "oss1", "device": "tank/home"}]);
    let refused = site.task("lustre_target", &json!({"filesystem": "work", "targets": taken}), &[]);
    assert!(message(&refused).contains("zfs destroy"), "{refused}");

    // Written anew by a task; nothing is replayed by hand.
    let done = site.task("lustre_job", &json!({"operation": "writeconf", "filesystem": "work"}), &[]);
    assert!(done["changed"] == true && done["msg"].is_null(), "{done}");
    let zfs = site.cluster.agent("oss1").zfs();
    assert_eq!(zfs.get("tank/ost0", "lustre:svname").unwrap(), "work-OST0000");
}
