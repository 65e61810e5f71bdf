//! Durable commits through the store beside bare redb commits of the same bytes, in one run, interleaved.
//!
//! Prints one line per measure: `RESULT name=… ratio=… goal=>=…`; the ratio is ours over bare redb, larger is better.
//! `cargo bench -p lustre-mgs-store`. Absolute numbers depend on the disk, so only ratios have goals.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lustre_mgs_store::{Meta, RedbStore, Store, Txn};
use redb::{Database, TableDefinition};

const ROUNDS: usize = 5;
const SERIAL: usize = 300;
const WRITERS: usize = 64;
const PER_WRITER: usize = 60;
const VALUE: [u8; 512] = [7; 512];

const KV: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");

fn main() {
    let directory = tempfile::tempdir().expect("a directory for two files");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let raw = Raw::open(&directory.path().join("raw.redb"));
    let store = Arc::new(RedbStore::open(directory.path().join("mgs.redb")).expect("a new store"));
    let mut samples = Samples::default();
    for round in 0..ROUNDS {
        samples.raw_serial.extend((0..SERIAL).map(|_| timed(|| raw.commit(1))));
        runtime.block_on(async {
            for n in 0..SERIAL {
                let begin = Instant::now();
                commit(&store, format!("serial/{}", (round * SERIAL + n) % 997)).await;
                samples.store_serial.push(begin.elapsed());
            }
        });
        samples.raw_batched.push(timed(|| (0..PER_WRITER).for_each(|_| raw.commit(WRITERS as u64))));
        samples.raw_shared.push(timed(|| raw.commit_from_threads()));
        samples.store_shared.push(timed(|| {
            runtime.block_on(async {
                let writers = (0..WRITERS).map(|writer| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        for n in 0..PER_WRITER {
                            commit(&store, format!("shared/{writer}/{n}")).await;
                        }
                    })
                });
                for writer in writers.collect::<Vec<_>>() {
                    writer.await.expect("a writer that works");
                }
            });
        }));
    }
    samples.report();
}

async fn commit(store: &RedbStore, key: String) {
    let meta = Meta { time_ms: 0, who: "bench".into(), why: "bench".into() };
    store.commit(Txn::new(meta).put(key, VALUE)).await.expect("a commit");
}

fn timed(f: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    f();
    begin.elapsed()
}

/// The least that anyone could do: one row of the current view and one of the history.
struct Raw {
    db: Database,
    next: Cell<u64>,
}

impl Raw {
    fn open(path: &Path) -> Self {
        Self { db: Database::create(path).expect("a new database"), next: Cell::new(1) }
    }

    fn commit(&self, count: u64) {
        let first = self.next.get();
        self.next.set(first + count);
        commit_raw(&self.db, first, count);
    }

    fn commit_from_threads(&self) {
        let each = PER_WRITER as u64 / 10;
        let first = self.next.get();
        self.next.set(first + WRITERS as u64 * each);
        let db = &self.db;
        std::thread::scope(|threads| {
            for writer in 0..WRITERS as u64 {
                threads.spawn(move || (0..each).for_each(|n| commit_raw(db, first + writer * each + n, 1)));
            }
        });
    }
}

fn commit_raw(db: &Database, first: u64, count: u64) {
    let mut txn = db.begin_write().expect("a transaction");
    txn.set_two_phase_commit(true);
    {
        let mut kv = txn.open_table(KV).expect("a table");
        let mut history = txn.open_table(HISTORY).expect("a table");
        for n in first..first + count {
            kv.insert(format!("key/{}", n % 997).as_str(), VALUE.as_slice()).expect("a row");
            history.insert(n, VALUE.as_slice()).expect("a row");
        }
    }
    txn.commit().expect("a commit");
}

#[derive(Default)]
struct Samples {
    raw_serial: Vec<Duration>,
    store_serial: Vec<Duration>,
    raw_batched: Vec<Duration>,
    raw_shared: Vec<Duration>,
    store_shared: Vec<Duration>,
}

impl Samples {
    fn report(mut self) {
        let (raw, ours) = (quantile(&mut self.raw_serial, 0.5), quantile(&mut self.store_serial, 0.5));
        result("commit_serial_p50", raw, ours, 0.7, "one writer, per commit");
        let (raw, ours) = (quantile(&mut self.raw_serial, 0.99), quantile(&mut self.store_serial, 0.99));
        result("commit_serial_p99", raw, ours, 0.5, "one writer, per commit");
        let ours = quantile(&mut self.store_shared, 0.5);
        // Bare redb has no group commit: 64 threads queue for its one write lock. A tenth as many commits, it is slow.
        let raw = quantile(&mut self.raw_shared, 0.5) * 10;
        result("commit_64_writers", raw, ours, 3.0, "3840 commits; bare redb from 64 threads");
        // What a caller could reach who has all 64 changes in one hand: no queue, no wake-up per change.
        let raw = quantile(&mut self.raw_batched, 0.5);
        result("commit_64_writers_vs_batch", raw, ours, 0.25, "3840 commits; bare redb has them in batches of 64");
    }
}

fn quantile(samples: &mut [Duration], q: f64) -> Duration {
    samples.sort();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((samples.len() - 1) as f64 * q) as usize;
    samples[at]
}

fn result(name: &str, raw: Duration, ours: Duration, goal: f64, what: &str) {
    let ratio = raw.as_secs_f64() / ours.as_secs_f64();
    println!("{name} ({what}): {} us of redb alone, {} us of ours", raw.as_micros(), ours.as_micros());
    println!("RESULT name={name} ratio={ratio:.2} goal=>={goal}");
}
