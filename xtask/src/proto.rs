//! Generates the checked-in Rust code of two protocols from the `.proto` files beside it.
//!
//! It is checked in, so that building needs neither protoc nor the 40 crates of the generator; `--check` compares and is
//! what CI runs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail};

/// A protocol: where its `.proto` files and its generated code are, and which half of it is wanted.
struct Protocol {
    protos: &'static str,
    files: &'static [&'static str],
    generated: &'static str,
    is_client: bool,
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol {
        protos: "crates/tfplugin-proto/proto",
        files: &["tfplugin6.proto", "go_plugin.proto"],
        generated: "crates/tfplugin-proto/src/generated",
        is_client: false,
    },
    Protocol {
        protos: "mgs/store/proto",
        files: &["etcd.proto"],
        generated: "mgs/store/src/etcd/generated",
        is_client: true,
    },
];

/// Arguments of `cargo xtask proto`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails if a checked-in file differs from what would be generated.
    #[arg(long)]
    check: bool,
}

/// Writes the generated files, or with `--check` compares them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stale = Vec::new();
    for protocol in &PROTOCOLS {
        refresh(&root, protocol, args.check, &mut stale)?;
    }
    if !stale.is_empty() {
        bail!("{} not fresh; run `cargo xtask proto`", stale.join(", "));
    }
    Ok(())
}

/// Writes one protocol's code, or notes which files are stale.
fn refresh(root: &Path, protocol: &Protocol, check: bool, stale: &mut Vec<String>) -> anyhow::Result<()> {
    let checked_in = root.join(protocol.generated);
    let fresh = generate(&root.join(protocol.protos), protocol)?;
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
        if check {
            stale.push(format!("{}/{name}", protocol.generated));
        } else {
            fs::create_dir_all(&checked_in)?;
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// (file name, contents) of each generated file.
fn generate(protos: &Path, protocol: &Protocol) -> anyhow::Result<Vec<(String, String)>> {
    let descriptors = protox::compile(protocol.files, [protos]).context("the .proto files don't compile")?;
    let out = tempfile::tempdir()?;
    let mut builder = tonic_prost_build::configure();
    if !protocol.is_client {
        // A state of megabytes is not copied out of the HTTP/2 frame.
        builder = builder.bytes(".");
    }
    builder
        .build_client(protocol.is_client)
        .build_server(!protocol.is_client)
        // Whoever makes the channel decides how; the generated constructors would need another feature of tonic.
        .build_transport(false)
        // A call that the crate does not serve answers UNIMPLEMENTED, as terraform expects of an older provider.
        .generate_default_stubs(true)
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
