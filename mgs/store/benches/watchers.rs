//! A put into etcd that 1,000 watchers see: the floor for a change that 1,000 connected nodes are told of.
//!
//! Prints `1000 watchers of etcd: p50 … ms, p99 … ms`; `tools/bench followers` holds a change on the MGS against it.
//! `cargo bench -p lustre-mgs-store --bench watchers`. Needs etcd, as the tests do.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
mod rpc {
    include!("../src/etcd/generated/etcdserverpb.rs");
}
use rpc::kv_client::KvClient;
use rpc::request_op::Request;
use rpc::watch_client::WatchClient;
use rpc::watch_request::RequestUnion;
use rpc::{PutRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest};

const WATCHERS: usize = 1000;
/// Each node has a connection of its own; here ten share one, so that the files of one process are enough.
const PER_CONNECTION: usize = 10;
const ROUNDS: usize = 10;
const KEY: &[u8] = b"/bench/change";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let server = testkit::Etcd::start().expect("an etcd");
    let endpoint = Endpoint::from_shared(format!("http://{}", server.endpoint())).expect("a URL").tcp_nodelay(true);
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    for _ in 0..WATCHERS / PER_CONNECTION {
        let channel = endpoint.connect().await.expect("a connection");
        for _ in 0..PER_CONNECTION {
            tokio::spawn(watch(channel.clone(), seen.clone()));
        }
    }
    let channel = endpoint.connect().await.expect("a connection");
    // Every watch says when it is there, and then each event.
    for _ in 0..WATCHERS {
        all_seen.recv().await.expect("watchers live");
    }
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        put(channel.clone(), round).await;
        for _ in 0..WATCHERS {
            let at = all_seen.recv().await.expect("watchers live");
            times.push(at.saturating_duration_since(begin));
        }
    }
    times.sort_unstable();
    let ms = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("{WATCHERS} watchers of etcd: p50 {:.1} ms, p99 {:.1} ms", ms(50), ms(99));
    assert!(times.last().is_some_and(|last| *last < Duration::from_secs(60)), "etcd is not stuck");
}

async fn watch(channel: Channel, seen: mpsc::UnboundedSender<Instant>) {
    let create = WatchCreateRequest { key: KEY.to_vec(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream of requests stays open: etcd ends the watch with it.
    let requests = tokio_stream::once(create).chain(tokio_stream::pending());
    let answers = WatchClient::new(channel).watch(requests).await.expect("a watch");
    let mut answers = answers.into_inner();
    while let Some(Ok(_)) = answers.next().await {
        if seen.send(Instant::now()).is_err() {
            return;
        }
    }
}

async fn put(channel: Channel, round: usize) {
    let put = PutRequest { key: KEY.to_vec(), value: round.to_string().into_bytes(), lease: 0 };
    let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
    KvClient::new(channel).txn(TxnRequest { success, ..TxnRequest::default() }).await.expect("a put");
}
