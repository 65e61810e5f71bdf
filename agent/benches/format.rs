//! A format of a 10 GiB sparse device through the agent's job, against the very same `mke2fs` command alone.
//!
//! In one process without HTTP: what is measured is what the agent adds (looking, guarding, journaling, reading back).
//! Rounds alternate, so that both meet the same machine; the medians are compared. `RESULT` is the line to read.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on shall say so by failing")]

use lustre_agent::{
    host::{Host, Sysroot, Tools},
    jobs::Jobs,
};
use lustre_api::{
    agent::{AgentOp, FormatOp},
    job::JobState,
};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const SIZE: u64 = 10 << 30;
const ROUNDS: usize = 15;
const GOAL: f64 = 1.10;

fn fresh(path: &Path) {
    let _ = std::fs::remove_file(path);
    File::create(path).unwrap().set_len(SIZE).unwrap();
}

fn through_the_agent(jobs: &Arc<Jobs>, round: usize, image: &Path) -> (Duration, Vec<String>) {
    fresh(image);
    let op: FormatOp = serde_json::from_value(serde_json::json!({
        "svname": "bench-OST0000", "device": image, "mgs_nids": "10.0.0.1@tcp", "expect_content": "blank",
    }))
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let mut changes = jobs.changes();
    let id = format!("bench-{round}").parse().unwrap();
    jobs.put(id, AgentOp::Format(op), "bench".into()).unwrap();
    let id = format!("bench-{round}").parse().unwrap();
    let job = runtime.block_on(async {
        loop {
            changes.mark_unchanged();
            let job = jobs.get(&id).unwrap();
            if job.state.is_final() {
                return job;
            }
            changes.changed().await.unwrap();
        }
    });
    let took = begun.elapsed();
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    (took, job.command)
}

/// The same command, ended by a sync of the device as the agent does.
fn alone(command: &[String], root: &Path, image: &Path) -> Duration {
    fresh(image);
    let args = command[1..].iter().enumerate().map(|(at, word)| match command[at].as_str() {
        "-d" => root.to_str().unwrap().to_owned(),
        _ => word.clone(),
    });
    let begun = Instant::now();
    let status = Command::new(&command[0]).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    File::options().write(true).open(image).unwrap().sync_all().unwrap();
    assert!(status.success());
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    // `cargo test --benches` calls it too: one round then shows that it works.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let dir = tempfile::tempdir().unwrap();
    let root = Sysroot { image_dirs: vec![std::fs::canonicalize(dir.path()).unwrap()], ..Sysroot::default() };
    let host = Arc::new(Host::new(root, Tools::from_dir(None)));
    host.mke2fs().unwrap();
    let jobs = Jobs::start(host, dir.path()).unwrap();
    let contents = dir.path().join("contents");
    std::fs::create_dir_all(contents.join("CONFIGS")).unwrap();
    std::fs::write(contents.join("CONFIGS/mountdata"), [0; 12288]).unwrap();
    let image = dir.path().join("disk.img");
    let (mut agent, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (took, command) = through_the_agent(&jobs, round, &image);
        agent.push(took);
        bare.push(alone(&command, &contents, &image));
    }
    let (agent, bare) = (median(agent), median(bare));
    let ratio = agent.as_secs_f64() / bare.as_secs_f64();
    let added = agent.saturating_sub(bare);
    println!(
        "RESULT name=format_10gib_sparse ratio={ratio:.3} goal={GOAL:.2} agent_ms={:.1} bare_ms={:.1} added_ms={:.1} rounds={rounds}",
        agent.as_secs_f64() * 1e3,
        bare.as_secs_f64() * 1e3,
        added.as_secs_f64() * 1e3,
    );
}
