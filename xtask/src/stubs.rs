//! `stubs`: the generated files of the Ansible collection.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// What to do with them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only says whether they are fresh.
    #[arg(long)]
    check: bool,
}

/// Writes them, or with `--check` fails if one is not what the modules' declarations say.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let collection = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ansible-modules/collection");
    let mut stale = Vec::new();
    for (path, content) in lustre_modules::stubs::files() {
        let file = collection.join(&path);
        if fs::read_to_string(&file).ok().as_deref() == Some(&content) {
            continue;
        }
        stale.push(path);
        if !args.check {
            let parent = file.parent().expect("every generated file is in a folder");
            fs::create_dir_all(parent).with_context(|| format!("can't make {}", parent.display()))?;
            fs::write(&file, content).with_context(|| format!("can't write {}", file.display()))?;
        }
    }
    anyhow::ensure!(!args.check || stale.is_empty(), "{} not fresh; run cargo xtask stubs", stale.join(", "));
    println!("{} files of the collection written", stale.len());
    Ok(())
}
