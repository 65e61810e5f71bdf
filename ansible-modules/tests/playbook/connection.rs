//! Who can be asked, who can't, and who was faster.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use super::site::{Site, message};

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_controller_asks_the_mgs_itself_and_no_host() {
    let site = Site::start();
    let url = site.cluster.mgs.endpoint();
    // A host that nobody can reach: with api_url, nobody has to.
    site.inventory(&json!({ "all": { "hosts": { "oss1": { "ansible_host": "192.0.2.1" } } } }));
    let made = site.task("lustre_filesystem", &json!({ "name": "work", "api_url": url }), &[]);
    assert_eq!(made["changed"], true, "{made}");
    let target = json!({ "kind": "ost", "index": 0, "node": "oss1", "device": site.image("oss1", "ost0") });
    let options = json!({ "filesystem": "work", "targets": [target], "api_url": url });
    assert_eq!(site.task("lustre_target", &options, &[])["resource"][0]["svname"], "work-OST0000");
    assert_eq!(site.task("lustre_target", &options, &[])["changed"], false);
    let nodeless =
        json!({ "filesystem": "work", "targets": [{ "kind": "ost", "device": "/dev/vdb" }], "api_url": url });
    assert!(message(&site.task("lustre_target", &nodeless, &[])).contains("node (with api_url there is no host"));
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn an_address_that_is_not_known_never_becomes_another() {
    let site = Site::start();
    for address in ["", "  "] {
        let refused = site.task("lustre_filesystem", &json!({ "name": "work", "api_url": address }), &[]);
        assert!(message(&refused).starts_with("api_url is empty; give the address of the MGS"), "{refused}");
    }
    let undefined =
        site.task("lustre_filesystem", &json!({ "name": "work", "api_url": "{{ mgs_url_of_no_group }}" }), &[]);
    assert!(message(&undefined).contains("mgs_url_of_no_group"), "{undefined}");
    let wrong = site.task("lustre_filesystem", &json!({ "name": "work", "api_url": "mgs1:7070" }), &[]);
    assert!(message(&wrong).starts_with("api_url: "), "{wrong}");
    assert_eq!(site.count("fs"), 0, "nobody was asked in its place");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn who_does_not_answer_is_named_and_check_mode_only_warns() {
    let mut site = Site::start();
    // A port of the kernel's choice that nobody listens on any more.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = json!({ "name": "work", "api_url": format!("http://{free}") });
    let failed = site.task("lustre_filesystem", &options, &[]);
    let said = message(&failed);
    assert!(said.contains(&free.to_string()) && said.contains("is lustre-mgs running there"), "{said}");
    let checked = site.task("lustre_filesystem", &options, &["--check"]);
    assert_eq!((&checked["changed"], &checked["plan_incomplete"]), (&json!(true), &json!(true)), "{checked}");
    assert!(checked["warnings"][0].as_str().unwrap().contains(&free.to_string()), "{checked}");

    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let target = json!({ "kind": "ost", "index": 0, "node": "oss1", "device": site.image("oss1", "ost0") });
    let options =
        json!({ "filesystem": "work", "targets": [target], "api_url": site.cluster.mgs.endpoint(), "wait_timeout": 3 });
    site.cluster.agent_mut("oss1").kill();
    let by_socket = site.task("lustre_facts", &json!({}), &[]);
    assert!(message(&by_socket).contains("is lustre-agent running on this host"), "{by_socket}");
    let checked = site.task("lustre_target", &options, &["--check"]);
    assert!(checked["warnings"].to_string().contains("the agent of oss1 can't be asked"), "{checked}");
    assert!(site.bytes("oss1", "ost0").iter().all(|byte| *byte == 0));
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_change_between_plan_and_write_is_a_conflict_that_names_the_object() {
    let site = Site::start();
    site.task("lustre_filesystem", &json!({ "name": "work" }), &[]);
    let set = |value: &str| site.cluster.mgsctl(&["param", "set", "work", "osc.*.max_dirty_mb", value]).unwrap();
    set("128");
    thread::scope(|scope| {
        // Between the task's reading and its writing somebody else writes.
        let url = before_the_first_write(scope, site.cluster.mgs.endpoint(), || drop(set("256")));
        let options = json!({ "filesystem": "work", "name": "osc.*.max_dirty_mb", "value": "512", "api_url": url });
        let late = site.task("lustre_param", &options, &[]);
        assert_eq!(late["problem"]["code"], "conflict", "{late}");
        assert!(message(&late).contains("osc.*.max_dirty_mb"), "{late}");
    });
    let value = site.cluster.mgsctl(&["param", "list"]).unwrap()[0]["value"].clone();
    assert_eq!(value, "256", "the other's value stays");
}

/// A way to the MGS on which `act` happens before the first request that is not a GET passes..
fn before_the_first_write<'s>(scope: &'s thread::Scope<'s, '_>, mgs: &str, act: impl FnOnce() + Send + 's) -> String {
    let mgs = mgs.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    scope.spawn(move || {
        let mut act = Some(act);
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(mgs).unwrap();
        let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let replies = thread::spawn(move || drop(std::io::copy(&mut back, &mut to_client)));
        let mut bytes = [0; 65536];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            // The client pools its connection and sends one request at a time.
            if bytes.starts_with(b"PUT ") || bytes.starts_with(b"POST ") {
                act.take().into_iter().for_each(|act| act());
            }
            server.write_all(&bytes[..count]).unwrap();
        }
        let _ = server.shutdown(Shutdown::Both);
        replies.join().unwrap();
        assert!(act.is_none(), "nothing was written by this way");
    });
    url
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_stale_fingerprint_is_refused() {
    let site = Site::start();
    let stale = site.task("lustre_filesystem", &json!({ "name": "work", "fingerprint": "0011223344556677" }), &[]);
    assert!(message(&stale).contains("nothing was changed"), "{stale}");
    let checked = site.task("lustre_filesystem", &json!({ "name": "work" }), &["--check"]);
    let options = json!({ "name": "work", "fingerprint": checked["fingerprint"] });
    assert_eq!(site.task("lustre_filesystem", &options, &[])["changed"], true);
}
