//! Webhooks of a real daemon to a real HTTP server, which takes, refuses, fails and hangs.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path as Part, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use lustre_api::event::Event;
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, PutFilesystem};
use lustre_api::mgs::GetMgs;
use lustre_api::webhook::{ListWebhooks, Webhook};
use lustre_api::{Nothing, WriteQuery};
use process::{Daemon, command};
use rest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What came: path, id, signature, event.
type Inbox = Arc<Mutex<Vec<(String, String, Option<String>, Event)>>>;

async fn take(State(inbox): State<Inbox>, Part(name): Part<String>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned());
    let event: Event = serde_json::from_str(&body).unwrap();
    let seen = {
        let mut inbox = inbox.lock().unwrap();
        inbox.push((name.clone(), header("lustre-event-id").unwrap(), header("lustre-signature"), event));
        inbox.iter().filter(|(path, ..)| *path == name).count()
    };
    match name.as_str() {
        "hangs" => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::OK
        }
        "fails-twice" if seen <= 2 => StatusCode::INTERNAL_SERVER_ERROR,
        "refuses" => StatusCode::FORBIDDEN,
        _ => StatusCode::NO_CONTENT,
    }
}

async fn receiver() -> (String, Inbox) {
    let inbox = Inbox::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/{name}", post(take)).with_state(inbox.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, inbox)
}

fn start(directory: &Path) -> Daemon {
    start_on(&directory.join("mgs.redb"), directory, "state")
}

fn start_on(store: &Path, directory: &Path, state: &str) -> Daemon {
    let mut command = command(store);
    command.arg("--webhooks").arg(directory.join("hooks.json"));
    Daemon::wait_for(command.arg("--webhook-state").arg(directory.join(state)))
}

async fn put(client: &Client, name: &str) -> u64 {
    let spec = FilesystemSpec { name: name.parse().unwrap(), description: None };
    let path = FilesystemPath { fsname: name.parse().unwrap() };
    client.call::<PutFilesystem>(&path, &WriteQuery::default(), &spec).await.unwrap().revision
}

async fn shown(client: &Client, name: &str) -> Webhook {
    let list = client.call::<ListWebhooks>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
    list.items.into_iter().find(|hook| hook.name == name).unwrap()
}

