//! An MGS in this process, on a store file, with nodes that exist in memory only.

#![allow(dead_code, unreachable_pub)]

pub mod clients;
pub mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lustre_api::agent::{AgentJob, AgentOp, FormatCheck, FormatOp, Inventory, NodeInfo, StartDriver};
use lustre_api::agent_ops::{NodeParamResult, OpResult};
use lustre_api::device::{Device, FormattedAs};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec};
use lustre_api::job::{FormatResult, Job, JobId, JobPath, JobState, Progress, WaitQuery};
use lustre_api::node::{Announcement, NodePath};
use lustre_api::node_param::{NodeParam, NodeParamSet, NodeParams, NodeParamsSet, ReadNodeParams, SetNodeParams};
use lustre_api::target::{EnsureTarget, Target, TargetSpec};
use lustre_api::{Problem, Time, WriteQuery, Written};
use lustre_mgs::agents::{AgentError, Agents};
use lustre_mgs::api::Api;
use lustre_mgs::engine::{Caller, Engine};
use lustre_mgs::jobs::{Runner, progress::Board};
use lustre_mgs::ownership::Ownership;
use lustre_mgs_core::Env;
use lustre_mgs_store::{OpenError, RedbStore, Store};
use lustre_types::{SvName, TargetKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// All nodes' agents. They outlive the MGS, as real ones do.
#[derive(Default)]
pub struct Nodes {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    jobs: BTreeMap<JobId, AgentJob>,
    /// How often each job was begun: twice would be a second format.
    begun: BTreeMap<JobId, usize>,
    /// How often each job was asked for.
    asked: BTreeMap<JobId, usize>,
    is_down: bool,
    /// Jobs wait for [`Nodes::finish`] instead of being done at once.
    is_slow: bool,
    refusal: Option<Problem>,
    /// Tunables, by the agent's URL.
    params: BTreeMap<String, NodeTunables>,
    /// How long an agent takes to read tunables.
    answers_after: Duration,
}

/// The tunables of a node.
#[derive(Default)]
pub struct NodeTunables {
    pub values: BTreeMap<String, String>,
    /// Values that the node refuses.
    pub refuses: Vec<String>,
    pub boot_id: String,
}

impl NodeTunables {
    fn find(&self, pattern: &str) -> Vec<NodeParam> {
        let is_it = |(name, _): &(&String, &String)| lustre_plan::catalogue::stands_for(pattern, name);
        let found = self.values.iter().filter(is_it);
        let show = |(name, value): (&String, &String)| NodeParam {
            name: name.clone(),
            value: Some(value.clone()),
            is_writable: true,
            error: None,
        };
        found.map(show).collect()
    }

    fn set(&mut self, pattern: &str, value: &str) -> Vec<NodeParamSet> {
        let is_refused = self.refuses.iter().any(|refused| refused == value);
        let found = self.values.iter_mut().filter(|(name, _)| lustre_plan::catalogue::stands_for(pattern, name));
        let set = found.map(|(name, there)| {
            let before = Some(there.clone());
            let error = is_refused.then(|| "the node refuses the value: invalid argument".to_owned());
            if error.is_none() {
                *there = value.to_owned();
            }
            NodeParamSet { name: name.clone(), before, after: Some(there.clone()), error }
        });
        set.collect()
    }
}

impl Nodes {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        let result = f(&mut self.inner.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Looks at, or changes, a node's tunables.
    pub fn tunables<T>(&self, url: &str, f: impl FnOnce(&mut NodeTunables) -> T) -> T {
        self.with(|inner| f(inner.params.entry(url.to_owned()).or_default()))
    }

    pub fn answer_after(&self, time: Duration) {
        self.with(|inner| inner.answers_after = time);
    }

    pub fn set_down(&self, is_down: bool) {
        self.with(|inner| inner.is_down = is_down);
    }

    pub fn set_slow(&self) {
        self.with(|inner| inner.is_slow = true);
    }

    pub fn refuse(&self, problem: Problem) {
        self.with(|inner| inner.refusal = Some(problem));
    }

    /// The agent's journal is gone, as after a reinstallation.
    pub fn forget_all(&self) {
        self.with(|inner| inner.jobs.clear());
    }

    pub fn asked(&self) -> BTreeMap<JobId, usize> {
        self.with(|inner| inner.asked.clone())
    }

    pub fn begun(&self) -> BTreeMap<JobId, usize> {
        self.with(|inner| inner.begun.clone())
    }

    /// Reports progress of every job at work.
    pub fn progress(&self, done: u64) {
        self.with(|inner| {
            for job in inner.jobs.values_mut().filter(|job| !job.state.is_final()) {
                let at = Time::from_unix_ms(0);
                job.progress = Some(Progress {
                    phase: "writing inode tables".into(),
                    done,
                    total: Some(100),
                    unit: "groups".into(),
                    at,
                    rate_per_s: None,
                    eta_s: None,
                });
                job.version += 1;
            }
        });
    }

    /// Ends every job that waits.
    pub fn finish(&self) {
        self.with(|inner| {
            inner.is_slow = false;
            for job in inner.jobs.values_mut().filter(|job| !job.state.is_final()) {
                done(job);
            }
        });
    }

    /// Waits until an agent has a job.
    pub async fn has_job(&self) {
        let mut changed = self.changed.subscribe();
        while self.inner.lock().unwrap().jobs.is_empty() {
            soon(changed.changed()).await.unwrap();
        }
    }
}

fn done(job: &mut AgentJob) {
    job.state = JobState::Done;
    job.version += 1;
    if let AgentOp::Format(op) = &job.op {
        let formatted_as = FormattedAs {
            svname: op.svname.clone(),
            label: op.svname.to_string().replacen('-', ":", 1),
            kind: op.kind(),
            fsname: op.fsname.clone(),
            index: op.index(),
            flags: 0,
            registered: false,
            incomplete: false,
            uuid: format!("uuid of {}", op.device),
            mgs_nids: op.mgs_nids.clone(),
            failover_nodes: vec![],
            mount_options: String::new(),
            params: BTreeMap::new(),
            comment: String::new(),
            size_bytes: 1 << 30,
        };
        let formatted_over = "blank".into();
        job.formatted = Some(FormatResult { formatted_as, formatted_over, changed: true, missing_features: vec![] });
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, AgentError>>;

impl Nodes {
    fn answer<'a, T: Send + 'a>(&self, f: impl FnOnce(&mut Inner) -> Result<T, Problem>) -> Answer<'a, T> {
        let answer = self.with(|inner| match inner.is_down {
            true => Err(AgentError::Unreachable("connection refused".into())),
            false => f(inner).map_err(AgentError::Refused),
        });
        futures::future::ready(answer).boxed()
    }
}

fn unknown(id: &JobId) -> Problem {
    Problem::not_found(format!("no job {id}"))
}

impl Agents for Nodes {
    fn read_params<'a>(&'a self, url: &'a str, wanted: &'a ReadNodeParams) -> Answer<'a, NodeParams> {
        let slowness = self.inner.lock().unwrap().answers_after;
        let answer = self.answer(|inner| {
            let params = inner.params.entry(url.to_owned()).or_default();
            let found = wanted.patterns.iter().map(|pattern| params.find(pattern)).collect();
            let boot_id = params.boot_id.clone();
            Ok(NodeParams {
                found,
                files: vec![],
                mount_options: vec![],
                lctl: None,
                boot_id,
                at: Time::from_unix_ms(0),
            })
        });
        async move {
            tokio::time::sleep(slowness).await;
            answer.await
        }
        .boxed()
    }

    fn set_params<'a>(&'a self, url: &'a str, wanted: &'a SetNodeParams) -> Answer<'a, NodeParamsSet> {
        self.answer(|inner| {
            let params = inner.params.entry(url.to_owned()).or_default();
            let set = wanted.settings.iter().map(|setting| params.set(&setting.pattern, &setting.value)).collect();
            Ok(NodeParamsSet { set, boot_id: params.boot_id.clone() })
        })
    }

    fn inventory<'a>(&'a self, _url: &'a str) -> Answer<'a, Inventory> {
        self.answer(|_| {
            Ok(Inventory {
                info: info("oss1"),
                devices: vec![],
                zfs: None,
                kernel_proxy_use: None,
                at: Time::from_unix_ms(0),
            })
        })
    }

    fn check<'a>(&'a self, _url: &'a str, op: &'a FormatOp) -> Answer<'a, FormatCheck> {
        self.answer(|_| Ok(blank_check(&op.device)))
    }

    fn put_job<'a>(&'a self, url: &'a str, id: &'a JobId, op: &'a AgentOp) -> Answer<'a, AgentJob> {
        self.answer(|inner| {
            if let Some(problem) = &inner.refusal {
                return Err(problem.clone());
            }
            *inner.asked.entry(id.clone()).or_default() += 1;
            if let Some(job) = inner.jobs.get(id) {
                assert_eq!(job.op, *op, "the same name means the same operation");
                return Ok(job.clone());
            }
            *inner.begun.entry(id.clone()).or_default() += 1;
            let mut job = AgentJob {
                id: id.clone(),
                op: op.clone(),
                state: JobState::Running,
                progress: None,
                message: None,
                retryable: false,
                output: vec![],
                command: vec![],
                exit_status: None,
                formatted: None,
                proxy: None,
                result: None,
                who: "mgs".into(),
                created: Time::from_unix_ms(0),
                ended: None,
                version: 1,
            };
            if let AgentOp::SetParam(wanted) = op {
                let params = inner.params.entry(url.to_owned()).or_default();
                let set = wanted.settings.iter().flat_map(|one| params.set(&one.pattern, &one.value)).collect();
                job.result = Some(OpResult::ParamSet(NodeParamResult { set, boot_id: params.boot_id.clone() }));
            }
            if !inner.is_slow {
                done(&mut job);
            }
            inner.jobs.insert(id.clone(), job.clone());
            Ok(job)
        })
    }

    fn get_job<'a>(&'a self, _url: &'a str, id: &'a JobId, seen: Option<u64>, wait_s: u32) -> Answer<'a, AgentJob> {
        async move {
            let mut changed = self.changed.subscribe();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s.into());
            loop {
                changed.mark_unchanged();
                {
                    let inner = self.inner.lock().unwrap();
                    if inner.is_down {
                        return Err(AgentError::Unreachable("connection refused".into()));
                    }
                    let job = inner.jobs.get(id).ok_or_else(|| AgentError::Refused(unknown(id)))?;
                    if job.state.is_final() || Some(job.version) > seen {
                        return Ok(job.clone());
                    }
                }
                let _ = tokio::time::timeout_at(deadline, changed.changed()).await;
            }
        }
        .boxed()
    }

    fn cancel_job<'a>(&'a self, _url: &'a str, id: &'a JobId) -> Answer<'a, AgentJob> {
        self.answer(|inner| {
            let job = inner.jobs.get_mut(id).ok_or_else(|| unknown(id))?;
            if !job.state.is_final() {
                job.state = JobState::Cancelled;
                job.message = Some("terminated; the device is marked unfinished".into());
                job.version += 1;
            }
            Ok(job.clone())
        })
    }
}

