//! Tasks with `async`.

use serde_json::{Value, json};
use testkit::HaltedFormat;

use super::site::{HUGE_BYTES, Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_task_with_async_is_polled_and_has_the_result_that_it_has_without() {
    let site = Site::start();
    let made = |again: &str| {
        let task =
            json!({ "name": again, "chandelier.lustre.lustre_filesystem": { "name": "work" }, "async": 60, "poll": 1 });
        site.tasks(&[task])[0].clone()
    };
    let first = made("first");
    assert_eq!((&first["changed"], &first["resource"]["name"]), (&json!(true), &json!("work")), "{first}");
    assert_eq!(first["plan"][0]["action"], "create", "{first}");
    assert_eq!(made("second")["changed"], false);
    let refused = site.tasks(&[
        json!({ "chandelier.lustre.lustre_filesystem": { "name": "much too long" }, "async": 60, "poll": 1 }),
    ]);
    assert!(message(&refused[0]).contains("much too long"), "{refused:?}");
}

/// A format that a task began and did not wait for, stopped in the middle: the task's id, its options, the format.
fn begun(site: &Site, limit_s: u32) -> (Value, Value, HaltedFormat) {
    site.cluster.mgsctl(&["fs", "create", "work"]).unwrap();
    let device = site.cluster.agent("oss1").image("huge", 8 * HUGE_BYTES).unwrap();
    let target = json!({ "filesystem": "work", "targets": [{ "kind": "ost", "index": 0, "device": device }] });
    let begin = json!({ "chandelier.lustre.lustre_target": target, "async": limit_s, "poll": 0 });
    let (results, format) = std::thread::scope(|scope| {
        let format = scope.spawn(|| HaltedFormat::of(&device));
        (site.tasks(&[begin]), format.join().unwrap().unwrap())
    });
    assert_eq!((&results[0]["started"], &results[0]["finished"]), (&json!(true), &json!(false)), "{results:?}");
    (results[0]["ansible_job_id"].clone(), target, format)
}

/// What `async_status` says of it at last.
fn ended(site: &Site, jid: &Value) -> Value {
    let ask = json!({
        "ansible.builtin.async_status": { "jid": jid },
        "register": "seen", "until": "seen.finished", "retries": 300, "delay": 1,
    });
    site.tasks(&[ask]).pop().unwrap()
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_format_goes_on_while_the_play_does_something_else() {
    let site = Site::start();
    let (jid, _, format) = begun(&site, 300);
    let open = site.task("lustre_job_info", &json!({ "only_open": true }), &[]);
    assert_eq!(open["jobs"].as_array().map(Vec::len), Some(1), "the format is at work: {open}");
    format.go_on();
    let ended = ended(&site, &jid);
    assert_eq!((&ended["changed"], &ended["resource"][0]["state"]), (&json!(true), &json!("registered")), "{ended}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_task_that_reaches_its_limit_says_so_and_its_job_goes_on() {
    let site = Site::start();
    let (jid, target, format) = begun(&site, 3);
    let ended = ended(&site, &jid);
    let said = message(&ended);
    assert!(said.contains("not done in 3 s, the limit that async gives; jobs of the MGS go on"), "{said}");
    format.go_on();
    let again = site.task("lustre_target", &target, &[]);
    assert_eq!(again["resource"][0]["state"], "registered", "{again}");
    let jobs = site.cluster.mgsctl(&["job", "list", "--all"]).unwrap();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "one job did it: {jobs}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn with_api_url_async_is_for_the_controller_itself() {
    let site = Site::start();
    let options = json!({ "name": "work", "api_url": site.cluster.mgs.endpoint() });
    let task = |more: &Value| {
        let mut task = json!({ "chandelier.lustre.lustre_filesystem": options, "async": 30, "poll": 1 });
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let play = json!([{ "hosts": "elsewhere", "gather_facts": false, "tasks": [task] }]);
        site.play(&play, &[]).results()[0].clone()
    };
    site.inventory(&json!({ "all": { "hosts": { "elsewhere": { "ansible_connection": "ssh", "ansible_host": "elsewhere.test" } } } }));
    let refused = task(&json!({}));
    assert!(message(&refused).contains("delegate the task to localhost"), "{refused}");
    let made = task(&json!({ "delegate_to": "localhost" }));
    assert_eq!(made["changed"], true, "{made}");
}
