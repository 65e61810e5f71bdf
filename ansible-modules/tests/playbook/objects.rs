//! What the modules read, make and take away.

use serde_json::json;
use testkit::HaltedFormat;

use super::site::{HUGE_BYTES, Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn facts_are_the_nodes_and_info_is_the_mgs() {
    let site = Site::start();
    assert!(site.example(&[]).is_ok());
    let facts = site.task("lustre_facts", &json!({}), &[]);
    let lustre = &facts["ansible_facts"]["lustre"];
    assert_eq!((facts["changed"].as_bool(), lustre["node"].as_str()), (Some(false), Some("oss1")));
    assert_eq!(lustre["targets"].as_array().map(Vec::len), Some(2), "those of this node only: {lustre}");
    let ost1 = site.image("oss1", "ost1");
    let device = lustre["devices"].as_array().unwrap().iter().find(|device| device["path"] == ost1.to_str().unwrap());
    assert!(device.unwrap()["content"].as_str().unwrap().starts_with("lustre work-OST0001"), "{lustre}");
    assert!(!device.unwrap()["refusals"].as_array().unwrap().is_empty(), "a target is not free for another: {lustre}");

    site.task("lustre_filesystem", &json!({ "name": "other" }), &[]);
    let all = site.task("lustre_info", &json!({}), &["--check"]);
    let names: Vec<_> =
        all["filesystems"].as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap()).collect();
    assert_eq!((names, all["changed"].as_bool()), (vec!["other", "work"], Some(false)), "{all}");
    assert!(all.get("jobs").is_none() && all["nodes"][0].get("inventory").is_none(), "only what is asked for: {all}");
    let some = json!({ "filesystem": "work", "gather_subset": ["targets", "jobs", "devices"] });
    let some = site.task("lustre_info", &some, &[]);
    assert_eq!((some["targets"].as_array().unwrap().len(), some["jobs"].as_array().unwrap().len()), (3, 3), "{some}");
    assert!(some["nodes"].to_string().contains(ost1.to_str().unwrap()), "{some}");
    let wrong = site.task("lustre_info", &json!({ "gather_subset": ["target"] }), &[]);
    assert!(message(&wrong).starts_with("value of gather_subset must be one or more of: mgs, filesystems"), "{wrong}");
    let wrong = site.task("lustre_info", &json!({ "filesystem": "far-too-long" }), &[]);
    assert!(message(&wrong).starts_with("filesystem: "), "{wrong}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn absent_takes_away_and_a_second_time_changes_nothing() {
    let site = Site::start();
    assert!(site.example(&[]).is_ok());
    let before = site.bytes("oss1", "ost1");
    let in_use = json!({ "name": "work", "state": "absent" });
    let refused = site.task("lustre_filesystem", &in_use, &[]);
    assert!(
        message(&refused).contains("still has target work-MDT0000 and 4 more"),
        "it says what is in the way: {refused}"
    );

    let pool = json!({ "filesystem": "work", "name": "flash", "state": "absent" });
    let param = json!({ "filesystem": "work", "params": { "osc.*.max_dirty_mb": null }, "state": "absent" });
    let mdt = json!({ "filesystem": "work", "targets": [{ "kind": "mdt", "index": 0 }], "state": "absent" });
    let osts = json!({ "filesystem": "work", "state": "absent", "targets": [
        { "kind": "ost", "index": 0 }, { "kind": "ost", "device": site.image("oss1", "ost1") },
    ]});
    let order = [
        ("lustre_pool", &pool),
        ("lustre_param", &param),
        ("lustre_target", &osts),
        ("lustre_target", &mdt),
        ("lustre_filesystem", &in_use),
    ];
    // In one play, each in check mode, then for real, then again.
    let agent = site.cluster.agent("oss1").socket();
    let tasks: Vec<_> = order
        .into_iter()
        .flat_map(|(module, options)| {
            let mut options = options.clone();
            options["agent_socket"] = agent.to_str().unwrap().into();
            [true, false, false]
                .map(|check| json!({ format!("chandelier.lustre.{module}"): options, "check_mode": check }))
        })
        .collect();
    let played = site.play(&json!([{ "hosts": "oss1", "gather_facts": false, "tasks": tasks }]), &[]);
    let results = played.results();
    assert_eq!(results.len(), tasks.len(), "{}", played.text());
    for ((module, _), results) in order.iter().zip(results.chunks(3)) {
        let changed: Vec<_> = results.iter().map(|result| result["changed"].as_bool().unwrap()).collect();
        assert_eq!(changed, [true, true, false], "{module}: {results:?}");
        assert_eq!(results[0]["plan"], results[1]["plan"], "{module}");
    }
    for kind in ["fs", "param", "pool"] {
        assert_eq!(site.count(kind), 0, "{kind}");
    }
    assert!(before == site.bytes("oss1", "ost1"), "the device keeps its data");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn without_waiting_a_task_gives_the_job_and_a_wait_that_is_too_short_says_that_it_goes_on() {
    let site = Site::start();
    let disk = site.cluster.agent("oss1").image("big", HUGE_BYTES).unwrap();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let mut options =
        json!({ "filesystem": "work", "wait": false, "targets": [{ "kind": "ost", "index": 0, "device": disk }] });
    let (begun, halted) = std::thread::scope(|scope| {
        let begun = scope.spawn(|| site.task("lustre_target", &options, &[]));
        let halted = HaltedFormat::of(&disk).unwrap();
        (begun.join().unwrap(), halted)
    });
    let job = begun["jobs"][0].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    let jobs = site.task("lustre_info", &json!({ "gather_subset": ["jobs"] }), &[]);
    assert_eq!((&jobs["jobs"][0]["id"], &jobs["jobs"][0]["state"]), (&json!(job), &json!("running")));

    // A play that was interrupted and is run again takes the job up instead of starting another.
    options["wait"] = true.into();
    options["wait_timeout"] = 3.into();
    let late = site.task("lustre_target", &options, &[]);
    assert!(message(&late).contains(&format!("job {job} is still running after 3 s; it goes on")), "{late}");
    halted.go_on();
    options["wait_timeout"] = 300.into();
    let done = site.task("lustre_target", &options, &[]);
    assert_eq!(done["resource"][0]["state"], "registered", "{done}");
    assert_eq!(site.task("lustre_target", &options, &[])["changed"], false);
    assert_eq!(site.count("target"), 1);
}