/// An MGS that can be stopped without warning and started again.
pub struct Cluster {
    pub nodes: Arc<Nodes>,
    pub api: Arc<Api>,
    path: PathBuf,
    tasks: Tasks,
    _directory: Option<tempfile::TempDir>,
}

/// The job runner and what follows the store.
type Tasks = (JoinHandle<()>, JoinHandle<anyhow::Error>);

pub fn caller() -> Caller {
    Caller::new("uid:0")
}

impl Cluster {
    /// A new MGS with node `oss1` and file system `scratch`.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mgs.redb");
        let nodes = Arc::new(Nodes::default());
        let (api, tasks) = start(&path, &nodes).await;
        let cluster = Self { nodes, api, path, tasks, _directory: Some(directory) };
        let announcement = Announcement { api_url: "http://oss1:7080".into(), info: info("oss1") };
        let path = NodePath { node: "oss1".parse().unwrap() };
        cluster.api.announce_node(&caller(), &path, &WriteQuery::default(), announcement).await.unwrap();
        let path = FilesystemPath { fsname: "scratch".parse().unwrap() };
        let spec = FilesystemSpec { name: path.fsname.clone(), description: None };
        cluster.api.put_filesystem(&caller(), &path, &WriteQuery::default(), spec).await.unwrap();
        cluster
    }

    /// Ends the MGS as abruptly as one process can do it to a part of itself, and starts it on the same file.
    pub async fn restart(&mut self) {
        self.tasks.0.abort();
        self.tasks.1.abort();
        let _ = (&mut self.tasks.0).await;
        let _ = (&mut self.tasks.1).await;
        self.api = Arc::new(stopped_api(&self.nodes).await);
        let (api, tasks) = start(&self.path, &self.nodes).await;
        (self.api, self.tasks) = (api, tasks);
    }

    pub async fn ensure(&self, device: &str) -> Result<Written<Target>, Problem> {
        self.api.ensure_target(&caller(), &WriteQuery::default(), ensure(device)).await
    }

    /// Waits until a job is over.
    pub async fn end_of(&self, id: &JobId) -> Job {
        let path = JobPath { id: id.clone() };
        let query = WaitQuery { wait_s: Some(20), seen: None };
        soon(self.api.get_job(&path, &query)).await.unwrap()
    }

    pub fn target(&self, svname: &str) -> Target {
        let svname: SvName = svname.parse().unwrap();
        self.api.get_target(&lustre_api::target::TargetPath { svname }).unwrap()
    }
}

