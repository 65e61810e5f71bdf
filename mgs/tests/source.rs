//! Configuration that the MGS reads by itself: from a real repository of git and a real web server.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lustre_api::event::{GetHistory, HistoryQuery};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, ListFilesystems, PutFilesystem};
use lustre_api::mgs::GetMgs;
use lustre_api::source::{GetSource, ReadSource, ReadSourceQuery, SourceNote, SourceOutcome, SourceStatus};
use lustre_api::{Nothing, PageQuery, ProblemCode, WriteQuery};
use process::{Daemon, command};
use rest::{Client, ClientError};

/// A daemon that reads a source, seldom: tests ask it to.
fn start(directory: &Path, source: &str, mode: &str) -> Daemon {
    let mut command = command(&directory.join("mgs.redb"));
    command.args(["--source", source, "--source-mode", mode, "--source-poll", "3600"]);
    Daemon::wait_for(&mut command)
}

async fn read(client: &Client, apply: bool) -> (SourceNote, SourceStatus) {
    let status = client.call::<ReadSource>(&Nothing {}, &ReadSourceQuery { apply }, &Nothing {}).await.unwrap();
    (status.note.clone().unwrap(), status)
}

async fn descriptions(client: &Client) -> Vec<String> {
    let page = client.call::<ListFilesystems>(&Nothing {}, &PageQuery::default(), &Nothing {}).await.unwrap();
    page.items.iter().map(|fs| format!("{} {}", fs.spec.name, fs.spec.description.as_deref().unwrap_or("-"))).collect()
}

async fn describe(client: &Client, description: &str) {
    let path = FilesystemPath { fsname: "scratch".parse().unwrap() };
    let spec = FilesystemSpec { name: path.fsname.clone(), description: Some(description.into()) };
    client.call::<PutFilesystem>(&path, &WriteQuery::default(), &spec).await.unwrap();
}

/// Waits until this instance is the one that applies.
async fn applies(client: &Client) {
    let duty = async || client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap().duties;
    let taken = async {
        while !duty().await.iter().any(|duty| duty == "source") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), taken).await.expect("it takes on the duty");
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]);
    let output = command.arg("-C").arg(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn scratch(description: &str) -> String {
    format!(r#"{{"filesystems": [{{"name": "scratch", "description": "{description}"}}]}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_applied_once_and_what_is_changed_by_hand_afterwards_is_shown_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("config");
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    std::fs::write(repository.join("scratch.json"), scratch("one")).unwrap();
    std::fs::write(repository.join("README"), "not read").unwrap();
    let daemon = start(directory.path(), repository.to_str().unwrap(), "apply");
    let client = daemon.client();

    applies(&client).await;
    let (note, _) = read(&client, false).await;
    assert_eq!(note.outcome, SourceOutcome::Unreadable, "nothing is committed yet: {note:?}");
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "-m", "one"]);
    let first = git(&repository, &["rev-parse", "HEAD"]);
    let (note, _) = read(&client, false).await;
    assert_eq!((note.outcome, note.version.as_ref()), (SourceOutcome::Same, Some(&first)), "{note:?}");
    assert_eq!(descriptions(&client).await, ["scratch one"]);
    let history = HistoryQuery { object: Some("filesystem scratch".into()), ..HistoryQuery::default() };
    let events = client.call::<GetHistory>(&Nothing {}, &history, &Nothing {}).await.unwrap().items;
    assert_eq!(events[0].who, "source");
    assert!(events[0].why.as_ref().unwrap().ends_with(&first), "{:?}", events[0].why);

    std::fs::write(repository.join("scratch.json"), scratch("two")).unwrap();
    read(&client, false).await;
    assert_eq!(descriptions(&client).await, ["scratch one"], "what is not committed is not wanted yet");
    git(&repository, &["commit", "--quiet", "-am", "two"]);
    assert_eq!(read(&client, false).await.0.outcome, SourceOutcome::Same);
    assert_eq!(descriptions(&client).await, ["scratch two"]);

    describe(&client, "by hand").await;
    let (note, status) = read(&client, false).await;
    assert_eq!((note.outcome, note.differences), (SourceOutcome::Differs, 1), "{note:?}");
    assert!(note.message.unwrap().contains("not undone"));
    assert_eq!(status.plan.unwrap().changes.len(), 1);
    assert_eq!(descriptions(&client).await, ["scratch by hand"]);
    assert_eq!(read(&client, true).await.0.outcome, SourceOutcome::Same);
    assert_eq!(descriptions(&client).await, ["scratch two"], "unless somebody asks for it");

    // Each piece of news is one event, however often the source is read.
    let history = HistoryQuery { object: Some("source".into()), ..HistoryQuery::default() };
    let before = client.call::<GetHistory>(&Nothing {}, &history, &Nothing {}).await.unwrap().items.len();
    read(&client, false).await;
    read(&client, false).await;
    let after = client.call::<GetHistory>(&Nothing {}, &history, &Nothing {}).await.unwrap().items;
    assert_eq!(after.len(), before, "{after:?}");
}

/// What the server has, how often it was asked, and how often it said that nothing is new.
#[derive(Default)]
struct Site {
    text: String,
    asked: u32,
    unchanged: u32,
}

