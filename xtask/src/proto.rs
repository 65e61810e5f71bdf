//! Generates `crates/tfplugin-proto/src/generated` from the `.proto` files beside it.
//!
//! The generated code is checked in, so that building the provider needs neither protoc nor the 40 crates of the
//! generator; `--check` compares and is what CI runs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail};

/// Files of the protocol, in `crates/tfplugin-proto/proto`.
const PROTOS: [&str; 2] = ["tfplugin6.proto", "go_plugin.proto"];

/// Arguments of `cargo xtask proto`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails if a checked-in file differs from what would be generated.
    #[arg(long)]
    check: bool,
}

/// Writes the generated files, or with `--check` compares them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let krate = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tfplugin-proto");
    let checked_in = krate.join("src/generated");
    let fresh = generate(&krate.join("proto"))?;
    let mut stale = Vec::new();
    for (name, text) in &fresh {
        let path = checked_in.join(name);
        let old = match fs::read_to_string(&path) {
            Ok(old) => Some(old),
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => return Err(err).with_context(|| format!("can't read {}", path.display())),
        };
        if old.as_deref() == Some(text) {
            continue;
        }
        if args.check {
            stale.push(name.clone());
        } else {
            fs::create_dir_all(&checked_in)?;
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    if !stale.is_empty() {
        bail!("{} of crates/tfplugin-proto/src/generated not fresh; run `cargo xtask proto`", stale.join(", "));
    }
    Ok(())
}

/// (file name, contents) of each generated file.
fn generate(protos: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let descriptors = protox::compile(PROTOS, [protos]).context("the .proto files don't compile")?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .build_client(false)
        // A call that the crate does not serve answers UNIMPLEMENTED, as terraform expects of an older provider.
        .generate_default_stubs(true)
        // A state of megabytes is not copied out of the HTTP/2 frame.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .context("no Rust code from the .proto files")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(out.path())? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().context("a generated file has a name")?.to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(&path)?));
    }
    files.sort();
    Ok(files)
}
