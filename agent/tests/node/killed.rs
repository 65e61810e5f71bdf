//! A node whose agent is killed at a step that the test names.
//!
//! `testdata/kill_at.c`, preloaded into the agent, counts the steps: writes, syncs, started programs, unmounts.

use super::{DEADLINE, Node, run};
use lustre_agent::host::{Host, Sysroot, Tools, mke2fs::find_by_argument};
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
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
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

impl Node {
    /// A node whose agent dies at step `at`, counted from when [`run_armed`](Self::run_armed) begins.
    pub(crate) fn dying_at(at: u64) -> Self {
        Self::dying_at_a(None, at)
    }

    /// The same, counting only steps of one name, such as a program's.
    pub(crate) fn dying_at_a(what: Option<&str>, at: u64) -> Self {
        let mut node = Self::prepared(None);
        let bin = node.path("bin");
        fs::create_dir(&bin).unwrap();
        for tool in TOOLS {
            let script = format!("#!/bin/sh\necho {tool} \"$@\" >> {}/started\nexec {tool} \"$@\"\n", bin.display());
            fs::write(bin.join(tool), script).unwrap();
            fs::set_permissions(bin.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
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
        node.restart();
        node
    }

    /// Puts a job and follows it until it ends, or the agent dies.
    pub(crate) async fn run_armed(&mut self, id: &str, op: &AgentOp) -> Fate {
        fs::write(self.path("armed"), "").unwrap();
        let (client, path) = (self.client.clone(), JobPath { id: id.parse().unwrap() });
        let mut was_accepted = false;
        let follow = async {
            let Ok(mut job) = client.call::<PutAgentJob>(&path, &Nothing {}, op).await else {
                return std::future::pending().await;
            };
            was_accepted = true;
            while !job.state.is_final() {
                let query = WaitQuery { wait_s: Some(5), seen: Some(job.version) };
                match client.call::<GetAgentJob>(&path, &query, &Nothing {}).await {
                    Ok(news) => job = news,
                    Err(_) => return std::future::pending().await,
                }
            }
            job
        };
        let daemon = self.daemon.as_mut().unwrap();
        let died = async {
            let begun = Instant::now();
            while daemon.try_wait().unwrap().is_none() {
                assert!(begun.elapsed() < DEADLINE, "neither the job nor its agent ends");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let end = tokio::select! {
            job = follow => Some(job),
            () = died => None,
        };
        fs::remove_file(self.path("armed")).unwrap();
        Fate { end, was_accepted }
    }

    /// Starts an agent that lives, and puts the job again if nobody had heard that it was accepted.
    pub(crate) async fn goes_on(&mut self, id: &str, op: &AgentOp, fate: &Fate) {
        self.env.retain(|(name, _)| !name.starts_with("KILL") && name != "LD_PRELOAD");
        self.restart();
        if !fate.was_accepted {
            self.put_op(id, op).await.unwrap();
        }
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
