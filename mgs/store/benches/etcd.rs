//! Durable commits through the store on etcd beside bare puts of the same bytes into the same etcd, and commits through the
//! store on a file beside puts into an etcd on the same disk; each pair in one run, interleaved.
//!
//! Prints one line per measure: `RESULT name=… ratio=… goal=>=…`; the ratio is bare etcd over ours, larger is better.
//! `cargo bench -p lustre-mgs-store --bench etcd`. Needs etcd, as the tests do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lustre_mgs_store::{EtcdStore, Meta, RedbStore, Store, Txn};
use tonic::transport::{Channel, Endpoint};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
mod rpc {
    include!("../src/etcd/generated/etcdserverpb.rs");
}
use rpc::kv_client::KvClient;
use rpc::request_op::Request;
use rpc::{PutRequest, RequestOp, TxnRequest};

const ROUNDS: usize = 5;
const SERIAL: usize = 200;
const WRITERS: usize = 64;
const PER_WRITER: usize = 20;
const VALUE: [u8; 512] = [7; 512];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(store_on_etcd());
    runtime.block_on(file_and_etcd());
}

async fn store_on_etcd() {
    let server = testkit::Etcd::start().expect("an etcd");
    let store = EtcdStore::open(&server.url("bench").parse().expect("a URL")).await.expect("a new store");
    let store = Arc::new(store);
    let channel = connect(&server).await;
    let [(raw, ours), (raw_shared, ours_shared)] = compare(&server, &channel, &store).await;
    result("etcd_commit_serial_p50", raw, ours, 0.7, "one writer, per commit; bare: one put");
    let what = "1280 commits of 64 writers; bare: a put each, 64 at once";
    result("etcd_commit_64_writers", raw_shared, ours_shared, 0.7, what);
}

/// A file and an etcd on the same disk.
async fn file_and_etcd() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = testkit::Etcd::start_in(directory.path()).expect("an etcd");
    let store = Arc::new(RedbStore::open(directory.path().join("mgs.redb")).expect("a new store"));
    let [(raw, ours), (raw_shared, ours_shared)] = compare(&server, &connect(&server).await, &store).await;
    result("redb_commit_vs_etcd_put_p50", raw, ours, 1.0, "one writer, per commit on a file; a put into etcd");
    let what = "1280 commits of 64 writers on a file; a put each into etcd, 64 at once";
    result("redb_64_writers_vs_etcd_puts", raw_shared, ours_shared, 3.0, what);
}

async fn connect(server: &testkit::Etcd) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.endpoint())).expect("a URL");
    endpoint.tcp_nodelay(true).connect().await.expect("a connection")
}

/// Puts and commits, one after the other and 64 at once: the median times of both. Prints the CPU of those at once.
async fn compare<S: Store>(server: &testkit::Etcd, channel: &Channel, store: &Arc<S>) -> [(Duration, Duration); 2] {
    let cpu_of = |pid| testkit::cpu_of(pid).expect("it lives");
    let (mut etcd_cpu, mut our_cpu) = (Vec::new(), Vec::new());
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    let (mut raw_shared, mut ours_shared) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for n in 0..SERIAL {
            let key = format!("serial/{}", (round * SERIAL + n) % 97);
            let begin = Instant::now();
            put(channel.clone(), format!("/raw/{key}")).await;
            raw.push(begin.elapsed());
            let begin = Instant::now();
            commit(&**store, key).await;
            ours.push(begin.elapsed());
        }
        let (begin, before) = (Instant::now(), cpu_of(server.pid()));
        let puts = (0..WRITERS).map(|writer| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for n in 0..PER_WRITER {
                    put(channel.clone(), format!("/raw/shared/{writer}/{n}")).await;
                }
            })
        });
        futures::future::join_all(puts.collect::<Vec<_>>()).await;
        raw_shared.push(begin.elapsed());
        etcd_cpu.push(cpu_of(server.pid()).saturating_sub(before));
        let (begin, before) = (Instant::now(), cpu_of(std::process::id()));
        let commits = (0..WRITERS).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..PER_WRITER {
                    commit(&*store, format!("shared/{writer}/{n}")).await;
                }
            })
        });
        futures::future::join_all(commits.collect::<Vec<_>>()).await;
        ours_shared.push(begin.elapsed());
        our_cpu.push(cpu_of(std::process::id()).saturating_sub(before));
    }
    let each_us = |spent: Vec<Duration>| median(spent).as_secs_f64() * 1e6 / (WRITERS * PER_WRITER) as f64;
    let (our_cpu, etcd_cpu) = (each_us(our_cpu), each_us(etcd_cpu));
    println!(
        "64 at once: {our_cpu:.1} us of this process's CPU for a commit; {etcd_cpu:.1} us of etcd's for a bare put"
    );
    [(median(raw), median(ours)), (median(raw_shared), median(ours_shared))]
}

/// A put as one etcd transaction, as every commit is.
async fn put(channel: Channel, key: String) {
    let put = PutRequest { key: key.into_bytes(), value: VALUE.to_vec(), lease: 0 };
    let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
    KvClient::new(channel).txn(TxnRequest { success, ..TxnRequest::default() }).await.expect("a put");
}

async fn commit(store: &impl Store, key: String) {
    let meta = Meta { time_ms: 0, who: "bench".into(), why: "bench".into() };
    store.commit(Txn::new(meta).put(key, VALUE)).await.expect("a commit");
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}

fn result(name: &str, raw: Duration, ours: Duration, goal: f64, what: &str) {
    let ratio = raw.as_secs_f64() / ours.as_secs_f64();
    println!(
        "RESULT name={name} ratio={ratio:.2} goal=>={goal} raw_us={} ours_us={} ({what})",
        raw.as_micros(),
        ours.as_micros()
    );
}