async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_delivered_in_order_signed_again_after_failures_and_a_hanging_receiver_slows_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (url, inbox) = receiver().await;
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let hooks = serde_json::json!([
        {"name": "all", "url": format!("{url}/all?token=hidden"), "secret_file": secret},
        {"name": "flaky", "url": format!("{url}/fails-twice")},
        {"name": "hangs", "url": format!("{url}/hangs")},
        {"name": "refuses", "url": format!("{url}/refuses")},
        {"name": "filtered", "url": format!("{url}/filtered"), "objects": ["filesystem b"]},
    ]);
    std::fs::write(directory.path().join("hooks.json"), hooks.to_string()).unwrap();
    let daemon = start(directory.path());
    let client = daemon.client();
    let begun = Instant::now();
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(put(&client, name).await);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "a hanging receiver slows changes: {:?}", begun.elapsed());
    let of = |name: &str| -> Vec<u64> {
        let inbox = inbox.lock().unwrap();
        inbox.iter().filter(|(path, ..)| path == name).map(|(.., event)| event.revision).collect()
    };
    until("all are delivered", async || of("all") == made).await;
    until("failures are tried again", async || of("fails-twice").len() == 5).await;
    assert_eq!(of("fails-twice"), [made[0], made[0], made[0], made[1], made[2]], "in order");
    assert_eq!(of("filtered"), [made[1]]);
    assert_eq!(of("hangs"), [made[0]]);
    until("refused changes are dead letters", async || shown(&client, "refuses").await.dead_letters.len() == 3).await;
    let refused = shown(&client, "refuses").await;
    assert!(refused.dead_letters[0].error.as_ref().unwrap().contains("403"), "{refused:?}");
    let all = shown(&client, "all").await;
    assert_eq!((all.delivered, all.behind, all.log.len()), (made[2], 0, 3));
    assert!(!serde_json::to_string(&all).unwrap().contains("hidden"), "the URL's secrets are not shown");
    for (path, id, signature, event) in inbox.lock().unwrap().iter() {
        assert!(id.ends_with(&format!("/{}", event.revision)), "{id}");
        let is_signed = signature.as_ref().is_some_and(|text| text.starts_with("t=") && text.contains(",v1="));
        assert_eq!(is_signed, path == "all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_nobody_delivered_is_delivered_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let (url, inbox) = receiver().await;
    let hooks = |path: &str| serde_json::json!([{"name": "one", "url": format!("{url}/{path}")}]).to_string();
    // The receiver hangs, the MGS is killed: the change was not taken.
    std::fs::write(directory.path().join("hooks.json"), hooks("hangs")).unwrap();
    let daemon = start(directory.path());
    let first = put(&daemon.client(), "a").await;
    let second = put(&daemon.client(), "b").await;
    until("it is told", async || !inbox.lock().unwrap().is_empty()).await;
    daemon.kill();
    std::fs::write(directory.path().join("hooks.json"), hooks("well")).unwrap();
    let _daemon = start(directory.path());
    until("it is told again", async || inbox.lock().unwrap().len() == 3).await;
    let inbox = inbox.lock().unwrap();
    let told: Vec<_> = inbox.iter().map(|(path, _, _, event)| (path.as_str(), event.revision)).collect();
    assert_eq!(told, [("hangs", first), ("well", first), ("well", second)]);
    assert_eq!(inbox[0].1, inbox[1].1, "the id tells that it is the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_tells_a_receiver_and_the_other_goes_on_after_kill_9() {
    let etcd = testkit::Etcd::start().unwrap();
    let url = etcd.url("lmgs/test");
    let directory = tempfile::tempdir().unwrap();
    let (receiver, inbox) = receiver().await;
    let hooks = serde_json::json!([{"name": "one", "url": format!("{receiver}/one")}]);
    std::fs::write(directory.path().join("hooks.json"), hooks.to_string()).unwrap();
    let mut daemons: Vec<Daemon> =
        ["state-1", "state-2"].map(|state| start_on(Path::new(&url), directory.path(), state)).into();
    let told = || -> Vec<u64> { inbox.lock().unwrap().iter().map(|(.., event)| event.revision).collect() };
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(put(&daemons[0].client(), name).await);
    }
    until("each change is told, once", async || told() == made).await;
    let mut owner = None;
    for (at, daemon) in daemons.iter().enumerate() {
        let mgs = daemon.client().call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
        owner = owner.or(mgs.duties.iter().any(|duty| duty == "webhook/one").then_some(at));
    }
    daemons.remove(owner.expect("one of them tells it")).kill();
    made.push(put(&daemons[0].client(), "d").await);
    until("the other one tells it", async || told().contains(&made[3])).await;
    let told = told();
    assert_eq!(told[..3], made[..3]);
    assert!(told[3..].iter().all(|revision| *revision > made[0]), "what was noted is not told again: {told:?}");
}

/// A receiver behind TLS that takes everything and counts; gives its URL and the authority of its certificate.
async fn tls_receiver(name: &str) -> (String, String, Arc<AtomicUsize>) {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(socket).await else { continue };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // One request for each connection: it is whole when its JSON is.
            while !request.ends_with(b"}]}") {
                match tls.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(len) => request.extend_from_slice(&buffer[..len]),
                }
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = tls.shutdown().await;
        }
    });
    (url, authority, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_receiver_has_to_be_who_its_authority_says() {
    let directory = tempfile::tempdir().unwrap();
    let (url, authority, taken) = tls_receiver("127.0.0.1").await;
    let (other_url, other_authority, other_taken) = tls_receiver("elsewhere").await;
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority + &other_authority).unwrap();
    let hooks = serde_json::json!([
        {"name": "right", "url": url, "ca_file": ca},
        {"name": "stranger", "url": url},
        {"name": "other-name", "url": other_url, "ca_file": ca},
    ]);
    std::fs::write(directory.path().join("hooks.json"), hooks.to_string()).unwrap();
    let daemon = start(directory.path());
    let client = daemon.client();
    let made = put(&client, "a").await;
    until("it is delivered", async || shown(&client, "right").await.delivered == made).await;
    for name in ["stranger", "other-name"] {
        until("it was tried", async || !shown(&client, name).await.log.is_empty()).await;
        let error = shown(&client, name).await.log[0].error.clone().unwrap();
        assert!(error.to_lowercase().contains("certificate"), "{name}: {error}");
    }
    assert_eq!((taken.load(Ordering::SeqCst), other_taken.load(Ordering::SeqCst)), (1, 0));
    std::fs::write(&ca, "no certificate").unwrap();
    let mut command = command(&directory.path().join("other.redb"));
    let output = command.arg("--webhooks").arg(directory.path().join("hooks.json")).arg("--webhook-state");
    let output = output.arg(directory.path().join("other-state")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("webhook right") && said.contains("no certificate"), "{said}");
}

