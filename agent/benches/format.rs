//! Formats through the agent's job, against the very same `mke2fs` command alone, and against the same steps by hand.
//!
//! In one process without HTTP: what is measured is what the agent adds (looking, guarding, journaling, reading back).
//! Rounds alternate, so that all meet the same machine; the medians are compared. Each way ends durable: `mke2fs` alone is
//! followed by an fsync too. By hand, the steps are those that an administrator owes to the data: look what is there
//! (`wipefs --no-act`), format, have the quotas counted, give the label, fsync. `docs/benchmarks.md` explains the numbers.

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
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const GIB: u64 = 1 << 30;
const GOAL: f64 = 1.10;

/// What is formatted.
struct Case {
    name: &'static str,
    svname: &'static str,
    size: u64,
    /// A loop device on a sparse file; else the file itself.
    is_loop: bool,
    /// Options of the administrator.
    mkfs_options: &'static str,
    rounds: usize,
}

impl Case {
    const fn new(name: &'static str, svname: &'static str, size: u64, is_loop: bool, rounds: usize) -> Self {
        Self { name, svname, size, is_loop, mkfs_options: "", rounds }
    }
}

const CASES: [Case; 5] = [
    Case::new("format_10gib_sparse", "bench-OST0000", 10 * GIB, false, 25),
    Case::new("format_10gib_loop_ost", "bench-OST0000", 10 * GIB, true, 15),
    Case::new("format_10gib_loop_mdt", "bench-MDT0000", 10 * GIB, true, 15),
    Case::new("format_1tib_sparse_ost", "bench-OST0000", 1024 * GIB, false, 9),
    Case::new("format_1tib_sparse_mdt", "bench-MDT0000", 1024 * GIB, false, 7),
];

/// Eight devices formatted at once: small ones, where `mke2fs` is over in a moment and what the agent owes to the data weighs
/// most, and as large as OSTs are. Those have an inode for each 2 MiB: with more, eight sparse ones would take 70 GB here.
const AT_ONCE: [Case; 2] = [
    Case::new("format_8_loops_of_10gib_at_once", "bench-OST0000", 10 * GIB, true, 7),
    Case {
        mkfs_options: "-i 2097152",
        ..Case::new("format_8_loops_of_4tib_at_once", "bench-OST0000", 4096 * GIB, true, 3)
    },
];
const AT_ONCE_GOAL: f64 = 1.05;

/// A blank disk for each round.
struct Disk {
    image: PathBuf,
    size: u64,
    device: PathBuf,
}

impl Disk {
    fn new(dir: &Path, name: &str, case: &Case) -> Self {
        let image = dir.join(name);
        let mut disk = Self { image: image.clone(), size: case.size, device: image };
        disk.blank();
        if case.is_loop {
            let args = ["--find", "--show"].map(std::ffi::OsStr::new);
            let output = Command::new("losetup").args(args).arg(&disk.image).output().unwrap();
            assert!(output.status.success(), "loop devices need root: {}", String::from_utf8_lossy(&output.stderr));
            disk.device = String::from_utf8(output.stdout).unwrap().trim().into();
        }
        disk
    }

    /// Nothing on it, nothing of it in memory, and nothing of the last round on its way to the medium.
    fn blank(&self) {
        if self.device == self.image {
            let _ = std::fs::remove_file(&self.image);
            File::create(&self.image).unwrap().set_len(self.size).unwrap();
        } else {
            run("blkdiscard", &["-f", self.device.to_str().unwrap()]);
        }
        nix::unistd::sync();
    }

    fn sync(&self) {
        File::options().write(true).open(&self.device).unwrap().sync_all().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.device != self.image {
            run("losetup", &["--detach", self.device.to_str().unwrap()]);
        }
    }
}

fn run(tool: &str, args: &[&str]) {
    let status = Command::new(tool).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{tool} {args:?}");
}

