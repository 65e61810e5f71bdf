//! `lustre_job` and `lustre_job_info`.

use serde_json::{Value, json};
use testkit::HaltedFormat;

use super::site::{HUGE_BYTES, Site, message};

fn states(info: &Value) -> Vec<(&str, &str)> {
    let jobs = info["jobs"].as_array().unwrap_or_else(|| panic!("no jobs: {info}"));
    jobs.iter().map(|job| (job["kind"].as_str().unwrap(), job["state"].as_str().unwrap())).collect()
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn an_operation_is_shown_in_check_mode_and_done_once_under_its_name() {
    let site = Site::with_started_targets();
    let brought_up = site.example(&[]);
    assert!(brought_up.is_ok(), "{}", brought_up.text());
    let task = json!({ "operation": "writeconf", "filesystem": "work", "name": "anew-1" });

    let shown = site.task("lustre_job", &task, &["--check"]);
    let kinds: Vec<&str> =
        shown["job"]["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["stop", "stop", "stop", "tune", "tune", "tune", "start", "start", "start"], "{shown}");
    assert!(shown["changed"] == true && shown["jobs"].is_null(), "nothing was started: {shown}");
    assert!(shown["warnings"].to_string().contains("every client must have unmounted work"), "{shown}");
    assert_eq!(site.task("lustre_job_info", &json!({ "only_open": true }), &[])["jobs"], json!([]));

    let done = site.task("lustre_job", &task, &[]);
    assert_eq!((&done["job"]["state"], &done["job"]["id"]), (&json!("done"), &json!("anew-1")), "{done}");
    let again = site.task("lustre_job", &task, &[]);
    assert_eq!((&again["changed"], &again["job"]["ended"]), (&json!(false), &done["job"]["ended"]), "{again}");

    let one = site.task("lustre_job_info", &json!({ "id": "anew-1" }), &[]);
    assert_eq!(states(&one), [("writeconf", "done")]);
    let all = site.task("lustre_job_info", &json!({ "filesystem": "work" }), &[]);
    assert_eq!(states(&all).last(), Some(&("writeconf", "done")), "newest last: {all}");
    assert_eq!(states(&all).iter().filter(|(kind, _)| *kind == "ensure_target").count(), 3, "{all}");
    let other = site.task("lustre_job_info", &json!({ "filesystem": "home" }), &[]);
    assert_eq!((&other["jobs"], &other["changed"]), (&json!([]), &json!(false)), "{other}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_format_that_is_cancelled_leaves_no_target_and_the_next_task_formats() {
    let site = Site::start();
    site.cluster.mgsctl(&["fs", "create", "work"]).unwrap();
    let device = site.cluster.agent("oss1").image("huge", 8 * HUGE_BYTES).unwrap();
    let target = json!({
        "filesystem": "work", "targets": [{ "kind": "ost", "index": 7, "device": device }], "wait": false,
    });
    let (started, format) = std::thread::scope(|scope| {
        let format = scope.spawn(|| HaltedFormat::of(&device));
        (site.task("lustre_target", &target, &[]), format.join().unwrap().unwrap())
    });
    let id = started["jobs"][0].as_str().unwrap_or_else(|| panic!("no job: {started}")).to_owned();
    let open = site.task("lustre_job_info", &json!({ "only_open": true }), &[]);
    assert_eq!(states(&open), [("ensure_target", "running")]);

    let cancel = json!({ "operation": "cancel", "id": id });
    let checked = site.task("lustre_job", &cancel, &["--check"]);
    assert_eq!((&checked["changed"], &checked["job"]["state"]), (&json!(true), &json!("running")), "{checked}");
    assert_eq!(site.task("lustre_job", &cancel, &[])["changed"], true);
    let waited = site.task("lustre_job", &json!({ "operation": "wait", "id": id }), &[]);
    assert!(message(&waited).contains("is cancelled"), "{waited}");
    assert_eq!(site.task("lustre_job", &cancel, &[])["changed"], false, "it is over");
    drop(format);

    let facts = site.task("lustre_facts", &json!({}), &[]).to_string();
    assert!(facts.contains("unfinished"), "{facts}");
    let again = site.task("lustre_target", &json!({ "filesystem": "work", "targets": target["targets"] }), &[]);
    assert_eq!(again["resource"][0]["state"], "registered", "{again}");
    assert_eq!(again["resource"][0]["svname"], "work-OST0007", "the index that was reserved");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn what_an_operation_needs_is_said() {
    let site = Site::start();
    for (options, words) in [
        (json!({ "operation": "writeconf" }), "operation writeconf needs filesystem"),
        (json!({ "operation": "cancel" }), "operation cancel needs id"),
        (json!({ "operation": "cancel", "id": "no-such-job" }), "there is no job no-such-job"),
        (json!({ "operation": "wait", "id": "No Such" }), "a job id has 1 to 64 of the characters"),
        (json!({ "operation": "move", "target": "work-OST0000" }), "there is no target work-OST0000"),
        (json!({ "operation": "evacuate", "target": "work-OST0000", "client": "c1", "window": "8" }), "window: "),
        (json!({ "operation": "explode" }), "value of operation must be one of: writeconf, move,"),
    ] {
        let refused = site.task("lustre_job", &options, &[]);
        assert!(message(&refused).contains(words), "{options}: {refused}");
    }
    let refused = site.task("lustre_job_info", &json!({ "id": "no-such-job" }), &[]);
    assert!(message(&refused).contains("there is no job no-such-job"), "{refused}");
}