/// A program that is killed at the end.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was posted: path and body.
type Posts = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

async fn note(State(posts): State<Posts>, uri: axum::http::Uri, body: String) -> StatusCode {
    posts.lock().unwrap().push((uri.path().to_owned(), serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_receiver_tells_a_chat_and_refuses_what_is_not_signed() {
    let directory = tempfile::tempdir().unwrap();
    let posts = Posts::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chat = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(post(note)).with_state(posts.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let mut program = std::process::Command::new(testkit::repository().join("examples/webhook/receiver.py"));
    program.args(["--listen", "127.0.0.1:0", "--secret-file", secret.to_str().unwrap()]);
    program.args(["--chat", &format!("{chat}/chat"), "--alertmanager", &chat]);
    let mut program = Program(program.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(program.0.stdout.take().unwrap()));
    let url = lines.next().unwrap().unwrap().strip_prefix("listening on ").unwrap().to_owned();
    let hooks = serde_json::json!([
        {"name": "signed", "url": url, "secret_file": secret, "kind": "filesystem"},
        {"name": "unsigned", "url": url},
    ]);
    std::fs::write(directory.path().join("hooks.json"), hooks.to_string()).unwrap();
    let daemon = start(directory.path());
    let client = daemon.client();
    let made = put(&client, "scratch").await;
    until("it is told", async || !posts.lock().unwrap().is_empty()).await;
    until("the other is refused", async || shown(&client, "unsigned").await.dead_letters.len() == 1).await;
    let told = posts.lock().unwrap().clone();
    let text = format!("lustre {made}: ip:127.0.0.1: create filesystem scratch (filesystem scratch)");
    assert_eq!(told, [("/chat".to_owned(), serde_json::json!({"text": text}))]);
    // What an alert looks like: a target that failed, and one that is well again.
    let (key, revision) = (b"s3cret", made + 1);
    let event = serde_json::json!({"revision": revision, "time": "2026-11-23T14:00:00Z", "who": "mgs", "changes": [
        {"object": "target scratch-OST0000", "before": null, "after": {"state": "failed", "state_reason": "mke2fs"}}]});
    let body = event.to_string();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::Mac>::new_from_slice(key).unwrap();
    hmac::Mac::update(&mut mac, format!("{time}.{body}").as_bytes());
    let bytes = hmac::Mac::finalize(mac).into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let request = reqwest::Client::new().post(&url).header("lustre-event-id", "x/1");
    let answer = request.header("lustre-signature", format!("t={time},v1={hex}")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let posts = self::posted(&posts, "/api/v2/alerts");
    assert_eq!(posts[0][0]["labels"]["target"], "scratch-OST0000");
    assert_eq!(posts[0][0]["annotations"]["summary"], "target scratch-OST0000 is failed: mke2fs");
}

fn posted(posts: &Posts, path: &str) -> Vec<serde_json::Value> {
    let posts = posts.lock().unwrap();
    posts.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
}
