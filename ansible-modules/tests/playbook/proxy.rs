//! `lustre_mgs_proxy`, on machines without the kernel module: what it refuses, and what it does not have to do.

use serde_json::json;

use super::site::{Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_proxy_that_is_not_installed_is_refused_with_the_way_to_install_it() {
    let site = Site::start();
    for more in [&[][..], &["--check"]] {
        let refused = site.task("lustre_mgs_proxy", &json!({}), more);
        let said = message(&refused);
        assert!(said.contains("is not installed for the kernel that runs on oss1"), "{said}");
        assert!(said.contains("dkms install"), "{said}");
    }
    let absent = site.task("lustre_mgs_proxy", &json!({ "state": "absent" }), &[]);
    assert_eq!(
        (&absent["changed"], &absent["resource"], &absent["plan"]),
        (&json!(false), &json!(null), &json!([])),
        "{absent}"
    );
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn from_the_controller_the_node_has_to_be_named_and_known() {
    let site = Site::start();
    let url = site.cluster.mgs.endpoint();
    let refused = site.task("lustre_mgs_proxy", &json!({ "api_url": url }), &[]);
    assert!(message(&refused).contains("missing required arguments: node"), "{refused}");
    let unknown = json!({ "api_url": url, "node": "mgs9" });
    let refused = site.task("lustre_mgs_proxy", &unknown, &[]);
    assert!(message(&refused).contains("no node mgs9 has enrolled"), "{refused}");
    // An earlier task may have been going to start that agent.
    let checked = site.task("lustre_mgs_proxy", &unknown, &["--check"]);
    assert_eq!((&checked["plan_incomplete"], &checked["changed"]), (&json!(true), &json!(true)), "{checked}");
    let named = site.task("lustre_mgs_proxy", &json!({ "api_url": url, "node": "mds1", "state": "absent" }), &[]);
    assert_eq!(named["changed"], false, "{named}");
}
