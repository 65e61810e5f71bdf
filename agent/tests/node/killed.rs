//! A node whose agent is killed at a step that the test names.
//!
//! `testdata/kill_at.c`, preloaded into the agent, counts the steps: writes, syncs, started programs, unmounts.

use super::{DEADLINE, Node, run};
use lustre_agent::host::{Host, Sysroot, Tools, detached::find_by_argument};
use lustre_agent::observe::Content;
use lustre_api::{
    Nothing,
    agent::{AgentJob, AgentOp, GetAgentJob, PutAgentJob},
    job::{JobPath, WaitQuery},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rest::ClientError;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Programs that the agent takes from a directory of its own here, so that their starts can be counted.
const TOOLS: [&str; 5] = ["mke2fs", "tune2fs", "debugfs", "e2mmpstatus", "e2fsck"];

/// `kill_at.c`, compiled once in a run.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (own, library) = (dir.join(format!("kill_at-{}.so", std::process::id())), dir.join("kill_at.so"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/kill_at.c");
    run("cc", &["-shared", "-fPIC", "-O1", "-o", own.to_str().unwrap(), source, "-ldl"]);
    // Tests that do the same at the same time find a whole file.
    fs::rename(own, &library).unwrap();
    library
});

/// What became of a job.
pub(crate) struct Fate {
    /// Its end, if the agent lived to see it.
    pub(crate) end: Option<AgentJob>,
    /// Whether the agent had accepted it before it died.
    pub(crate) was_accepted: bool,
}

