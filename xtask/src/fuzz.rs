//! `cargo xtask fuzz`: every `pub fn fuzz_*` behind libFuzzer, first over its corpus, then for a while on its own.
//!
//! On the stable compiler: `-Cpasses=sancov-module` instruments, libfuzzer-sys brings the fuzzer (built by a C++ compiler).
//! No address sanitizer: that needs a nightly compiler, and the crates have no unsafe code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, bail, ensure};

/// What makes the compiler count which code runs, as cargo-fuzz has it.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// Recordings that are seeds of a target, beside `fuzz/corpus/<target>`: directories in `crates/lustre-wire/testdata`.
const RECORDINGS: &[(&str, &[&str])] = &[
    ("acceptor", &["lnet"]),
    ("body", &["ptlrpc"]),
    ("frame", &["lnet"]),
    ("header", &["lnet"]),
    ("hello", &["lnet"]),
    ("log_file", &["llog"]),
    ("message", &["ptlrpc", "ldlm", "mgs"]),
    ("mountdata", &["mountdata"]),
    ("nid_table", &["mgs"]),
    ("ping", &["lnet"]),
    ("registration", &["mgs"]),
];

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these targets; all of them when none is named.
    targets: Vec<String>,
    /// How long each target looks for something new, after its corpus.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Builds the fuzzer and runs the targets, as many at once as there are processors. Fails if one finds something.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let all = targets(&root)?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(*name)) {
        bail!("there is no target {unknown:?}; the targets are {}", all.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let program = build(&root)?;
    let chosen = all.into_iter().filter(|name| args.targets.is_empty() || args.targets.contains(name));
    let (queue, failed) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker panics").next();
                    let Some(target) = next else { return };
                    if let Err(error) = fuzz(&root, &program, &target, args.seconds) {
                        eprintln!("[fuzz] {target}: {error:#}");
                        failed.lock().expect("no worker panics").push(target);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no worker panics");
    ensure!(failed.is_empty(), "found something: {}", failed.join(", "));
    Ok(())
}

/// Names in the table of `fuzz/src/main.rs`. Errors: a `pub fn fuzz_*` of the sources is not among them.
fn targets(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let table = fs::read_to_string(root.join("fuzz/src/main.rs")).context("can't read fuzz/src/main.rs")?;
    let named: BTreeMap<String, String> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\", "))
        .filter_map(|(name, function)| {
            Some((function.trim_end_matches("),").rsplit_once("fuzz_")?.1.to_owned(), name.to_owned()))
        })
        .collect();
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for dir in ["crates", "mgs", "agent", "ansible-modules", "terraform-provider-lustre"] {
        for function in functions(&root.join(dir))? {
            if !named.contains_key(&function) {
                missing.push(format!("fuzz_{function}"));
            }
            // The table goes by name, so that a second one of the name would look as if it were in it.
            ensure!(seen.insert(function.clone()), "there are two functions fuzz_{function}; rename one");
        }
    }
    ensure!(missing.is_empty(), "not in the table of fuzz/src/main.rs: {}", missing.join(", "));
    Ok(named.into_values().collect())
}