async fn stopped_api(nodes: &Arc<Nodes>) -> Api {
    let (engine, follower) =
        Engine::start(Arc::new(lustre_mgs_store::MemoryStore::new()), Env::default()).await.unwrap();
    follower.abort();
    Api::new(engine, nodes.clone())
}

async fn start(path: &std::path::Path, nodes: &Arc<Nodes>) -> (Arc<Api>, Tasks) {
    let store: Arc<dyn Store> = Arc::new(soon(open(path)).await);
    let env = Env { mgs_nids: Some("10.0.0.1@tcp".parse().unwrap()), ..Env::default() };
    let (engine, follower) = Engine::start(store, env).await.unwrap();
    let board = Arc::new(Board::default());
    let runner = Arc::new(Runner { engine: engine.clone(), agents: nodes.clone(), board: board.clone() });
    let tasks = (tokio::spawn(runner.run(Ownership::start(&engine))), follower);
    // From here on only what a test does makes revisions.
    let mut applied = engine.applied();
    while !engine.state().owners.contains_key("jobs") {
        soon(applied.changed()).await.unwrap();
    }
    (Arc::new(Api { board, ..Api::new(engine, nodes.clone()) }), tasks)
}

/// Opens the store once everything that held it (aborted tasks, too) is gone.
async fn open(path: &std::path::Path) -> RedbStore {
    loop {
        match RedbStore::open(path) {
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

/// Waits with a deadline.
pub async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("happens within 30 s")
}

pub fn ost(device: &str) -> TargetSpec {
    TargetSpec::new(TargetKind::Ost, Some("scratch".parse().unwrap()), "oss1".parse().unwrap(), device)
}

pub fn ensure(device: &str) -> EnsureTarget {
    ost(device).into()
}

pub fn info(node: &str) -> NodeInfo {
    NodeInfo {
        node: node.parse().unwrap(),
        agent_version: "0".into(),
        boot_id: "1".into(),
        kernel: "6".into(),
        lustre: None,
        e2fsprogs: None,
        missing_features: vec![],
        start_driver: StartDriver::None,
        nids: vec!["10.0.0.2@tcp".parse().unwrap()],
        kernel_proxy: None,
        abilities: Some(lustre_api::ability::ABILITIES.map(str::to_owned).into()),
        hostid: None,
    }
}

/// What an agent finds where nothing is.
pub fn blank_check(path: &str) -> FormatCheck {
    FormatCheck { device: blank(path), is_same: false, refusals: vec![], command: vec![], missing_features: vec![] }
}

fn blank(path: &str) -> Device {
    Device::blank(path, 1 << 30)
}

/// The names of all targets.
pub fn names(api: &Api) -> BTreeSet<SvName> {
    api.engine.state().targets.keys().cloned().collect()
}
