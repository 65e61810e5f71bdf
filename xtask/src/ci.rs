//! `cargo xtask ci`: what has to hold before anything lands, lane by lane.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// Arguments of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these lanes; all of them, in order, when none is named.
    lanes: Vec<String>,
}

/// A lane: its name, and the command lines that must succeed in order.
type Lane = (&'static str, &'static [&'static [&'static str]]);

const LANES: &[Lane] = &[
    (
        "format",
        &[&["cargo", "fmt", "--all", "--check"], &["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]],
    ),
    ("clippy", &[&["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]]),
    (
        "dependencies",
        &[
            &["cargo", "xtask", "dependencies"],
            &["cargo", "fetch", "--locked"],
            &["cargo", "deny", "--offline", "check", "bans", "licenses", "sources"],
        ],
    ),
    ("kmod", &[&["kmod/lint"]]),
    // Debug binaries of every daemon first: the whole-system tests start them.
    (
        "test",
        &[
            &["cargo", "build", "--workspace", "--bins", "--locked"],
            &["cargo", "nextest", "run", "--workspace", "--locked", "--no-fail-fast"],
            &["cargo", "test", "--quiet", "--workspace", "--doc", "--locked"],
        ],
    ),
    (
        "generated",
        &[
            &["cargo", "xtask", "proto", "--check"],
            &["cargo", "xtask", "docs", "--check"],
            &["cargo", "xtask", "stubs", "--check"],
        ],
    ),
    ("fuzz", &[&["cargo", "xtask", "fuzz", "--seconds", "4"]]),
    // Last: it is the longest, and needs the binaries that `test` builds.
    ("ansible", &[&["ansible-modules/ci.sh", "all"]]),
];

/// Lanes that take long, only run when they are named.
const LONG_LANES: &[Lane] = &[
    // Strangers throw mutated recordings at a live MGS for 30 seconds, where the gate's lane `test` takes four.
    (
        "chaos",
        &[
            &["cargo", "build", "--package", "lustre-mgs", "--package", "mgsctl", "--bins", "--locked"],
            &[
                "env",
                "LUSTRE_CHAOS_SECONDS=30",
                "cargo",
                "test",
                "--quiet",
                "--package",
                "system-tests",
                "--test",
                "interop",
                "--locked",
                "--",
                "--nocapture",
                "mutated_recordings",
            ],
        ],
    ),
    // Three MGSs of an older program, built from the history, are upgraded one by one; about a minute once that is built.
    ("rolling", &[&["cargo", "build", "--workspace", "--bins", "--locked"], &["cargo", "xtask", "rolling"]]),
    // 100,000 power cuts, about 10 minutes. A slice: `POWER_CUTS=5000 POWER_FIRST=20000 cargo test … power_loss`.
    (
        "power",
        &[&[
            "env",
            "POWER_CUTS=100000",
            "cargo",
            "test",
            "--quiet",
            "--package",
            "lustre-mgs-store",
            "--test",
            "power",
            "--locked",
            "--",
            "--nocapture",
            "power_loss",
        ]],
    ),
    // Three MGSs on three etcds under 20 targets and 100 followers, everything broken four times, about 5 minutes. Prints its
    // seed; `FAULTS_SEED=… FAULTS_ROUNDS=…` repeats or lengthens it.
    (
        "faults",
        &[
            &["cargo", "build", "--workspace", "--bins", "--locked"],
            &[
                "cargo",
                "test",
                "--quiet",
                "--package",
                "system-tests",
                "--test",
                "faults",
                "--locked",
                "--",
                "--nocapture",
                "--ignored",
                "again_and_again",
            ],
        ],
    ),
];

/// Runs the lanes; stops at the first that fails and names the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let all = || LANES.iter().chain(LONG_LANES);
    if let Some(unknown) = args.lanes.iter().find(|lane| !all().any(|(name, _)| name == lane)) {
        let names: Vec<_> = all().map(|(name, _)| *name).collect();
        bail!("there is no lane \"{unknown}\"; the lanes are {}", names.join(", "));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, commands) in LANES
        .iter()
        .filter(|_| args.lanes.is_empty())
        .chain(all().filter(|(name, _)| args.lanes.iter().any(|l| l == name)))
    {
        let began = Instant::now();
        for words in *commands {
            println!("[{name}] {}", words.join(" "));
            let status = Command::new(words[0]).args(&words[1..]).current_dir(&root).status();
            let status =
                status.with_context(|| format!("can't run {}; `tools/setup` installs what is missing", words[0]))?;
            if !status.success() {
                bail!("lane {name}: `{}` failed ({status})", words.join(" "));
            }
        }
        println!("[{name}] passed in {} s", began.elapsed().as_secs());
    }
    Ok(())
}