/// Calls `trial` for steps 1, 2, 3 and so on until one says that the agent lived to the end; two trials at a time.
/// Gives the number of deaths. Panics with the step and the message of each trial that did.
pub(crate) async fn at_every_step<F>(trial: impl Fn(u64) -> F + Copy + Send + 'static) -> u64
where
    F: Future<Output = bool> + Send + 'static,
{
    let (next, is_over) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    let worker = || {
        let (next, is_over) = (next.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut deaths = 0;
            while !is_over.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let outcome = tokio::spawn(trial(at)).await;
                let has_died = outcome.map_err(|error| format!("killed at step {at}: {}", message_of(error)));
                is_over.fetch_or(has_died != Ok(true), Ordering::Relaxed);
                deaths += u64::from(has_died?);
            }
            Ok::<_, String>(deaths)
        })
    };
    let workers = [worker(), worker()];
    let (mut deaths, mut failures) = (0, Vec::new());
    for worker in workers {
        match worker.await.unwrap() {
            Ok(some) => deaths += some,
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    deaths
}

/// What a task panicked with.
fn message_of(error: tokio::task::JoinError) -> String {
    let text = error.to_string();
    let Ok(panic) = error.try_into_panic() else { return text };
    let literal = || panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    panic.downcast_ref::<String>().cloned().or_else(literal).unwrap_or(text)
}

impl Node {
    /// A node whose agent dies at step `at`, counted from when [`run_armed`](Self::run_armed) begins.
    pub(crate) fn dying_at(at: u64) -> Self {
        Self::dying_at_a(None, at)
    }

    /// The same, counting only steps of one name, such as a program's.
    pub(crate) fn dying_at_a(what: Option<&str>, at: u64) -> Self {
        let mut node = Self::prepared_to_die(what, at);
        node.restart();
        node
    }

    /// The same, its agent not yet started.
    pub(crate) fn prepared_to_die(what: Option<&str>, at: u64) -> Self {
        let mut node = Self::prepared(None);
        fs::create_dir(node.path("bin")).unwrap();
        for tool in TOOLS {
            node.link_program("counted", &format!("bin/{tool}"));
        }
        let text = |name: &str| node.path(name).to_str().unwrap().to_owned();
        node.env = [
            ("LD_PRELOAD", LIBRARY.to_str().unwrap().to_owned()),
            ("KILL_AT", at.to_string()),
            ("KILL_ARMED", text("armed")),
            ("KILL_STEPS", text("steps")),
            ("LUSTRE_AGENT_E2FSPROGS", text("bin")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        node.env.extend(what.map(|what| ("KILL_WHAT".to_owned(), what.to_owned())));
        node
    }

    /// A program of the tests' own, as `name` in a directory of this node. A link: a file that this process had just
    /// written could not be run for as long as a process that it is starting has a copy of the open file.
    pub(crate) fn link_program(&self, program: &str, name: &str) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(program);
        symlink(program, self.path(name)).unwrap();
    }

    /// Puts a job and follows it until it ends, or the agent dies.
    pub(crate) async fn run_armed(&mut self, id: &str, op: &AgentOp) -> Fate {
        fs::write(self.path("armed"), "").unwrap();
        self.follow_armed(id, Some(op)).await
    }

    /// Starts the agent anew, with its steps counted from the very first, and follows the job that it goes on with.
    pub(crate) async fn restart_armed(&mut self, id: &str) -> Fate {
        fs::write(self.path("armed"), "").unwrap();
        if self.try_restart().is_ok() {
            return self.follow_armed(id, None).await;
        }
        self.disarm();
        Fate { end: None, was_accepted: true }
    }

    async fn follow_armed(&mut self, id: &str, op: Option<&AgentOp>) -> Fate {
        let (client, path) = (self.client.clone(), JobPath { id: id.parse().unwrap() });
        let was_accepted = AtomicBool::new(op.is_none());
        let follow = async {
            let query = WaitQuery::default();
            let mut job = match op {
                Some(op) => client.call::<PutAgentJob>(&path, &Nothing {}, op).await?,
                None => client.call::<GetAgentJob>(&path, &query, &Nothing {}).await?,
            };
            was_accepted.store(true, Ordering::Relaxed);
            while !job.state.is_final() {
                let query = WaitQuery { wait_s: Some(5), seen: Some(job.version) };
                job = client.call::<GetAgentJob>(&path, &query, &Nothing {}).await?;
            }
            Ok::<_, ClientError>(job)
        };
        let daemon = self.daemon.as_mut().unwrap();
        let died = async {
            let begun = Instant::now();
            while daemon.try_wait().unwrap().is_none() {
                assert!(begun.elapsed() < DEADLINE, "neither the job nor its agent ends within {DEADLINE:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let mut died = Box::pin(died);
        let end = tokio::select! {
            followed = follow => match followed {
                Ok(job) => Some(job),
                // Nothing but its death is a reason not to answer.
                Err(error) => {
                    let patience = tokio::time::timeout(Duration::from_secs(5), &mut died).await;
                    assert!(patience.is_ok(), "the agent lives and gives no answer: {error}");
                    None
                }
            },
            () = &mut died => None,
        };
        drop(died);
        self.disarm();
        Fate { end, was_accepted: was_accepted.into_inner() }
    }

    fn disarm(&self) {
        fs::remove_file(self.path("armed")).unwrap();
    }

    /// The end of the job: the one that was seen, or after the agent's death the one that the next agent brings about.
    pub(crate) async fn brought_to_its_end(&mut self, id: &str, op: &AgentOp, fate: Fate) -> AgentJob {
        if let Some(job) = fate.end {
            return job;
        }
        self.lives_from_now_on();
        if !fate.was_accepted {
            self.put_op(id, op).await.unwrap();
        }
        self.end_of(id).await
    }

    /// Starts an agent that is not killed.
    pub(crate) fn lives_from_now_on(&mut self) {
        self.env.retain(|(name, _)| !name.starts_with("KILL") && name != "LD_PRELOAD");
        self.restart();
    }

    /// Starts the agent with its steps counted from the very first; whether it comes to listen.
    pub(crate) fn starts_armed(&mut self) -> bool {
        fs::write(self.path("armed"), "").unwrap();
        let has_started = self.try_restart().is_ok();
        self.disarm();
        has_started
    }

    /// Waits until no program runs any more that has `argument` as an argument.
    pub(crate) async fn outlast(&self, argument: &str) {
        let begun = Instant::now();
        while find_by_argument(argument).is_some() {
            assert!(begun.elapsed() < DEADLINE, "a program still works on {argument}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Has the next agent die at another step, counted over all of its steps or those of one name.
    pub(crate) fn dies_next_at(&mut self, what: Option<&str>, at: u64) {
        self.env.retain(|(name, _)| name != "KILL_WHAT" && name != "KILL_AT");
        self.env.push(("KILL_AT".to_owned(), at.to_string()));
        self.env.extend(what.map(|what| ("KILL_WHAT".to_owned(), what.to_owned())));
        let _ = fs::remove_file(self.path("steps"));
    }

    /// How often `mke2fs` was started to make a file system.
    pub(crate) fn formats_started(&self) -> usize {
        self.started().iter().filter(|line| line.starts_with("mke2fs ") && line.contains(" -U ")).count()
    }

    fn started(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("bin/started")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Kills every `mke2fs` that still works here.
    pub(crate) fn kill_mke2fs(&self) {
        for line in self.started() {
            let uuid = line.split(' ').skip_while(|word| *word != "-U").nth(1);
            while let Some(found) = uuid.and_then(find_by_argument) {
                let _ = kill(Pid::from_raw(found.pid), Signal::SIGKILL);
            }
        }
    }

    /// The steps up to the agent's death.
    pub(crate) fn steps(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("steps")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What is on a device, seen without the agent.
    pub(crate) fn content(&self, device: &Path) -> Content {
        let images = self.path("images").canonicalize().unwrap();
        let host = Host::new(Sysroot { image_dirs: vec![images], ..Sysroot::default() }, Tools::from_dir(None));
        host.observe(&host.device(device).unwrap()).unwrap().content
    }
}
