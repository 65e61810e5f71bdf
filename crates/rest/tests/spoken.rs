//! A server and a client of the same endpoints, over real sockets, and what happens to requests that are none.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lustre_api::event::{Event, EventQuery, StreamEvents};
use lustre_api::filesystem::{
    Filesystem, FilesystemPath, FilesystemSpec, FilesystemState, GetFilesystem, ListFilesystems, PutFilesystem,
};
use lustre_api::{Nothing, Page, PageQuery, Problem, ProblemCode, Time, WriteQuery, Written};
use rest::{Call, Client, ClientError, Frame, Listener, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

fn filesystem(spec: FilesystemSpec) -> Filesystem {
    Filesystem {
        spec,
        id: "u/scratch".into(),
        mount_source: None,
        state: FilesystemState::Empty,
        state_reason: "new".into(),
        mdt_count: 0,
        ost_count: 0,
        capacity_bytes: 0,
        revision: 1,
    }
}

async fn put(_: Arc<()>, call: Call<PutFilesystem>) -> Result<Written<Filesystem>, Problem> {
    let object = filesystem(call.body);
    let who = call.caller.to_string();
    Ok(Written { object, changed: !call.query.dry_run, revision: 7, job: None, plan: None, warnings: vec![who] })
}

async fn get(_: Arc<()>, call: Call<GetFilesystem>) -> Result<Filesystem, Problem> {
    Err(Problem::not_found(format!("there is no file system {}", call.path.fsname)).remedy("create it"))
}

async fn list(_: Arc<()>, call: Call<ListFilesystems>) -> Result<Page<Filesystem>, Problem> {
    Ok(Page { items: vec![], next: call.query.limit.map(|limit| limit.to_string()), revision: 0 })
}

async fn events(_: Arc<()>, call: Call<StreamEvents>) -> Result<rest::Events<Event>, Problem> {
    let event = |revision| Event {
        revision,
        time: Time::from_unix_ms(0),
        who: "x".into(),
        why: Some("two\nlines".into()),
        changes: vec![],
    };
    let seen = call.last_event_id.map(|id| id.parse().unwrap());
    let first = seen.or(call.query.after).unwrap_or(0) + 1;
    let good = futures::stream::iter(first..first + 3).map(move |revision| Ok(Frame::new(revision, &event(revision))));
    let bad = futures::stream::once(async { Err(Problem::unavailable("no more")) });
    Ok(good.chain(bad).boxed())
}

struct Running {
    url: String,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

async fn start(listener: Listener) -> Running {
    let router = Server::new(Arc::new(()), "test", "1")
        .route::<PutFilesystem, _, _>(put)
        .route::<GetFilesystem, _, _>(get)
        .route::<ListFilesystems, _, _>(list)
        .stream::<StreamEvents, _, _>(events)
        .router();
    let (stop, stopped) = watch::channel(false);
    let url = listener.url();
    Running { url, stop, served: tokio::spawn(listener.serve(router, stopped)) }
}

async fn on_tcp() -> Running {
    start(Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap()).await
}

fn path(fsname: &str) -> FilesystemPath {
    FilesystemPath { fsname: fsname.parse().unwrap() }
}

fn spec(name: &str) -> FilesystemSpec {
    FilesystemSpec { name: name.parse().unwrap(), description: Some("for tests".into()) }
}

/// Sends bytes, gives the answer's status and body.
async fn raw(running: &Running, request: &str) -> (u16, serde_json::Value) {
    let address = running.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(serde_json::Value::Null))
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_call_comes_back_as_it_was_sent() {
    let running = on_tcp().await;
    let client = Client::new(&running.url, None).unwrap();
    let query =
        WriteQuery { dry_run: true, if_revision: Some(3), why: Some("a & b = ü".into()), ..WriteQuery::default() };
    let written = client.call::<PutFilesystem>(&path("scratch"), &query, &spec("scratch")).await.unwrap();
    assert_eq!((written.changed, written.revision, written.object.spec), (false, 7, spec("scratch")));
    assert_eq!(written.warnings, ["ip:127.0.0.1"], "the server knows who called");
    let query = PageQuery { limit: Some(5), ..PageQuery::default() };
    let page = client.call::<ListFilesystems>(&Nothing {}, &query, &Nothing {}).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("5"));
}

#[tokio::test]
async fn a_refusal_arrives_with_code_remedy_and_request_id() {
    let running = on_tcp().await;
    let client = Client::new(&running.url, None).unwrap();
    let err = client.call::<GetFilesystem>(&path("nowhere"), &Nothing {}, &Nothing {}).await.unwrap_err();
    let ClientError::Problem(problem) = err else { panic!("{err:?}") };
    assert_eq!(problem.code, ProblemCode::NotFound);
    assert_eq!(problem.remedy.as_deref(), Some("create it"));
    assert_eq!(problem.request_id.unwrap().len(), 16);
}

#[tokio::test]
async fn a_unix_socket_knows_whose_process_calls_and_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    let running = start(Listener::unix(&socket).await.unwrap()).await;
    let client = Client::new(&format!("unix://{}", socket.display()), None).unwrap();
    let query = WriteQuery::default();
    let written = client.call::<PutFilesystem>(&path("scratch"), &query, &spec("scratch")).await.unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(directory.path()).unwrap());
    assert_eq!(written.warnings, [format!("uid:{uid}")]);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&socket).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let second = Listener::unix(&socket).await.err().unwrap();
    assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse, "a living server is not pushed aside");
    running.stop.send(true).unwrap();
    running.served.await.unwrap();
    assert!(!socket.exists());
    // What a killed server leaves behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    Listener::unix(&socket).await.unwrap();
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_says_where() {
    let running = on_tcp().await;
    let cases = [
        (request("PUT", "/v1/filesystems/a.b", "{}"), 400, "in the path"),
        (request("PUT", "/v1/filesystems/scratch", "{\"name\":\"scratch\",\"size\":1}"), 400, "unknown field `size`"),
        (request("PUT", "/v1/filesystems/scratch", "{\"name\":\"much too long\"}"), 400, "in the body"),
        (request("PUT", "/v1/filesystems/scratch", "{"), 400, "in the body"),
        (request("PUT", "/v1/filesystems/scratch?dry=1", "{\"name\":\"scratch\"}"), 400, "unknown field `dry`"),
        (request("GET", "/v1/filesystems?limit=many", ""), 400, "in the query"),
        (request("GET", "/v1/nothing", ""), 404, "there is no call GET /v1/nothing"),
        (request("POST", "/v1/filesystems/scratch", ""), 404, "there is no call POST"),
        (request("PUT", "/v1/filesystems/%FF", "{}"), 400, "not UTF-8"),
        (
            "PUT /v1/filesystems/scratch HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
                .into(),
            400,
            "not JSON",
        ),
    ];
    for (request, status, message) in cases {
        let (got, problem) = raw(&running, &request).await;
        assert_eq!(got, status, "{request}: {problem}");
        let text = problem["message"].as_str().unwrap_or_default();
        assert!(text.contains(message), "{request}: {problem}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let running = on_tcp().await;
    let head =
        "PUT /v1/filesystems/scratch HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let (status, problem) = raw(&running, &format!("{head}content-length: 99999999999\r\n\r\n{{")).await;
    assert_eq!((status, &problem["code"]), (413, &"too_large".into()), "{problem}");
}

#[tokio::test]
async fn events_arrive_in_order_and_a_problem_ends_them() {
    let running = on_tcp().await;
    let client = Client::new(&running.url, None).unwrap();
    let mut events = client
        .stream::<StreamEvents>(&Nothing {}, &EventQuery { after: Some(4), ..EventQuery::default() })
        .await
        .unwrap();
    for revision in 5..8 {
        let (id, event) = events.next().await.unwrap().unwrap();
        assert_eq!((id, event.revision), (revision.to_string(), revision));
        assert_eq!(event.why.as_deref(), Some("two\nlines"));
    }
    let end = events.next().await.unwrap_err();
    assert!(matches!(end, ClientError::Problem(problem) if problem.message == "no more"));
    assert!(events.next().await.unwrap().is_none());
}

#[tokio::test]
async fn who_begins_a_stream_again_says_what_it_saw_last() {
    let running = on_tcp().await;
    let answer = reqwest::Client::new()
        .get(format!("{}/v1/events?after=1", running.url))
        .header("Last-Event-ID", "41")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("id: 42\ndata: {\"revision\":42,"), "{text}");
    assert!(text.contains("\n\nevent: problem\ndata: {"), "{text}");
}

/// Everything that a server answers until it closes.
async fn answered(running: &Running, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(running.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_stream_is_written_in_chunks_behind_its_head_and_closed_behind_the_last() {
    let running = on_tcp().await;
    let answer = answered(&running, "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
    let mut chunks = Vec::new();
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        chunks.push(&behind[..length]);
        rest = behind[length..].strip_prefix("\r\n").expect("a chunk ends where its length says");
    }
    assert_eq!((chunks.len(), chunks.pop(), rest), (5, Some(""), ""), "{answer}");
    assert!(chunks[0].starts_with("id: 1\ndata: ") && chunks[2].starts_with("id: 3\n"), "{answer}");
    assert!(chunks[3].starts_with("event: problem\n"), "{answer}");
}

#[tokio::test]
async fn who_does_not_know_chunks_gets_the_bare_text_and_who_asks_for_the_head_only_that() {
    let running = on_tcp().await;
    let answer = answered(&running, "GET /v1/events HTTP/1.0\r\n\r\n").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "{head}");
    assert!(text.starts_with("id: 1\ndata: ") && text.ends_with("}\n\n"), "{answer}");
    let answer = answered(&running, "HEAD /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n") && !answer.contains("id: 1"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_ends_when_the_client_goes_away() {
    let (dropped, mut is_dropped) = tokio::sync::mpsc::channel::<()>(1);
    let dropped = Arc::new(std::sync::Mutex::new(Some(dropped)));
    let silent = move |_: Arc<()>, _: Call<StreamEvents>| {
        let dropped = dropped.lock().unwrap().take();
        async move {
            let silence = futures::stream::poll_fn(move |_| {
                let _held = &dropped;
                std::task::Poll::Pending
            });
            Ok::<rest::Events<Event>, _>(silence.boxed())
        }
    };
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = listener.url();
    let (_stop, stopped) = watch::channel(false);
    let router = Server::new(Arc::new(()), "test", "1").stream::<StreamEvents, _, _>(silent).router();
    tokio::spawn(listener.serve(router, stopped));
    let mut client = tokio::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    // More than a request: what a client says meanwhile does no harm.
    client.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\nand more").await.unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    client.write_all(b"and still more").await.unwrap();
    assert!(is_dropped.try_recv().is_err_and(|err| err == tokio::sync::mpsc::error::TryRecvError::Empty), "it lives");
    drop(client);
    let end = tokio::time::timeout(Duration::from_secs(10), is_dropped.recv()).await;
    assert_eq!(end.expect("the stream is dropped"), None);
}

#[tokio::test]
async fn silence_is_told_from_refusal_and_names_the_server() {
    let running = on_tcp().await;
    running.stop.send(true).unwrap();
    running.served.await.unwrap();
    let client = Client::new(&running.url, None).unwrap();
    let err = client.call::<GetFilesystem>(&path("x"), &Nothing {}, &Nothing {}).await.unwrap_err();
    let ClientError::Unreachable(message) = &err else { panic!("{err:?}") };
    assert!(message.contains(&running.url) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_waits_for_no_slow_client() {
    let running = on_tcp().await;
    let address = running.url.strip_prefix("http://").unwrap();
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /v1/filesystems HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let client = Client::new(&running.url, None).unwrap();
    client.call::<ListFilesystems>(&Nothing {}, &PageQuery::default(), &Nothing {}).await.unwrap();
    running.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), running.served).await.expect("stops soon").unwrap();
}

#[tokio::test]
async fn the_document_is_served() {
    let running = on_tcp().await;
    let (status, document) = raw(&running, &request("GET", "/openapi.json", "")).await;
    assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
    assert!(document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"].is_object());
}

/// A server that says which one it is, and what is wrong with it.
async fn instance(name: &'static str, trouble: Trouble) -> Running {
    let list = move |_: Arc<()>, _: Call<ListFilesystems>| async move {
        match trouble {
            Trouble::NoStore => Err(Problem::unavailable("no store")),
            _ => Ok(Page { items: vec![], next: Some(name.to_owned()), revision: 0 }),
        }
    };
    let put = move |_: Arc<()>, call: Call<PutFilesystem>| async move {
        let object = filesystem(call.body);
        match trouble {
            Trouble::NoStore => Err(Problem::unavailable("no store")),
            _ => Ok(Written { object, changed: true, revision: 7, job: None, plan: None, warnings: vec![name.into()] }),
        }
    };
    let server =
        Server::new(Arc::new(()), name, "1").route::<ListFilesystems, _, _>(list).route::<PutFilesystem, _, _>(put);
    let mut router = server.router();
    if trouble == Trouble::Stale {
        let mark = |mut answer: axum::response::Response| async move {
            answer.headers_mut().insert("warning", "110 - \"this may be old\"".parse().unwrap());
            answer
        };
        router = router.layer(axum::middleware::map_response(mark));
    }
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let url = listener.url();
    Running { url, stop, served: tokio::spawn(listener.serve(router, stopped)) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// It refuses as one that has lost its store.
    NoStore,
    /// What it answers may be old.
    Stale,
}

async fn asked(client: &Client) -> Result<String, ClientError> {
    let page = client.call::<ListFilesystems>(&Nothing {}, &PageQuery::default(), &Nothing {}).await?;
    Ok(page.next.unwrap())
}

async fn changed(client: &Client) -> Result<String, ClientError> {
    let written = client.call::<PutFilesystem>(&path("scratch"), &WriteQuery::default(), &spec("scratch")).await?;
    Ok(written.warnings[0].clone())
}

#[tokio::test]
async fn a_client_of_several_instances_stays_with_one_and_goes_on_with_the_next_when_it_is_gone() {
    let (one, two) = (instance("one", Trouble::None).await, instance("two", Trouble::None).await);
    let client = Client::new(&format!("{},{}", one.url, two.url), None).unwrap();
    assert_eq!((asked(&client).await.unwrap().as_str(), changed(&client).await.unwrap().as_str()), ("one", "one"));
    one.stop.send(true).unwrap();
    one.served.await.unwrap();
    assert_eq!((changed(&client).await.unwrap().as_str(), asked(&client).await.unwrap().as_str()), ("two", "two"));
    let (one_url, two_url) = (one.url.clone(), two.url.clone());
    two.stop.send(true).unwrap();
    two.served.await.unwrap();
    let message = asked(&client).await.unwrap_err().to_string();
    assert!(message.contains(&one_url) && message.contains(&two_url), "all are named: {message}");
}

#[tokio::test]
async fn an_instance_that_lost_its_store_is_asked_last() {
    let (stale, cut) = (instance("stale", Trouble::Stale).await, instance("cut", Trouble::NoStore).await);
    let good = instance("good", Trouble::None).await;
    let of = |all: &[&Running]| {
        let urls: Vec<&str> = all.iter().map(|running| running.url.as_str()).collect();
        Client::new(&urls.join(","), None).unwrap()
    };
    let client = of(&[&stale, &cut, &good]);
    assert_eq!(asked(&client).await.unwrap(), "good");
    assert_eq!(changed(&of(&[&cut, &good])).await.unwrap(), "good");
    // Old is better than nothing, and a refusal that gives its reason better than silence.
    assert_eq!(asked(&of(&[&stale, &cut])).await.unwrap(), "stale");
    let refused = asked(&of(&[&cut, &cut])).await.unwrap_err();
    assert!(matches!(refused, ClientError::Problem(problem) if problem.message == "no store"));
}
