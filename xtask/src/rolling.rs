//! `rolling`: older programs, built from the history of the repository, and upgraded instance by instance.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// Which commits.
const OLDER: &str = "mgs/tests/data/older-programs";
/// The test that upgrades them.
const TEST: &str = "older_instances_are_replaced_one_by_one";

/// Builds each older program once, into target/rolling, and runs the test with it.
///
/// Errors: a history that ends before the commit, a build or a test that fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let list = fs::read_to_string(root.join(OLDER)).with_context(|| format!("can't read {OLDER}"))?;
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (version, commit) =
            line.split_once(' ').with_context(|| format!("{OLDER}: {line:?} is no `VERSION COMMIT`"))?;
        let program = build(&root, commit.trim())?;
        println!("[rolling] the program of state version {version} is {}", program.display());
        let mut test = Command::new("cargo");
        test.args(["test", "--quiet", "--package", "system-tests", "--test", "faults", "--locked", "--"]);
        test.args(["--nocapture", "--ignored", TEST]).env("LUSTRE_OLDER_MGS", program).current_dir(&root);
        ensure!(test.status()?.success(), "the upgrade from {commit} failed");
    }
    Ok(())
}

/// The MGS as it was at a commit.
fn build(root: &Path, commit: &str) -> anyhow::Result<PathBuf> {
    let full = output(root, &["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]);
    let Some(full) = full else {
        let is_shallow = output(root, &["rev-parse", "--is-shallow-repository"]).as_deref() == Some("true");
        let remedy =
            if is_shallow { "this clone is shallow: run `git fetch --unshallow`" } else { "fetch the main branch" };
        bail!("the history here has no commit {commit}, which {OLDER} names; {remedy}");
    };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("rolling");
    let source = target.join(&full);
    let program = source.join("lustre-mgs");
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&source)?;
    let archive = source.with_extension("tar");
    let mut git = Command::new("git");
    git.args(["archive", "--format=tar", &full]).current_dir(root).stdout(File::create(&archive)?);
    ensure!(git.status().context("can't run git")?.success(), "git archive {full} failed");
    let unpacked = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source).status()?;
    ensure!(unpacked.success(), "tar -xf {} failed", archive.display());
    fs::remove_file(&archive)?;
    println!("[rolling] building lustre-mgs as of {full}");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--package", "lustre-mgs", "--bin", "lustre-mgs", "--target-dir"]);
    cargo.arg(target.join("build")).current_dir(&source);
    ensure!(cargo.status()?.success(), "lustre-mgs as of {full} does not build");
    // Not where the next commit's would be.
    fs::copy(target.join("build/debug/lustre-mgs"), &program)?;
    Ok(program)
}

/// What git says; nothing where it ends badly.
fn output(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(root).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
