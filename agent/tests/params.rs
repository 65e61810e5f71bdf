//! Tunables over the agent's API, on a tree in a directory.

mod node;

use lustre_api::ProblemCode;
use node::Node;

const OSC: [&str; 2] = ["osc/scratch-OST0000-osc-ff01", "osc/scratch-OST0001-osc-ff01"];

#[tokio::test]
async fn tunables_are_read_set_and_read_back() {
    let node = Node::start();
    for device in OSC {
        node.tunable(&format!("{device}/max_dirty_mb"), "2000");
    }
    node.tunable("timeout", "100");
    std::fs::create_dir_all(node.path("root/etc/lustre")).unwrap();
    std::fs::write(node.path("root/etc/lustre/site.params"), "timeout=40\n").unwrap();

    let read = node.params(&["osc.*.max_dirty_mb", "timeout", "mdt.*.readonly"]).await;
    let values = |n: usize| read.found[n].iter().map(|param| param.value.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!((values(0), values(1), values(2).len()), (vec!["2000".to_owned(); 2], vec!["100".to_owned()], 0));
    assert_eq!((read.files[0].name.as_str(), read.files[0].value.as_str()), ("timeout", "40"));

    let set = node.set_param("osc.scratch-OST0001-*.max_dirty_mb", "64").await.unwrap();
    let one = &set.set[0][0];
    assert_eq!((one.before.as_deref(), one.after.as_deref(), one.error.as_deref()), (Some("2000"), Some("64"), None));
    assert_eq!(set.boot_id, read.boot_id);
    let read = node.params(&["osc.scratch-OST0000-osc-ff01.max_dirty_mb"]).await;
    assert_eq!(read.found[0][0].value.as_deref(), Some("2000"), "only what was named is set");
}

#[tokio::test]
async fn nothing_is_set_that_leads_elsewhere_or_means_two_things() {
    let node = Node::start();
    node.tunable("timeout", "100");
    std::fs::write(node.path("secret"), "mine").unwrap();
    for pattern in ["../../../../secret", "*.*.*.*.secret", "", "no.such.tunable"] {
        let set = node.set_param(pattern, "1").await.unwrap();
        assert!(set.set[0].is_empty(), "{pattern}");
    }
    assert_eq!(std::fs::read_to_string(node.path("secret")).unwrap(), "mine");
    let refused = node.set_param("timeout", "40\n50").await.unwrap_err();
    assert_eq!((refused.code, refused.attribute.as_deref()), (ProblemCode::Invalid, Some("settings")));
    assert_eq!(node.params(&["timeout"]).await.found[0][0].value.as_deref(), Some("100"));
}
