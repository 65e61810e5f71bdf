//! Callers that write and read registers (descriptions of file systems) through all instances, and note what they saw.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use testkit::linear::{Kind, Operation};
use tokio::task::JoinSet;

use crate::api::{Answer, Api};
use crate::random::Random;

/// Registers.
const KEYS: usize = 4;
/// Between the operations of one caller.
const PAUSE: Duration = Duration::from_millis(40);

/// Callers at work.
pub(crate) struct Callers {
    history: Arc<Mutex<Vec<Operation>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Callers {
    pub(crate) fn start(count: usize, api: &Api, random: &mut Random) -> Self {
        let (history, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (begun, values) = (Instant::now(), Arc::new(AtomicU64::new(1)));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let caller = Caller {
                api: api.clone(),
                random: random.split(),
                begun,
                values: Arc::clone(&values),
                history: Arc::clone(&history),
                last_revision: 0,
            };
            tasks.spawn(caller.run(Arc::clone(&stop)));
        }
        Self { history, stop, tasks }
    }

    /// Ends them, and gives all that they did.
    pub(crate) async fn stop(mut self) -> Vec<Operation> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.history.lock().unwrap())
    }
}

struct Caller {
    api: Api,
    random: Random,
    begun: Instant,
    values: Arc<AtomicU64>,
    history: Arc<Mutex<Vec<Operation>>>,
    last_revision: u64,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::SeqCst) {
            let key = format!("reg{}", self.random.below(KEYS));
            let at = self.random.below(self.api.urls.len());
            let invoked = self.now();
            let (kind, is_known) = match self.random.below(2) {
                0 => self.write(at, &key).await,
                _ => match self.read(at, &key).await {
                    Some(value) => (Kind::Read(value), true),
                    None => (Kind::Read(None), false),
                },
            };
            let returned = is_known.then(|| self.now());
            self.history.lock().unwrap().push(Operation { key, invoked, returned, kind });
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    async fn write(&mut self, at: usize, key: &str) -> (Kind, bool) {
        let value = self.values.fetch_add(1, Ordering::SeqCst);
        let body = json!({"name": key, "description": value.to_string()});
        let answer = self.api.ask(at, Method::PUT, &format!("/v1/filesystems/{key}"), Some(&body)).await;
        if let Answer::Good { body, .. } = &answer {
            let revision = body["revision"].as_u64().unwrap();
            assert!(revision > self.last_revision, "revision {revision} after {}", self.last_revision);
            self.last_revision = revision;
        }
        (Kind::Write(value), matches!(answer, Answer::Good { .. }))
    }

    /// What was read; nothing where that may be old, and says so, or no answer came.
    async fn read(&mut self, at: usize, key: &str) -> Option<Option<u64>> {
        match self.api.ask(at, Method::GET, &format!("/v1/filesystems/{key}"), None).await {
            Answer::Good { body, is_stale: false } => Some(Some(body["description"].as_str()?.parse().unwrap())),
            Answer::Missing { is_stale: false } => Some(None),
            _ => None,
        }
    }
}
