//! `ansible-collection`: builds the module program and the collection around it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::elf;

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the program, put into the collection tree; no tarball.
    #[arg(long)]
    no_tarball: bool,
    /// Architectures, as `uname -m` says them. Each needs its Rust target (`rustup target add ARCH-unknown-linux-musl`), no linker.
    #[arg(long, default_values_t = ["x86_64".to_owned(), "aarch64".to_owned()], value_delimiter = ',')]
    arch: Vec<String>,
}

/// Builds one static program per architecture, with its SHA-256 beside it, and `target/chandelier-lustre-*.tar.gz`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let collection = root.join("ansible-modules/collection");
    let target_dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    for arch in &args.arch {
        program(&root, &target_dir, &collection.join("plugins/bin"), arch)?;
    }
    if args.no_tarball {
        return Ok(());
    }
    let galaxy = root.join(".venv/bin/ansible-galaxy");
    let galaxy = if galaxy.exists() { galaxy } else { PathBuf::from("ansible-galaxy") };
    let mut build = Command::new(&galaxy);
    build.args(["collection", "build", "--force", "--output-path"]).arg(&target_dir).arg(&collection);
    let status = build.status();
    let status = status.with_context(|| format!("can't start {}; run ansible-modules/ci.sh venv", galaxy.display()))?;
    ensure!(status.success(), "ansible-galaxy collection build failed");
    Ok(())
}

fn program(root: &Path, target_dir: &Path, bin: &Path, arch: &str) -> anyhow::Result<()> {
    let triple = format!("{arch}-unknown-linux-musl");
    // musl is linked statically, by the linker and with the start files that come with Rust: the program runs on hosts with
    // any libc or none, and no cross compiler is needed.
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--profile", "module", "-p", "lustre-modules", "--bin", "lustre-modules"])
        .args(["--target", &triple])
        .env(
            "RUSTFLAGS",
            "-C linker=rust-lld -C linker-flavor=ld.lld -C link-self-contained=yes -C target-feature=+crt-static",
        )
        .current_dir(root)
        .status()
        .context("can't start cargo")?;
    ensure!(status.success(), "can't build the module program for {arch}: is `rustup target add {triple}` done?");
    let built = target_dir.join(&triple).join("module/lustre-modules");
    elf::check_is_static(&built, arch)?;
    let placed = bin.join(format!("lustre-modules.{arch}"));
    fs::create_dir_all(bin).with_context(|| format!("can't make {}", bin.display()))?;
    // By a rename: a play that runs it right now keeps its copy.
    let new = placed.with_extension(format!("{arch}.new"));
    fs::copy(&built, &new).with_context(|| format!("can't copy {}", built.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &placed)?;
    let sum = Command::new("sha256sum").arg(&placed).output().context("can't start sha256sum")?;
    ensure!(sum.status.success(), "sha256sum failed");
    let sum = String::from_utf8(sum.stdout)?;
    let sum = sum.split_whitespace().next().context("sha256sum said nothing")?;
    fs::write(bin.join(format!("lustre-modules.{arch}.sha256")), format!("{sum}\n"))?;
    println!("{} ({} KiB)", placed.display(), fs::metadata(&placed)?.len() / 1024);
    Ok(())
}
