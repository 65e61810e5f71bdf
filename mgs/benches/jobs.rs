//! 2,000 jobs of five steps on 500 simulated agents, for a minute at most, beside bare redb commits in the same run.
//!
//! The agents do nothing and are done at once, so all that is measured is the MGS: two durable commits a step, and finding out
//! what is next. Prints `RESULT name=jobs_steps_vs_redb …`, bare commits as many as a step makes over a step; `RESULT
//! name=jobs_cpu_ms_per_step …`; and how long a step that may begin waits until its agent is asked, and memory.
//! `cargo bench -p lustre-mgs --bench jobs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_api::agent::{AgentJob, AgentOp, FormatCheck, FormatOp, Inventory, NodeInfo, StartDriver, StopOp};
use lustre_api::agent_ops::StopForce;
use lustre_api::job::{JobId, JobKind, JobObject, JobState, StepKind};
use lustre_api::node::Announcement;
use lustre_api::node_param::{NodeParams, NodeParamsSet, ReadNodeParams, SetNodeParams};
use lustre_api::{Time, WriteQuery};
use lustre_mgs::agents::{AgentError, Agents};
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs::jobs::{Runner, progress::Board};
use lustre_mgs::ownership::Ownership;
use lustre_mgs_core::decide::job::{NewJob, NewStep};
use lustre_mgs_core::{Env, Request, State, decide};
use lustre_mgs_store::RedbStore;
use redb::{Database, TableDefinition};

const NODES: usize = 500;
const JOBS: usize = 2000;
const STEPS: usize = 5;
/// What is not done by then is left.
const AT_MOST: Duration = Duration::from_secs(60);
const RAW_COMMITS: u64 = 300;
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
/// As large as a stored job.
const VALUE: [u8; 2000] = [7; 2000];

/// Agents that are done at once, and note when they are asked.
#[derive(Default)]
struct Prompt {
    asked: Mutex<HashMap<JobId, Instant>>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, AgentError>>;

fn never<T: Send>() -> Answer<'static, T> {
    async { Err(AgentError::Unreachable("not in this benchmark".into())) }.boxed()
}

impl Agents for Prompt {
    fn put_job<'a>(&'a self, _: &'a str, id: &'a JobId, op: &'a AgentOp) -> Answer<'a, AgentJob> {
        let known = self.asked.lock().expect("no panic").insert(id.clone(), Instant::now());
        assert!(known.is_none(), "{id} is handed out once");
        async move { Ok(done(id, op)) }.boxed()
    }

    fn inventory<'a>(&'a self, _: &'a str) -> Answer<'a, Inventory> {
        never()
    }
    fn check<'a>(&'a self, _: &'a str, _: &'a FormatOp) -> Answer<'a, FormatCheck> {
        never()
    }
    fn get_job<'a>(&'a self, _: &'a str, _: &'a JobId, _: Option<u64>, _: u32) -> Answer<'a, AgentJob> {
        never()
    }
    fn cancel_job<'a>(&'a self, _: &'a str, _: &'a JobId) -> Answer<'a, AgentJob> {
        never()
    }
    fn read_params<'a>(&'a self, _: &'a str, _: &'a ReadNodeParams) -> Answer<'a, NodeParams> {
        never()
    }
    fn set_params<'a>(&'a self, _: &'a str, _: &'a SetNodeParams) -> Answer<'a, NodeParamsSet> {
        never()
    }
}

fn done(id: &JobId, op: &AgentOp) -> AgentJob {
    AgentJob {
        id: id.clone(),
        op: op.clone(),
        state: JobState::Done,
        progress: None,
        message: None,
        retryable: false,
        output: vec![],
        command: vec![],
        exit_status: Some(0),
        formatted: None,
        proxy: None,
        result: None,
        who: "bench".into(),
        created: Time::from_unix_ms(0),
        ended: Some(Time::from_unix_ms(0)),
        version: 1,
    }
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let before = raw_commit(directory.path());
    let run = runtime.block_on(run(&directory.path().join("mgs.redb")));
    let raw = (before + raw_commit(directory.path())) / 2;

    let steps = run.steps;
    let (step, cpu) = (run.took / steps, run.cpu / steps);
    let mut waits = run.waits;
    waits.sort();
    let wait = |percent: usize| waits.get(waits.len().saturating_sub(1) * percent / 100).map_or(0, Duration::as_millis);
    println!(
        "{steps} steps of {JOBS} jobs on {NODES} agents took {:.1} s: {} us a step, {} us of CPU",
        run.took.as_secs_f64(),
        step.as_micros(),
        cpu.as_micros()
    );
    println!(
        "from the first hand-over of a job to the last: p50 {} ms, p99 {} ms; a bare commit: {} us",
        wait(50),
        wait(99),
        raw.as_micros()
    );
    println!("{} KiB of memory for each job", run.memory_kib / u64::try_from(JOBS).expect("fits"));
    println!("RESULT name=jobs_steps_vs_redb ratio={:.2} goal=>=1", 2.0 * raw.as_secs_f64() / step.as_secs_f64());
    println!("RESULT name=jobs_cpu_ms_per_step ratio={:.3} goal=<=1", cpu.as_secs_f64() * 1000.0);
}

