//! The binary against a real MGS, as a person uses it.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use lustre_mgs::agents::RestAgents;
use lustre_mgs::api::Api;
use lustre_mgs::engine::Engine;
use lustre_mgs::server;
use lustre_mgs_core::Env;
use lustre_mgs_store::MemoryStore;
use rest::Listener;
use tokio::sync::watch;

/// An MGS in memory; nodes can't be reached.
struct Mgs {
    url: String,
    _stop: watch::Sender<bool>,
}

async fn mgs() -> Mgs {
    let env = Env { mgs_nids: Some("10.0.0.1@tcp".parse().unwrap()), ..Env::default() };
    let (engine, _follower) = Engine::start(Arc::new(MemoryStore::new()), env).await.unwrap();
    let agents = Arc::new(RestAgents::default());
    let api = Arc::new(Api::new(engine, agents));
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let url = listener.url();
    tokio::spawn(listener.serve(server::server(api).router(), stopped));
    Mgs { url, _stop: stop }
}

impl Mgs {
    async fn run(&self, line: &str) -> Output {
        self.run_args(&line.split(' ').collect::<Vec<_>>()).await
    }

    async fn run_args(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mgsctl"));
        command.args(args).env("LUSTRE_MGS_ENDPOINT", &self.url).stdin(std::process::Stdio::null());
        command.output().await.unwrap()
    }

