//! Descriptions in a directory: every `*.json` in it. Of a repository of git, what is committed at HEAD: never half a change.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use super::merge::{Part, merged, sha256};
use super::{Found, MAX_BYTES};

pub(super) async fn read(path: &Path) -> anyhow::Result<Found> {
    ensure!(path.is_dir(), "{} is no directory", path.display());
    match head(path).await? {
        Some(commit) => {
            let desired = merged(committed(path, &commit).await?)?;
            Ok(Found { version: commit, desired })
        }
        None => {
            let parts = files(path)?;
            let texts: Vec<&[u8]> = parts.iter().map(|part| &part.text[..]).collect();
            let version = sha256(&texts);
            Ok(Found { version, desired: merged(parts)? })
        }
    }
}

/// The commit at HEAD; nothing where the directory is in no repository.
async fn head(path: &Path) -> anyhow::Result<Option<String>> {
    let is_repository = path.ancestors().any(|up| up.join(".git").exists()) || path.join("HEAD").is_file();
    if !is_repository {
        return Ok(None);
    }
    let commit = git(path, &["rev-parse", "--verify", "HEAD^{commit}"]).await.context("there is no commit yet?")?;
    Ok(Some(String::from_utf8_lossy(&commit).trim().to_owned()))
}

/// The files of a commit, by name.
async fn committed(path: &Path, commit: &str) -> anyhow::Result<Vec<Part>> {
    // Names relative to the directory, which may be below the repository's top. Symbolic links and directories are left out.
    let listed = git(path, &["ls-tree", "-z", "-l", commit, "./"]).await?;
    let (mut parts, mut size) = (Vec::new(), 0);
    for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let Some((about, name)) = line.split_once('\t') else { bail!("git ls-tree says: {line}") };
        let fields: Vec<&str> = about.split_whitespace().collect();
        let [mode, "blob", object, bytes] = fields[..] else { continue };
        if !name.ends_with(".json") || mode == "120000" {
            continue;
        }
        size += bytes.parse::<usize>().unwrap_or(MAX_BYTES);
        ensure!(size <= MAX_BYTES, "the files of {} have more than {MAX_BYTES} bytes", path.display());
        let text = git(path, &["cat-file", "blob", object]).await?;
        parts.push(Part { name: name.to_owned(), text });
    }
    Ok(parts)
}

async fn git(path: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("git");
    // The repository is often somebody else's; nothing of its configuration is to run a program here.
    command.args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command.arg("-C").arg(path).args(arguments).env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    command.kill_on_drop(true);
    let ran = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await;
    let output = ran.context("git took more than 30 s")?.context("can't run git; is it installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git of {}: {}", path.display(), said.trim());
    Ok(output.stdout)
}

/// The files of a plain directory, by name.
fn files(path: &Path) -> anyhow::Result<Vec<Part>> {
    let failed = || format!("can't read {}", path.display());
    let mut parts = Vec::new();
    let mut size = 0;
    for entry in std::fs::read_dir(path).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") || name.starts_with('.') {
            continue;
        }
        let failed = || format!("can't read {}", entry.path().display());
        size += usize::try_from(entry.metadata().with_context(failed)?.len()).unwrap_or(MAX_BYTES);
        ensure!(size <= MAX_BYTES, "the files of {} have more than {MAX_BYTES} bytes", path.display());
        parts.push(Part { text: std::fs::read(entry.path()).with_context(failed)?, name });
    }
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(parts)
}