struct Measured {
    took: Duration,
    cpu: Duration,
    memory_kib: u64,
    /// Of each job, from the hand-over of its first step to that of its last.
    waits: Vec<Duration>,
    /// Handed out.
    steps: u32,
}

async fn run(path: &std::path::Path) -> Measured {
    let store = Arc::new(RedbStore::open(path).expect("a new store"));
    let (engine, _follower) = Engine::start(store, Env::default()).await.expect("a new MGS");
    for n in 0..NODES {
        let name = node(n);
        let announcement = announcement(n);
        let decide = |state: &State, req: &Request<'_>| decide::node::announce(state, req, &name, announcement.clone());
        engine.write(&caller(), &WriteQuery::default(), decide).await.expect("a node");
    }
    let memory = memory_kib("VmRSS:");
    let starting = (0..JOBS).map(|n| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let decide = |state: &State, req: &Request<'_>| decide::job::request(state, req, new_job(n));
            engine.write(&caller(), &WriteQuery::default(), decide).await.expect("a job").object.id
        })
    });
    let mut ids = Vec::new();
    for started in starting.collect::<Vec<_>>() {
        ids.push(started.await.expect("no panic"));
    }
    let agents = Arc::new(Prompt::default());
    let runner = Arc::new(Runner { engine: engine.clone(), agents: agents.clone(), board: Arc::new(Board::default()) });
    let (begin, cpu) = (Instant::now(), cpu());
    let running = tokio::spawn(runner.run(Ownership::start(&engine)));
    let mut applied = engine.applied();
    let all_done = async {
        while !engine.state().open_jobs.is_empty() {
            applied.changed().await.expect("the MGS goes on");
        }
    };
    let _ = tokio::time::timeout(AT_MOST, all_done).await;
    let (took, cpu) = (begin.elapsed(), self::cpu() - cpu);
    let memory_kib = memory_kib("VmHWM:").saturating_sub(memory);
    running.abort();
    let state = engine.state();
    assert!(ids.iter().all(|id| state.jobs[id].value.job.state != JobState::Failed), "no job fails");
    let asked = agents.asked.lock().expect("no panic");
    let at = |id: &JobId, step: usize| asked.get(&format!("{id}-{step}").parse::<JobId>().expect("a name")).copied();
    let waits = ids.iter().filter_map(|id| Some(at(id, STEPS)? - at(id, 1)?)).collect();
    let steps = u32::try_from(asked.len()).expect("fits");
    Measured { took, cpu, memory_kib, waits, steps }
}

fn new_job(n: usize) -> NewJob {
    let op = AgentOp::Stop(StopOp {
        svname: format!("f{n}-OST0000").parse().expect("a name"),
        device: "/dev/sdb".into(),
        timeout_s: None,
        force: StopForce::Never,
        export_pool: false,
    });
    let step = |at: usize| NewStep::on(node((n + at * 97) % NODES), StepKind::Stop, op.clone());
    let object = JobObject::Filesystem(format!("f{n}").parse().expect("a name"));
    NewJob::new(JobKind::StopTarget, object, (0..STEPS).map(step).collect())
}

fn node(n: usize) -> lustre_types::NodeName {
    format!("oss{n}").parse().expect("a name")
}

fn announcement(n: usize) -> Announcement {
    let info = NodeInfo {
        node: node(n),
        agent_version: "0".into(),
        boot_id: "1".into(),
        kernel: "6".into(),
        lustre: None,
        e2fsprogs: None,
        missing_features: vec![],
        start_driver: StartDriver::None,
        nids: vec![format!("10.1.{}.{}@tcp", n / 250, n % 250 + 1).parse().expect("a NID")],
        kernel_proxy: None,
        abilities: Some(lustre_api::ability::ABILITIES.map(str::to_owned).into()),
        hostid: None,
    };
    Announcement { api_url: format!("http://oss{n}:7080"), info }
}

fn caller() -> Caller {
    Caller::new("bench")
}

/// The median time of a durable commit of one row by redb alone.
fn raw_commit(directory: &std::path::Path) -> Duration {
    let db = Database::create(directory.join("raw.redb")).expect("a database");
    let mut times: Vec<Duration> = (0..RAW_COMMITS)
        .map(|row| {
            let begin = Instant::now();
            let mut txn = db.begin_write().expect("a transaction");
            txn.set_two_phase_commit(true);
            txn.open_table(TABLE).expect("a table").insert(row, VALUE.as_slice()).expect("a row");
            txn.commit().expect("a commit");
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A line of `/proc/self/status`, in KiB.
fn memory_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel says it");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