async fn serve(State(site): State<Arc<Mutex<Site>>>, headers: HeaderMap) -> Response {
    let mut site = site.lock().unwrap();
    site.asked += 1;
    if headers.get(header::AUTHORIZATION).is_none_or(|token| token != "Bearer let me in") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let tag = format!("\"{}\"", site.text.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *tag) {
        site.unchanged += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, tag)], site.text.clone()).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_is_only_reported_unless_asked_and_read_again_only_when_it_has_news() {
    let site = Arc::new(Mutex::new(Site { text: scratch("wanted"), ..Site::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lustre.json?key=secret", listener.local_addr().unwrap());
    let router = Router::new().route("/lustre.json", get(serve)).with_state(site.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "let me in\n").unwrap();
    let mut command = command(&directory.path().join("mgs.redb"));
    command.args(["--source", &url, "--source-poll", "3600", "--source-token-file", token.to_str().unwrap()]);
    let daemon = Daemon::wait_for(&mut command);
    let client = daemon.client();

    for _ in 0..3 {
        let (note, status) = read(&client, false).await;
        assert_eq!((note.outcome, note.differences), (SourceOutcome::Differs, 1), "{note:?}");
        assert!(!status.source.contains("secret") && status.source.ends_with("/lustre.json"), "{}", status.source);
    }
    assert_eq!(descriptions(&client).await, Vec::<String>::new(), "nothing is done unasked");
    {
        let site = site.lock().unwrap();
        assert!(site.asked >= 3 && site.unchanged == site.asked - 1, "{} of {}", site.unchanged, site.asked);
    }
    assert_eq!(read(&client, true).await.0.outcome, SourceOutcome::Same);
    assert_eq!(descriptions(&client).await, ["scratch wanted"]);

    site.lock().unwrap().text = r#"{"filesystem": []}"#.into();
    let (note, _) = read(&client, true).await;
    assert_eq!(note.outcome, SourceOutcome::Unreadable);
    assert!(note.message.as_ref().unwrap().contains("unknown field `filesystem`"), "{note:?}");
    // A target on a node that nobody knows: the plan says so, and nothing of it is made.
    let target = r#"{"target": {"kind": "ost", "filesystem": "scratch", "node": "oss9", "device": "/dev/sdx"}}"#;
    let wrong = format!(r#"{{"filesystems": [{{"name": "home"}}], "targets": [{target}]}}"#);
    site.lock().unwrap().text = wrong;
    let (note, _) = read(&client, true).await;
    assert_eq!(note.outcome, SourceOutcome::Refused, "{note:?}");
    assert!(note.message.as_ref().unwrap().contains("oss9"), "{note:?}");
    assert_eq!(descriptions(&client).await, ["scratch wanted"]);

    std::fs::write(&token, "wrong\n").unwrap();
    let (note, _) = read(&client, false).await;
    assert!(note.message.as_ref().unwrap().contains("401"), "{note:?}");
    serving.abort();
    let _ = serving.await;
    let (note, _) = read(&client, false).await;
    assert_eq!((note.outcome, note.version), (SourceOutcome::Unreadable, None));
    let noted = client.call::<GetSource>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap().note.unwrap();
    assert_eq!(noted.outcome, SourceOutcome::Unreadable, "all instances can tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_applies_whichever_is_told_of_news() {
    let etcd = testkit::Etcd::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let start = || {
        let mut command = command(Path::new(&etcd.url("lmgs/test")));
        command.args(["--source", config.to_str().unwrap(), "--source-mode", "apply", "--source-poll", "3600"]);
        Daemon::wait_for(&mut command)
    };
    let one = start();
    applies(&one.client()).await;
    let other = start();
    std::fs::write(config.join("scratch.json"), scratch("one")).unwrap();
    let (note, status) = read(&other.client(), false).await;
    assert_eq!((note.outcome, status.is_owner), (SourceOutcome::Differs, false), "{note:?}");
    let applied = async {
        while descriptions(&other.client()).await != ["scratch one"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), applied).await.expect("the owner applies it");
    let history = HistoryQuery { object: Some("filesystem scratch".into()), ..HistoryQuery::default() };
    let made = one.client().call::<GetHistory>(&Nothing {}, &history, &Nothing {}).await.unwrap().items;
    assert_eq!(made.len(), 1, "{made:?}");
    one.kill();
    applies(&other.client()).await;
    std::fs::write(config.join("scratch.json"), scratch("two")).unwrap();
    assert_eq!(read(&other.client(), false).await.0.outcome, SourceOutcome::Same);
    assert_eq!(descriptions(&other.client()).await, ["scratch two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_read_when_the_mgs_starts() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("scratch.json"), scratch("at once")).unwrap();
    let daemon = start(directory.path(), config.to_str().unwrap(), "apply");
    let client = daemon.client();
    let applied = async {
        while descriptions(&client).await != ["scratch at once"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), applied).await.expect("it is applied though nobody asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mgs_without_a_source_says_how_to_get_one_and_a_wrong_one_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("mgs.redb"));
    let refused = daemon.client().call::<GetSource>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap_err();
    let ClientError::Problem(problem) = refused else { panic!("{refused}") };
    assert_eq!(problem.code, ProblemCode::NotFound);
    assert!(problem.remedy.unwrap().contains("--source"));
    for (source, why) in [("ftp://host/x", "no source"), ("relative", "begin with /")] {
        let mut command = command(&directory.path().join("other.redb"));
        let output = command.args(["--source", source]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
}