/// Every `pub fn fuzz_*` below `dir`, without its prefix, as often as it is there.
fn functions(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("can't read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
                let names = text.lines().filter_map(|line| line.trim().strip_prefix("pub fn fuzz_")?.split_once('('));
                found.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    Ok(found)
}

/// Builds the instrumented program and gives its path.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        Command::new("c++").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()),
        "libFuzzer needs a C++ compiler; `tools/setup` installs one (package g++)"
    );
    let version = Command::new("rustc").arg("-vV").output().context("can't run rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let target_dir = target_dir(root);
    // With --target, build scripts and macros are left alone.
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--target", host, "--manifest-path"])
        .arg(root.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", INSTRUMENT)
        .status()
        .context("can't run cargo")?;
    ensure!(status.success(), "the fuzzer can't be built");
    Ok(target_dir.join(host).join("release/lustre-fuzz"))
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("fuzz")
}

/// Runs one target. Errors: it found something, and where the input is.
fn fuzz(root: &Path, program: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let (grown, seeds) = (target_dir(root).join("grown").join(target), target_dir(root).join("seeds").join(target));
    let found = root.join("fuzz/found");
    for dir in [&grown, &seeds, &found] {
        fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    }
    write_recordings(root, target, &seeds)?;
    let committed = root.join("fuzz/corpus").join(target);
    let count: usize = [&committed, &seeds].iter().map(|dir| fs::read_dir(dir).map_or(0, Iterator::count)).sum();
    ensure!(count > 0, "has no corpus; put an input or two into {}", committed.display());
    let mut command = Command::new(program);
    command.env("LUSTRE_FUZZ_TARGET", target).env("RUST_BACKTRACE", "0").arg(&grown).arg(&seeds);
    if committed.exists() {
        command.arg(&committed);
    }
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/{target}-", found.display()));
    // A reader that takes seconds or a gigabyte for a few bytes is as bad as one that panics.
    command.args(["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256", "-print_final_stats=1", "-verbosity=0"]);
    let output = command.stdout(Stdio::null()).output().with_context(|| format!("can't run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let stat = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim).to_owned();
    if !output.status.success() {
        // From the panic on, where there was one; a timeout or too much memory says so in the last lines.
        let lines: Vec<&str> = said.lines().collect();
        let panic = lines.iter().rposition(|line| line.contains("panicked at"));
        let from = panic.unwrap_or(lines.len().saturating_sub(30));
        bail!("{}\nthe input is in {}", lines[from..].join("\n"), found.display());
    }
    println!("[fuzz] {target}: {count} inputs, {} runs", stat("stat::number_of_executed_units:"));
    Ok(())
}

/// Recordings as the fuzzer takes them: one file of bytes each.
fn write_recordings(root: &Path, target: &str, seeds: &Path) -> anyhow::Result<()> {
    let dirs = RECORDINGS.iter().find(|(name, _)| *name == target).map_or(&[][..], |(_, dirs)| dirs);
    for dir in dirs {
        let dir = root.join("crates/lustre-wire/testdata").join(dir);
        for entry in fs::read_dir(&dir).with_context(|| format!("can't read {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "hex") {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let recordings = recordings(&text).with_context(|| format!("can't understand {}", path.display()))?;
            for (at, bytes) in recordings.iter().enumerate() {
                fs::write(seeds.join(format!("{stem}-{at}")), bytes)?;
            }
        }
    }
    Ok(())
}

/// Bytes in a file of hexadecimal text: one recording of `offset: hex` lines and the size in a comment, or one in each line.
fn recordings(text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let (comments, lines): (Vec<&str>, Vec<&str>) =
        text.lines().filter(|line| !line.trim().is_empty()).partition(|line| line.starts_with('#'));
    if !lines.iter().any(|line| line.contains(':')) {
        return lines.into_iter().map(bytes_of).collect();
    }
    let words: Vec<&str> = comments.iter().flat_map(|line| line.split_whitespace()).collect();
    let size = words.windows(2).find(|pair| pair[1].starts_with("bytes")).and_then(|pair| pair[0].parse().ok());
    let mut all = vec![0; size.unwrap_or(0)];
    for line in lines {
        let (offset, hex) = line.split_once(':').context("a line without an offset")?;
        let (offset, bytes) = (usize::from_str_radix(offset.trim(), 16)?, bytes_of(hex.trim())?);
        ensure!(offset < 1 << 24, "offset {offset:#x} is too large");
        all.resize(all.len().max(offset + bytes.len()), 0);
        all[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(vec![all])
}

fn bytes_of(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_one_per_line_or_scattered_over_offsets() {
        assert_eq!(recordings("# x\n0102\n\nff\n").unwrap(), [vec![1, 2], vec![255]]);
        assert_eq!(recordings("# 6 bytes; zero\n1: 0a\n3: 0b0c\n").unwrap(), [[0, 10, 0, 11, 12, 0]]);
        assert!(recordings("0: zz").is_err());
    }

    #[test]
    fn every_fuzz_function_is_a_target() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(targets(&root).unwrap().contains("mountdata"));
    }
}
