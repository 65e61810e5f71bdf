//! What a daemon on a file takes to answer a GET, and to tell 1,000 connections of a change, beside a real etcd in the same run.
//!
//! Prints one line per measure: `RESULT name=… ratio=… goal=<=…`; the ratio is ours over etcd's, smaller is better. CPU is the
//! servers' own, as the kernel accounts it to their threads. `tools/bench api` builds the daemon first. Needs etcd, as the tests
//! do.

use std::time::{Duration, Instant};

use futures::future::join_all;
use testkit::{Etcd, Mgs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
mod rpc {
    include!("../src/etcd/generated/etcdserverpb.rs");
}
use rpc::kv_client::KvClient;
use rpc::watch_client::WatchClient;
use rpc::watch_request::RequestUnion;
use rpc::{RangeRequest, WatchCreateRequest, WatchRequest};

const ROUNDS: usize = 5;
const GETS: usize = 4000;
const WATCHERS: usize = 1000;
const CHANGES: usize = 20;
const PATH: &str = "/v1/filesystems/scratch";
const KEY: &str = "/bench/change";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let directory = tempfile::tempdir().expect("a directory");
    let etcd = Etcd::start_in(directory.path()).expect("an etcd");
    let mgs = Mgs::start().expect("an MGS; was it built?");
    let mut http = Http::connect(&mgs).await;
    http.put(0).await;
    let answer = http.call("GET", PATH, "").await;
    // As many bytes on both sides.
    set(&etcd, KEY, &"x".repeat(answer.len())).await;
    for connections in [1, 64] {
        gets(&etcd, &mgs, connections).await;
    }
    // Another one: the MGS closes connections on which nothing is asked for 15 s, which is soon over on a busy machine.
    watches(&etcd, &mgs, &mut Http::connect(&mgs).await).await;
}

/// The same number of reads from both, in turns.
async fn gets(etcd: &Etcd, mgs: &Mgs, connections: usize) {
    let (mut channels, mut https) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        channels.push(channel(etcd).await);
        https.push(Http::connect(mgs).await);
    }
    let each = GETS / connections;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = testkit::cpu_of(etcd.pid()).expect("etcd lives");
        join_all(channels.iter().map(|channel| async {
            for _ in 0..each {
                let range = RangeRequest { key: KEY.into(), ..RangeRequest::default() };
                KvClient::new(channel.clone()).range(range).await.expect("a value");
            }
        }))
        .await;
        theirs.push(testkit::cpu_of(etcd.pid()).expect("etcd lives").saturating_sub(before));
        let before = testkit::cpu_of(mgs.pid()).expect("the MGS lives");
        join_all(https.iter_mut().map(|http| async {
            for _ in 0..each {
                http.call("GET", PATH, "").await;
            }
        }))
        .await;
        ours.push(testkit::cpu_of(mgs.pid()).expect("the MGS lives").saturating_sub(before));
    }
    let us = |spent: Vec<Duration>| median(spent).as_secs_f64() * 1e6 / (each * connections) as f64;
    let (theirs, ours) = (us(theirs), us(ours));
    println!("a GET through {connections} connections: {ours:.1} us of the MGS's CPU, {theirs:.1} us of etcd's");
    println!("RESULT name=api_get_cpu_vs_etcd_{connections} ratio={:.2} goal=<=0.25", ours / theirs);
}

/// One change after the other, each told to all connections, in turns.
async fn watches(etcd: &Etcd, mgs: &Mgs, http: &mut Http) {
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    for _ in 0..WATCHERS {
        tokio::spawn(follow(Http::connect(mgs).await, seen.clone()));
    }
    // Each stream begins with the change that made the file system: then it is there.
    let size = everybody(&mut all_seen).await.size;
    let (noticed, mut all_noticed) = mpsc::unbounded_channel();
    for _ in 0..WATCHERS {
        tokio::spawn(watch(channel(etcd).await, noticed.clone()));
    }
    // Each watch says that it is there.
    everybody(&mut all_noticed).await;
    let (mut theirs, mut ours) = (Spent::default(), Spent::default());
    for change in 0..CHANGES {
        let (before, begin) = (testkit::cpu_of(mgs.pid()).expect("the MGS lives"), Instant::now());
        http.put(change + 2).await;
        let told = everybody(&mut all_seen).await;
        ours.add(testkit::cpu_of(mgs.pid()).expect("the MGS lives").saturating_sub(before), begin, told.at);
        let value = format!("{change:0size$}");
        let (before, begin) = (testkit::cpu_of(etcd.pid()).expect("etcd lives"), Instant::now());
        set(etcd, KEY, &value).await;
        let told = everybody(&mut all_noticed).await;
        theirs.add(testkit::cpu_of(etcd.pid()).expect("etcd lives").saturating_sub(before), begin, told.at);
    }
    let ((our_cpu, our_p99), (their_cpu, their_p99)) = (ours.report("the MGS"), theirs.report("etcd"));
    println!("RESULT name=watch_1000_cpu_vs_etcd ratio={:.2} goal=<=0.5", our_cpu / their_cpu);
    println!("RESULT name=watch_1000_p99_vs_etcd ratio={:.2} goal=<=1", our_p99 / their_p99);
}

