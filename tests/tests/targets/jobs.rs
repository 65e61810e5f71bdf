//! `mgsctl job` as a person uses it: planned, watched, cancelled, explained, tried again.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use testkit::HaltedFormat;

use crate::site::{MIB, Site};

const TIB: u64 = 1 << 40;

impl Site {
    /// `mgsctl` as it prints to people.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(testkit::binary("mgsctl").unwrap());
        command.args(["--endpoint", self.cluster.mgs.endpoint()]).args(arguments).stdin(Stdio::null());
        command
    }

    fn says(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        assert!(status.success(), "mgsctl {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "mgsctl {arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A format of OST0000 that is stopped in the middle, and its job.
    fn formatting(&self) -> (String, HaltedFormat) {
        let device = self.cluster.agent("oss1").image("huge", TIB).unwrap();
        let target = json!({"kind": "ost", "filesystem": "scratch", "index": 0, "node": "oss1", "device": device});
        let file = self.cluster.dir().join("desired.json");
        std::fs::write(&file, json!({"targets": [{"target": target}]}).to_string()).unwrap();
        // Who asked for it goes away at once: the job goes on.
        let mut apply =
            self.command(&["apply", "--yes", file.to_str().unwrap()]).stdout(Stdio::null()).spawn().unwrap();
        let format = HaltedFormat::of(&device).unwrap();
        apply.kill().unwrap();
        apply.wait().unwrap();
        let jobs = self.cluster.mgsctl(&["job", "list"]).unwrap();
        (jobs[0]["id"].as_str().unwrap().to_owned(), format)
    }
}

#[test]
fn a_plan_of_a_job_says_what_moves_and_how_it_gets_back_to_the_state_that_it_should_have() {
    let site = Site::with_osts(1);
    let said = site.says(&["job", "plan", "stop", "scratch-MDT0000"]);
    for words in [
        "stop of scratch-MDT0000 would be this job; nothing was started",
        "target scratch-MDT0000: started -> stopped",
        "filesystem scratch: available -> unavailable: it holds the root",
        "should be available; to bring it there: mgsctl target start scratch-MDT0000",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let plan = site.cluster.mgsctl(&["job", "plan", "stop", "scratch-OST0000"]).unwrap();
    let moved = &plan["plan"]["moves"][0];
    let states = [&moved["now"], &moved["becomes"], &moved["preferred"], &moved["acceptable"][0]];
    assert_eq!(states, ["started", "stopped", "started", "started"], "{plan:#}");
    assert_eq!(site.target("scratch-MDT0000")["state"], "started");
    let last = site.says(&["job", "plan", "delete", "scratch-OST0000"]);
    assert!(last.contains("scratch-OST0000 is its last ost"), "{last}");
    assert!(!last.contains("mgsctl target start"), "what leaves is not started: {last}");
}

#[test]
fn what_was_shown_is_started_as_it_was_shown_and_waited_for() {
    let site = Site::with_osts(1);
    let shown = site.says(&["fs", "writeconf", "scratch", "--dry-run"]);
    for words in ["writeconf of scratch would be this job", "1     stop   scratch-MDT0000", "available -> unavailable"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let digest = |shown: &str| shown.lines().find_map(|line| line.strip_prefix("digest ")).unwrap().to_owned();
    let refused = site.refuses(&["target", "stop", "scratch-OST0000", "--plan", &digest(&shown)]);
    assert!(refused.contains("another job by now"), "{refused}");
    assert_eq!(site.target("scratch-OST0000")["state"], "started");

    let shown = site.says(&["target", "stop", "scratch-OST0000", "--dry-run"]);
    let stop = ["target", "stop", "scratch-OST0000", "--plan", &digest(&shown), "--job", "cables", "--wait"];
    let said = site.says(&stop);
    assert!(said.contains("job cables works on it") && said.ends_with("scratch-OST0000 done\n"), "{said}");
    assert_eq!(site.target("scratch-OST0000")["state"], "stopped");
    assert!(site.says(&["status"]).contains("1 MDT and 1 OST are registered; scratch-OST0000 is stopped"));
    assert!(site.says(&stop).ends_with("scratch-OST0000 done\n"), "the same again starts nothing");
    let ended = site.cluster.mgsctl(&["target", "start", "scratch-OST0000", "--wait"]).unwrap();
    assert_eq!((&ended["kind"], &ended["state"]), (&json!("start_target"), &json!("done")), "a program gets the job");
}

#[test]
fn a_watch_prints_lines_in_ci_and_draws_a_bar_at_a_terminal() {
    let site = Site::start();
    let (id, format) = site.formatting();
    let spawn = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = spawn(site.command(&["job", "watch", &id]));
    let mut all = spawn(site.command(&["job", "watch"]));
    let mgsctl = testkit::binary("mgsctl").unwrap();
    let at_terminal = format!("{} --endpoint {} job watch {id}", mgsctl.display(), site.cluster.mgs.endpoint());
    let mut script = Command::new("script");
    script.args(["-qec", &at_terminal, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let bar = spawn(script);
    // All of them have begun to watch when the stream of all jobs has told its first.
    let mut first = [0; 1];
    all.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    format.go_on();

    let said = lines.wait_with_output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{text}");
    assert!(text.contains("scratch-OST0000 running format on oss1"), "{text}");
    assert!(text.ends_with("scratch-OST0000 done\n"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\r'), "no control characters in a log: {text:?}");

    let drawn = bar.wait_with_output().unwrap();
    let text = String::from_utf8(drawn.stdout).unwrap();
    assert!(drawn.status.success(), "{text:?}");
    assert!(text.contains("scratch-OST0000 [") && text.contains('\r'), "a bar: {text:?}");
    assert!(text.contains("] done"), "{text:?}");

    let ended = || Ok(!site.cluster.mgsctl(&["job", "show", &id])?["ended"].is_null());
    site.cluster.wait_for("the job to end", ended).unwrap();
    let mut told = String::from_utf8(first.to_vec()).unwrap();
    let mut rest = [0; 4096];
    while !told.ends_with("scratch-OST0000 done\n") {
        let count = all.stdout.as_mut().unwrap().read(&mut rest).unwrap();
        assert_ne!(count, 0, "the stream of all jobs goes on: {told}");
        told.push_str(&String::from_utf8_lossy(&rest[..count]));
    }
    all.kill().unwrap();
    all.wait().unwrap();
}

#[test]
fn a_format_that_was_cancelled_is_explained_logged_and_not_tried_again_blindly() {
    let site = Site::start();
    let (id, format) = site.formatting();
    let why = site.says(&["job", "explain", &id]);
    assert!(
        why.contains("is running") && why.contains("step 1 (format of scratch-OST0000 on oss1) is at work"),
        "{why}"
    );
    let said = site.says(&["job", "cancel", &id]);
    assert!(said.contains("is cancelling") || said.contains("is cancelled"), "{said}");
    site.refuses(&["job", "watch", &id]);
    drop(format);
    let list = site.says(&["job", "list", "--state", "cancelled"]);
    assert!(list.contains(&id), "{list}");

    let why = site.says(&["job", "explain", &id]);
    for words in
        ["is cancelled", "not done:", "step 1 (format", "was stopped", "to do: ", "ensure scratch-OST0000 again"]
    {
        assert!(why.contains(words), "{words}: {why}");
    }
    let log = site.says(&["job", "log", &id]);
    assert!(
        log.contains("step 1 format, attempt 1: cancelled") && log.contains("$ ") && log.contains("mke2fs"),
        "{log}"
    );
    let refused = site.refuses(&["job", "retry", &id]);
    assert!(
        refused.contains("its format had begun") && refused.contains("remedy: ensure scratch-OST0000 again"),
        "{refused}"
    );
    let found = site.says(&["node", "devices", "oss1"]);
    assert!(found.contains("unfinished"), "{found}");

    let file = site.cluster.dir().join("desired.json");
    let applied = site.says(&["apply", "--yes", file.to_str().unwrap()]);
    assert!(applied.contains("scratch-OST0000"), "{applied}");
    site.reaches("scratch-OST0000", "started");
}

#[test]
fn a_job_that_never_began_is_tried_again() {
    let site = Site::start();
    site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
    site.says(&["target", "stop", "scratch-MDT0000"]);
    site.reaches("scratch-MDT0000", "stopped");
    site.says(&["node", "drain", "mds1", "--reason", "new cables"]);
    site.says(&["target", "start", "scratch-MDT0000"]);
    let jobs = site.cluster.mgsctl(&["job", "list"]).unwrap();
    let id = jobs[0]["id"].as_str().unwrap_or_else(|| panic!("no job: {jobs}"));
    let held = || Ok(site.says(&["job", "explain", id]).contains("new cables"));
    site.cluster.wait_for("the drain to be named", held).unwrap();
    site.says(&["job", "cancel", id]);
    site.cluster.wait_for("it to end", || Ok(site.says(&["job", "explain", id]).contains("is cancelled"))).unwrap();
    assert!(site.says(&["job", "explain", id]).contains("was not begun"));
    assert_eq!(site.says(&["job", "log", id]), "no step has begun\n");
    site.says(&["node", "undrain", "mds1"]);
    let again = site.says(&["job", "retry", id]);
    assert!(again.contains(&format!("mgsctl job watch {id}")), "{again}");
    assert!(site.says(&["job", "watch", id]).ends_with("scratch-MDT0000 done\n"));
    site.reaches("scratch-MDT0000", "started");
    let refused = site.refuses(&["job", "retry", id]);
    assert!(refused.contains("is done, there is nothing to try again"), "{refused}");
}