    /// What a command that works prints.
    async fn ok(&self, line: &str) -> String {
        let output = self.run(line).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mgsctl {line}: {err}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that is refused says.
    async fn refused(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert_eq!(output.status.code(), Some(1), "mgsctl {line}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_comes_is_shown_and_goes() {
    let mgs = mgs().await;
    assert_eq!(mgs.ok("fs list").await, "no file systems\n");
    assert!(mgs.ok("fs create scratch --description fast").await.contains("file system scratch is as described"));
    assert!(mgs.ok("fs create scratch --description fast").await.contains("nothing to change"));
    let list = mgs.ok("fs list").await;
    assert!(list.starts_with("NAME"), "{list}");
    assert!(list.contains("scratch  empty"), "{list}");
    assert!(mgs.ok("fs show scratch").await.contains("10.0.0.1@tcp:/scratch"));
    let json: serde_json::Value = serde_json::from_str(&mgs.ok("fs show scratch -o json").await).unwrap();
    assert_eq!(json["description"], "fast");
    assert!(mgs.ok("fs delete scratch --dry-run").await.contains("nothing was"));
    assert!(mgs.ok("fs delete scratch --why over").await.contains("is removed"));
    let history = mgs.ok("history --object filesystem").await;
    assert!(history.contains("ip:127.0.0.1: delete filesystem scratch: over"), "{history}");
    assert!(history.contains("filesystem scratch removed"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunable_is_set_read_back_and_unset() {
    let mgs = mgs().await;
    mgs.ok("fs create scratch").await;
    mgs.ok("param set scratch osc.*.max_dirty_mb 64 --scope clients").await;
    let shown = mgs.ok("param get scratch osc.*.max_dirty_mb --scope clients").await;
    assert!(shown.contains("value:") && shown.contains("64"), "{shown}");
    assert!(mgs.ok("param list").await.contains("osc.*.max_dirty_mb  64"));
    let refused = mgs.refused("param set scratch osc.*.max_dirty_mb many").await;
    assert!(refused.contains("max_dirty_mb") && refused.contains("remedy:"), "{refused}");
    mgs.ok("param unset scratch osc.*.max_dirty_mb --scope clients").await;
    assert!(mgs.ok("param known max_dirty").await.contains("osc.*.max_dirty_mb"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_to_do_and_where_the_log_says_more() {
    let mgs = mgs().await;
    let refused = mgs.refused("fs show nowhere").await;
    assert!(refused.starts_with("mgsctl: there is no file system nowhere\n  remedy: "), "{refused}");
    assert!(refused.contains("\n  request: "), "{refused}");
    for line in ["job show none-1", "target show scratch-OST0000", "node show oss1", "pool show scratch x"] {
        assert!(mgs.refused(line).await.contains("mgsctl: there is no "), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mgs_that_is_not_there_is_named() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mgsctl"));
    let output = command.args(["--endpoint", "unix:///nowhere/api.sock", "status"]).output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("unix:///nowhere/api.sock") && err.contains("LUSTRE_MGS_ENDPOINT"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_the_mgs_and_what_to_look_at() {
    let mgs = mgs().await;
    mgs.ok("fs create scratch").await;
    let status = mgs.ok("status").await;
    assert!(status.contains("NIDs:") && status.contains("10.0.0.1@tcp") && status.contains("scratch"), "{status}");
    assert_eq!(mgs.ok("events --after 0").await.matches("new\n").count(), 2, "the MGS and the file system");
}

async fn apply(mgs: &Mgs, file: &Path, how: &[&str]) -> (Option<i32>, String) {
    let file = file.to_str().unwrap();
    let output = mgs.run_args(&[how, &[file]].concat()).await;
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_planned_applied_and_then_nothing_is_left_to_do() {
    let mgs = mgs().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("desired.json");
    let desired = r#"{"filesystems": [{"name": "scratch"}],
        "params": [{"filesystem": "scratch", "scope": "clients", "name": "osc.*.max_dirty_mb", "value": "64"}]}"#;
    std::fs::write(&file, desired).unwrap();
    let (code, plan) = apply(&mgs, &file, &["plan"]).await;
    assert_eq!(code, Some(0), "{plan}");
    assert!(plan.contains("scratch") && plan.contains("max_dirty_mb"), "{plan}");
    let (code, asked) = apply(&mgs, &file, &["apply"]).await;
    assert_eq!(code, Some(1), "nobody can say yes: {asked}");
    assert_eq!(mgs.ok("fs list").await, "no file systems\n");
    let (code, done) = apply(&mgs, &file, &["apply", "--yes"]).await;
    assert_eq!(code, Some(0), "{done}");
    assert!(done.contains("2 changes made"), "{done}");
    let (code, again) = apply(&mgs, &file, &["apply", "--yes"]).await;
    assert_eq!((code, again.contains("0 changes made")), (Some(0), true), "{again}");
    std::fs::write(&file, r#"{"filesystem": []}"#).unwrap();
    let (code, unknown) = apply(&mgs, &file, &["plan"]).await;
    assert_eq!(code, Some(1));
    assert!(unknown.contains("unknown field `filesystem`"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_log_is_listed_shown_and_written_out() {
    let mgs = mgs().await;
    assert_eq!(mgs.ok("log list").await, "no config logs\n");
    mgs.ok("param set * osc.*.max_dirty_mb 64").await;
    mgs.ok("param set * osc.*.max_dirty_mb 32").await;
    assert!(
        mgs.ok("log list").await.contains("params  -            6        6     9.0 KiB"),
        "{}",
        mgs.ok("log list").await
    );
    let shown = mgs.ok("log show params").await;
    let line = "- { index: 5, event: set_param, device: general, parameter: osc.*.max_dirty_mb=32 }\n";
    assert_eq!(shown, line);
    let all = mgs.ok("log show params --raw").await;
    assert!(all.contains("max_dirty_mb=64") && all.contains("event: marker, flags: 0x05"), "{all}");
    let json: serde_json::Value = serde_json::from_str(&mgs.ok("log show params -o json").await).unwrap();
    assert_eq!((&json["records"][1]["effective"], &json["records"][4]["effective"]), (&false.into(), &true.into()));
    let raw = mgs.run("log raw params").await.stdout;
    let file = lustre_wire::llog::LogFile::decode(&raw).unwrap();
    assert_eq!(lustre_wire::llog::print(&file), line);
    assert!(mgs.refused("log show scratch-client").await.contains("there is no config log scratch-client"));
}

#[test]
fn a_shell_completes_the_commands_and_a_broken_pipe_is_no_panic() {
    let program = env!("CARGO_BIN_EXE_mgsctl");
    let bash = |line: String| std::process::Command::new("bash").arg("-c").arg(line).output().unwrap();
    let completing = bash(format!("source <({program} completion bash) && complete -p mgsctl"));
    assert!(String::from_utf8_lossy(&completing.stdout).contains("_mgsctl"), "{completing:?}");
    let cut = bash(format!("{program} completion zsh | true"));
    assert!(cut.stderr.is_empty(), "{}", String::from_utf8_lossy(&cut.stderr));
}

#[tokio::test]
async fn an_mgs_over_http_is_reached_from_where_there_are_no_certificates() {
    let mgs = mgs().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mgsctl"));
    command.args(["--endpoint", &mgs.url, "status"]).env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
