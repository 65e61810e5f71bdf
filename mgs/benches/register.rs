//! Reserve and register 1,000 targets, beside bare redb commits of as many bytes in the same run, interleaved.
//!
//! Prints one line per measure: `RESULT name=… ratio=… goal=>=…`; the ratio is ours over bare redb, larger is better.
//! `cargo bench -p lustre-mgs --bench register`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lustre_api::WriteQuery;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::target::{Register, Reserve, TargetSpec};
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs_core::{Env, Request, State, decide};
use lustre_mgs_store::RedbStore;
use lustre_types::{SvName, TargetKind};
use redb::{Database, TableDefinition};

const TARGETS: usize = 1000;
const CALLERS: usize = 64;
const KV: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
/// As large as a stored target.
const VALUE: [u8; 600] = [7; 600];

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let raw = Database::create(directory.path().join("raw.redb")).expect("a new database");
    let mut next = 0;
    let (mut raw_serial, mut ours_serial) = (Vec::new(), Vec::new());
    let serial = runtime.block_on(mgs(&directory.path().join("serial.redb")));
    for n in 0..TARGETS {
        raw_serial.push(timed(|| {
            commit_raw(&raw, &mut next);
            commit_raw(&raw, &mut next);
        }));
        ours_serial.push(timed(|| runtime.block_on(reserve_and_register(&serial, n))));
    }
    report("register_serial_p50", quantile(&mut raw_serial, 50), quantile(&mut ours_serial, 50), 0.5);
    report("register_serial_p99", quantile(&mut raw_serial, 99), quantile(&mut ours_serial, 99), 0.4);

    let shared = runtime.block_on(mgs(&directory.path().join("shared.redb")));
    let raw_all = timed(|| (0..2 * TARGETS).for_each(|_| commit_raw(&raw, &mut next)));
    let ours_all = timed(|| {
        runtime.block_on(async {
            let callers = (0..CALLERS).map(|caller| {
                let engine = shared.clone();
                tokio::spawn(async move {
                    for n in (caller..TARGETS).step_by(CALLERS) {
                        reserve_and_register(&engine, n).await;
                    }
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.expect("a caller that works");
            }
        });
    });
    report("register_64_callers", raw_all, ours_all, 1.0);
    assert_eq!(shared.state().targets.len(), TARGETS, "every caller got an index");
}

async fn mgs(path: &std::path::Path) -> Arc<Engine> {
    let store = Arc::new(RedbStore::open(path).expect("a new store"));
    let (engine, _follower) = Engine::start(store, Env::default()).await.expect("a new MGS");
    let spec = FilesystemSpec { name: "scratch".parse().expect("a name"), description: None };
    let decide =
        |state: &State, req: &Request<'_>| decide::filesystem::put_filesystem(state, req, &spec.name, spec.clone());
    engine.write(&caller(), &WriteQuery::default(), decide).await.expect("a file system");
    engine
}

fn caller() -> Caller {
    Caller::new("bench")
}

async fn reserve_and_register(engine: &Engine, n: usize) {
    let (fsname, node) = ("scratch".parse().expect("a name"), format!("oss{}", n % 100).parse().expect("a name"));
    let spec = TargetSpec::new(TargetKind::Ost, Some(fsname), node, format!("/dev/disk/by-id/wwn-{n}"));
    let body = Reserve { target: spec, ttl_s: None };
    let (query, claim) = (WriteQuery::default(), engine.claim());
    let decide = |state: &State, req: &Request<'_>| {
        claim.decide(
            |busy| decide::reserve::reserve(state, req, body.clone(), busy),
            |written| written.object.target.svname.clone(),
        )
    };
    let reserved = engine.write(&caller(), &query, decide).await.expect("a reservation").object;
    drop(claim);
    let svname: SvName = reserved.target.svname;
    let body = Register {
        token: reserved.token,
        label: svname.to_string().replacen('-', ":", 1),
        uuid: format!("uuid {n}"),
        size_bytes: 1 << 40,
        nids: vec!["10.0.0.2@tcp".parse().expect("a NID")],
    };
    let decide = |state: &State, req: &Request<'_>| decide::register::register(state, req, &svname, body.clone());
    engine.write(&caller(), &query, decide).await.expect("a registration");
}

/// The least that a durable change with history takes: two rows, one two-phase commit.
fn commit_raw(db: &Database, next: &mut u64) {
    *next += 1;
    let mut txn = db.begin_write().expect("a transaction");
    txn.set_two_phase_commit(true);
    txn.open_table(KV).expect("a table").insert(format!("key {next}").as_str(), VALUE.as_slice()).expect("a row");
    txn.open_table(HISTORY).expect("a table").insert(*next, VALUE.as_slice()).expect("a row");
    txn.commit().expect("a commit");
}

fn timed(f: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    f();
    begin.elapsed()
}

fn quantile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort();
    samples[(samples.len() - 1) * percent / 100]
}

fn report(name: &str, raw: Duration, ours: Duration, goal: f64) {
    let ratio = raw.as_secs_f64() / ours.as_secs_f64();
    println!("{name}: {} us of redb alone, {} us of ours", raw.as_micros(), ours.as_micros());
    println!("RESULT name={name} ratio={ratio:.2} goal=>={goal}");
}
