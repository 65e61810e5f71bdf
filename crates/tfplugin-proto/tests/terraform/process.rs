//! The provider as a process: its start, its end, and who may talk to it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{Workspace, tiny};

const SLOW: &str = "resource \"tiny_file\" \"a\" {\n  name = \"a\"\n  trouble = \"slow\"\n}\n";

/// Processes whose executable was started as `name` in `ws`, by their command line.
fn providers_of(ws: &Workspace) -> Vec<u32> {
    let bin = ws.provider();
    let bin = bin.to_str().expect("UTF-8");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if cmdline.split(|byte| *byte == 0).next() == Some(bin.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Waits until `condition` holds; panics if it doesn't in `limit`.
fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not in {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// An apply that has arrived in the slow create.
fn slow_apply(ws: &Workspace) -> Child {
    ws.config(SLOW);
    let mut command = ws.command(&["apply", "-auto-approve", "-no-color"]);
    let mut apply = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().expect("terraform");
    let stdout = apply.stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Creating...")), "the apply came to its create");
    apply.stdout = None;
    std::thread::spawn(move || lines.count());
    apply
}

fn signal(target: &str, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), "--", target]).status().expect("kill");
    assert!(status.success(), "kill -{name} {target}");
}

#[test]
fn a_killed_terraform_leaves_no_provider_behind() {
    let ws = Workspace::new();
    let mut apply = slow_apply(&ws);
    assert!(!providers_of(&ws).is_empty());
    signal(&apply.id().to_string(), "KILL");
    apply.wait().expect("dead");
    wait_for("the provider notices that terraform is dead", Duration::from_secs(2), || providers_of(&ws).is_empty());
}

#[test]
fn ctrl_c_stops_a_running_create_in_an_orderly_way() {
    let ws = Workspace::new();
    let mut apply = slow_apply(&ws);
    let start = Instant::now();
    // Ctrl-C at a terminal goes to the whole group, the provider too.
    signal(&format!("-{}", apply.id()), "INT");
    let status = apply.wait().expect("an end");
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert_eq!(status.code(), Some(1));
    let mut said = String::new();
    apply.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    assert!(said.contains("Interrupted"), "{said}");
    assert!(ws.state("tiny_file.a").is_null());
}

#[test]
fn an_interrupt_of_the_provider_alone_does_not_end_it() {
    let ws = Workspace::new();
    let mut apply = slow_apply(&ws);
    let running = providers_of(&ws);
    for pid in &running {
        signal(&pid.to_string(), "INT");
    }
    // Five times as long as an orderly end takes.
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        assert_eq!(providers_of(&ws), running);
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&apply.id().to_string(), "INT");
    assert_eq!(apply.wait().expect("an end").code(), Some(1));
}

#[test]
fn a_person_is_told_what_this_is() {
    let output = Command::new(tiny()).env_remove("TF_PLUGIN_MAGIC_COOKIE").output().expect("tiny");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Terraform starts it; it does nothing by hand"));
    assert!(output.stdout.is_empty());
    let output = Command::new(tiny()).arg("--version").output().expect("tiny");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "registry.terraform.io/example/tiny 1.0.0 (protocol 6)\n");
}

#[test]
fn without_plugin_tls_it_works_as_well() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n}\n");
    let output = ws.command(&["apply", "-auto-approve"]).env("TF_DISABLE_PLUGIN_TLS", "1").output();
    assert!(output.expect("terraform").status.success());
    assert!(ws.file("a").exists());
}

#[test]
fn a_tmpdir_too_long_for_a_socket_is_no_obstacle() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n}\n");
    let long = ws.path(&"x".repeat(90));
    fs::create_dir(&long).expect("dir");
    let output = ws.command(&["apply", "-auto-approve"]).env("TMPDIR", &long).output().expect("terraform");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn one_process_in_debug_mode_serves_many_runs() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n}\n");
    // Not found by terraform itself: whoever answers is the process below.
    fs::remove_file(ws.provider()).expect("remove");
    let mut provider =
        Command::new(tiny()).arg("--debug").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tiny");
    let mut lines = BufReader::new(provider.stdout.take().expect("piped")).lines();
    let export = lines.find_map(|line| {
        let line = line.expect("UTF-8");
        Some(line.trim().strip_prefix("export TF_REATTACH_PROVIDERS='")?.strip_suffix('\'')?.to_owned())
    });
    let export = export.expect("says what to export");
    for args in [&["apply", "-auto-approve"][..], &["plan", "-detailed-exitcode"][..]] {
        let output = ws.command(args).env("TF_REATTACH_PROVIDERS", &export).output().expect("terraform");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let socket: serde_json::Value = serde_json::from_str(&export).expect("JSON");
    let socket = socket["registry.terraform.io/example/tiny"]["Addr"]["String"].as_str().expect("path").to_owned();
    assert!(Path::new(&socket).exists());
    signal(&provider.id().to_string(), "TERM");
    assert!(provider.wait().expect("an end").success());
    assert!(!Path::new(&socket).exists(), "the socket is removed");
}

#[test]
fn logs_arrive_with_level_fields_and_time() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n}\n");
    let output = ws.command(&["apply", "-auto-approve"]).env("TF_LOG_PROVIDER", "INFO").output().expect("terraform");
    let log = String::from_utf8_lossy(&output.stderr);
    let line = log.lines().find(|line| line.contains("writing")).expect("the provider's line");
    assert!(line.contains("[INFO]"), "{line}");
    assert!(line.contains("path="), "{line}");
    assert!(!line.starts_with("0001"), "{line}");
}

#[test]
fn start_is_quick_and_the_socket_is_gone_after_the_end() {
    // As terraform starts it; then its stdin and stdout stay open, and TERM ends it.
    let tmp = tempfile::tempdir().expect("tmp");
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut provider = Command::new(tiny())
            .env("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .env("TMPDIR", tmp.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tiny");
        let mut line = String::new();
        BufReader::new(provider.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        best = best.min(start.elapsed());
        assert!(line.starts_with("1|6|unix|/"), "{line}");
        signal(&provider.id().to_string(), "TERM");
        let status = provider.wait().expect("an end");
        assert!(status.success());
    }
    assert_eq!(fs::read_dir(tmp.path()).expect("tmp").count(), 0, "socket directories are left");
    // A debug build on a busy machine; the benchmark has the tight limit.
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[test]
fn shutdown_takes_far_less_than_the_two_seconds_before_terraform_kills() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n}\n");
    ws.apply();
    let output = ws.command(&["plan"]).env("TF_LOG", "TRACE").output().expect("terraform");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("plugin process exited"), "{log}");
    assert!(!log.contains("plugin failed to exit gracefully"), "{log}");
}