fn through_the_agent(jobs: &Arc<Jobs>, id: &str, svname: &str, case: &Case, disk: &Disk) -> (Duration, Vec<String>) {
    let op: FormatOp = serde_json::from_value(serde_json::json!({
        "svname": svname, "device": disk.device, "mgs_nids": "10.0.0.1@tcp", "expect_content": "blank",
        "mkfs_options": case.mkfs_options,
    }))
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let mut changes = jobs.changes();
    jobs.put(id.parse().unwrap(), AgentOp::Format(op), "bench".into()).unwrap();
    let id = id.parse().unwrap();
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

/// The agent's command for a directory of our own.
fn command(of_job: &[String], root: &Path) -> Vec<String> {
    let words = of_job.iter().enumerate();
    words
        .map(|(at, word)| match at.checked_sub(1).map(|before| of_job[before].as_str()) {
            Some("-d") => root.to_str().unwrap().to_owned(),
            _ => word.clone(),
        })
        .collect()
}

fn alone(command: &[String], disk: &Disk) -> Duration {
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let begun = Instant::now();
    run(&command[0], &args);
    disk.sync();
    begun.elapsed()
}

fn by_hand(command: &[String], label: &str, disk: &Disk) -> Duration {
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let device = disk.device.to_str().unwrap();
    let begun = Instant::now();
    run("wipefs", &["--no-act", device]);
    run(&command[0], &args);
    run("tune2fs", &["-f", "-Q", "^usrquota,^grpquota,^prjquota", device]);
    run("tune2fs", &["-f", "-Q", "usrquota,grpquota,prjquota", device]);
    disk.sync();
    run("tune2fs", &["-f", "-L", label, device]);
    disk.sync();
    begun.elapsed()
}

/// How long the slowest of eight takes, through the agent and alone.
fn at_once(jobs: &Arc<Jobs>, dir: &Path, contents: &Path, case: &Case) {
    let disks: Vec<Disk> = (0..8).map(|n| Disk::new(dir, &format!("disk{n}.img"), case)).collect();
    let (mut agent, mut bare) = (Vec::new(), Vec::new());
    let blank_all = || disks.iter().for_each(Disk::blank);
    for round in 0..case.rounds {
        blank_all();
        let begun = Instant::now();
        let commands: Vec<_> = std::thread::scope(|scope| {
            let formats = disks.iter().enumerate().map(|(n, disk)| {
                let id = format!("at-once-{}-{round}-{n}", case.size / GIB);
                scope.spawn(move || through_the_agent(jobs, &id, &format!("bench-OST{n:04x}"), case, disk).1)
            });
            let formats: Vec<_> = formats.collect();
            formats.into_iter().map(|format| command(&format.join().unwrap(), contents)).collect()
        });
        agent.push(begun.elapsed());
        blank_all();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (disk, command) in disks.iter().zip(&commands) {
                scope.spawn(move || alone(command, disk));
            }
        });
        bare.push(begun.elapsed());
    }
    let (agent, bare) = (median_ms(&mut agent), median_ms(&mut bare));
    let (name, rounds) = (case.name, case.rounds);
    println!(
        "RESULT name={name} ratio={:.3} goal=<={AT_ONCE_GOAL:.2} agent_ms={agent:.1} bare_ms={bare:.1} rounds={rounds}",
        agent / bare
    );
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    // `cargo test --benches` calls it too: one round of the first case then shows that it works. A name selects a case.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let chosen = args.iter().find(|arg| !arg.starts_with('-'));
    let dir = tempfile::tempdir().unwrap();
    let root = Sysroot { image_dirs: vec![std::fs::canonicalize(dir.path()).unwrap()], ..Sysroot::default() };
    let host = Arc::new(Host::new(root, Tools::from_dir(None)));
    host.mke2fs().unwrap();
    assert!(host.looks_by_itself(), "wipefs would be asked about each device");
    let jobs = Jobs::start(host, dir.path()).unwrap();
    let contents = dir.path().join("contents");
    std::fs::create_dir_all(contents.join("CONFIGS")).unwrap();
    std::fs::write(contents.join("CONFIGS/mountdata"), [7; 12288]).unwrap();
    let cases = CASES.iter().filter(|case| chosen.is_none_or(|name| case.name == name));
    for case in cases.take(if is_bench { CASES.len() } else { 1 }) {
        let disk = Disk::new(dir.path(), "disk.img", case);
        let rounds = if is_bench { case.rounds } else { 1 };
        let (mut agent, mut bare, mut hand) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            disk.blank();
            let id = format!("{}-{round}", case.name.replace('_', "-"));
            let (took, of_job) = through_the_agent(&jobs, &id, case.svname, case, &disk);
            agent.push(took);
            let command = command(&of_job, &contents);
            let label = case.svname.replace('-', ":");
            let alone = |bare: &mut Vec<_>| {
                disk.blank();
                bare.push(alone(&command, &disk));
            };
            // Nobody comes always behind the same one.
            if round % 2 == 0 {
                alone(&mut bare);
            }
            disk.blank();
            hand.push(by_hand(&command, &label, &disk));
            if round % 2 != 0 {
                alone(&mut bare);
            }
        }
        let (agent, bare, hand) = (median_ms(&mut agent), median_ms(&mut bare), median_ms(&mut hand));
        let ms = format!("agent_ms={agent:.1} bare_ms={bare:.1} by_hand_ms={hand:.1} rounds={rounds}");
        println!("RESULT name={} ratio={:.3} goal=<={GOAL:.2} {ms}", case.name, agent / bare);
        println!("RESULT name={}_by_hand ratio={:.3} goal=<=1.00 {ms}", case.name, agent / hand);
    }
    for case in AT_ONCE.iter().filter(|case| is_bench && chosen.is_none_or(|name| case.name == name)) {
        at_once(&jobs, dir.path(), &contents, case);
    }
}