/// What telling everybody took.
#[derive(Default)]
struct Spent {
    cpu: Vec<Duration>,
    times: Vec<Duration>,
}

impl Spent {
    fn add(&mut self, cpu: Duration, begin: Instant, at: Vec<Instant>) {
        self.cpu.push(cpu);
        self.times.extend(at.into_iter().map(|at| at.saturating_duration_since(begin)));
    }

    /// Microseconds of CPU for each connection, and the time until 99 % knew.
    fn report(mut self, who: &str) -> (f64, f64) {
        let cpu_us = median(self.cpu).as_secs_f64() * 1e6 / WATCHERS as f64;
        self.times.sort();
        let ms = |percent: usize| self.times[(self.times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "{WATCHERS} connections of {who}: p50 {:.1} ms, p99 {:.1} ms, {cpu_us:.1} us of CPU each",
            ms(50),
            ms(99)
        );
        (cpu_us, ms(99))
    }
}

/// What each connection received, and when.
struct Told {
    at: Vec<Instant>,
    size: usize,
}

async fn everybody(seen: &mut mpsc::UnboundedReceiver<(Instant, usize)>) -> Told {
    let mut told = Told { at: Vec::new(), size: 0 };
    while told.at.len() < WATCHERS {
        let next = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await;
        let (at, size) = next.expect("everybody is told within a minute").expect("they live");
        told.at.push(at);
        told.size = size;
    }
    told
}

async fn follow(mut http: Http, seen: mpsc::UnboundedSender<(Instant, usize)>) {
    http.send("GET", "/v1/events?kind=filesystem&after=0", "").await;
    let (mut buffer, mut event) = (vec![0; 16 << 10], Vec::new());
    loop {
        // It ends with the MGS, when everything is measured.
        let Ok(read @ 1..) = http.0.read(&mut buffer).await else { return };
        event.extend_from_slice(&buffer[..read]);
        // The end of an event's chunk. What only says how far the stream is, or that it lives, names no object.
        if event.ends_with(b"\n\n\r\n") {
            let text = String::from_utf8_lossy(&event);
            if text.contains("filesystem scratch") && seen.send((Instant::now(), event.len())).is_err() {
                return;
            }
            event.clear();
        }
    }
}

async fn watch(channel: Channel, seen: mpsc::UnboundedSender<(Instant, usize)>) {
    let create = WatchCreateRequest { key: KEY.into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream of requests stays open: etcd ends the watch with it.
    let requests = tokio_stream::once(create).chain(tokio_stream::pending());
    let answers = WatchClient::new(channel).watch(requests).await.expect("a watch");
    let mut answers = answers.into_inner();
    while let Some(Ok(_)) = answers.next().await {
        if seen.send((Instant::now(), 0)).is_err() {
            return;
        }
    }
}

async fn channel(etcd: &Etcd) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", etcd.endpoint())).expect("a URL").tcp_nodelay(true);
    endpoint.connect().await.expect("a connection")
}

async fn set(etcd: &Etcd, key: &str, value: &str) {
    let put = rpc::PutRequest { key: key.into(), value: value.into(), lease: 0 };
    let success = vec![rpc::RequestOp { request: Some(rpc::request_op::Request::RequestPut(put)) }];
    let txn = rpc::TxnRequest { success, ..rpc::TxnRequest::default() };
    KvClient::new(channel(etcd).await).txn(txn).await.expect("a put");
}

/// A connection to the MGS, as little as it takes.
struct Http(TcpStream);

impl Http {
    async fn connect(mgs: &Mgs) -> Self {
        let stream = TcpStream::connect(mgs.endpoint().trim_start_matches("http://")).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self(stream)
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: mgs\r\ncontent-type: application/json\r\n");
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).await.expect("it is sent");
    }

    /// Gives the answer's body.
    async fn call(&mut self, method: &str, path: &str, body: &str) -> Vec<u8> {
        self.send(method, path, body).await;
        let mut answer = Vec::new();
        loop {
            let read = self.0.read_buf(&mut answer).await.expect("an answer");
            assert!(read > 0, "an answer");
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("it has a length");
            if answer.len() == end + 4 + length {
                return answer.split_off(end + 4);
            }
        }
    }

    /// A change.
    async fn put(&mut self, n: usize) {
        let body = format!(r#"{{"name": "scratch", "description": "{:0200}"}}"#, n);
        self.call("PUT", PATH, &body).await;
    }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}
