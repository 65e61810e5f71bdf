//! Generates `docs/provider` from the provider's schemas and examples, and `docs/tunables.md` from the catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Arguments of `cargo xtask docs`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails if a checked-in page differs from what would be generated.
    #[arg(long)]
    check: bool,
}

/// Writes the pages, or with `--check` compares them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    crate::tunables::run(args.check)?;
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/provider");
    let out = tempfile::tempdir()?;
    // A process of its own: linking the provider into xtask would make every chore wait for its build.
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "terraform-provider-lustre", "--example", "docs", "--"])
        .arg(out.path())
        .status()
        .context("can't run cargo")?;
    if !status.success() {
        bail!("the provider's documentation was not generated; the cause is above");
    }
    let fresh = pages(out.path())?;
    let old = if checked_in.exists() { pages(&checked_in)? } else { BTreeMap::new() };
    let names: Vec<_> = fresh.keys().chain(old.keys().filter(|name| !fresh.contains_key(*name))).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| fresh.get(*name) != old.get(*name)).collect();
    if args.check {
        if !stale.is_empty() {
            bail!("docs/provider is not fresh in {stale:?}; run `cargo xtask docs`");
        }
        return Ok(());
    }
    for name in stale {
        let path = checked_in.join(name);
        match fresh.get(name) {
            Some(text) => {
                let dir = path.parent().context("a page is in a directory")?;
                fs::create_dir_all(dir)?;
                fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
                println!("wrote {}", path.display());
            }
            None => {
                fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
                println!("removed {}", path.display());
            }
        }
    }
    Ok(())
}

/// Text of each page below `root`, by relative path.
fn pages(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut pages = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("can't read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
                pages.insert(path.strip_prefix(root)?.to_owned(), text);
            }
        }
    }
    Ok(pages)
}
