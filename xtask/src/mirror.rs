//! `provider-mirror`: the Terraform provider as `terraform init` takes it where there is no registry.
//!
//! One tree serves three ways: as a `filesystem_mirror`, unpacked into /usr/share/terraform/plugins without any
//! configuration, and behind a web server as a `network_mirror`. Beside it the files that a registry wants.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The provider's address.
const ADDRESS: &str = "registry.terraform.io/chandelier/lustre";

/// What to pack, and where to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory that gets `mirror/` and `release/`; it is made.
    #[arg(long, default_value = "target/provider")]
    output: PathBuf,
    /// The provider's program, instead of building it for release.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The platform that the program is for, as Terraform says it.
    #[arg(long, default_value = platform())]
    platform: String,
}

/// This machine, in Go's words.
fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" }
}

/// Packs the provider. Platforms that are in the mirror already stay there, so that two calls make a mirror for both.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let version = env!("CARGO_PKG_VERSION");
    let program = match &args.binary {
        Some(program) => program.clone(),
        None => build(&root)?,
    };
    let program = fs::read(&program).with_context(|| format!("can't read {}", program.display()))?;
    let license = fs::read(root.join("LICENSE"))?;

    let mirror = args.output.join("mirror").join(ADDRESS);
    let release = args.output.join("release");
    for dir in [&mirror, &release] {
        fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    }
    let name = format!("terraform-provider-lustre_{version}_{}.zip", args.platform);
    let zip = mirror.join(&name);
    pack(&zip, &[(&format!("terraform-provider-lustre_v{version}"), &program, 0o755), ("LICENSE", &license, 0o644)])?;
    fs::copy(&zip, release.join(&name))?;

    // For a registry: what the provider speaks, and the sums that somebody signs.
    let manifest = json!({ "version": 1, "metadata": { "protocol_versions": ["6.0"] } });
    let manifest_name = format!("terraform-provider-lustre_{version}_manifest.json");
    write_json(&release.join(manifest_name), &manifest)?;
    write_sums(&release, version)?;

    // For a web server: which versions there are, and what is in each.
    let mut archives = serde_json::Map::new();
    for name in zips(&mirror, version)? {
        let platform = name.trim_end_matches(".zip").rsplitn(3, '_').take(2).collect::<Vec<_>>();
        let [arch, os] = platform[..] else { continue };
        let hash = format!("zh:{}", sum(&mirror.join(&name))?);
        archives.insert(format!("{os}_{arch}"), json!({ "url": name, "hashes": [hash] }));
    }
    write_json(&mirror.join("index.json"), &json!({ "versions": { version: {} } }))?;
    write_json(&mirror.join(format!("{version}.json")), &json!({ "archives": archives }))?;
    println!("{}", zip.display());
    Ok(())
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "terraform-provider-lustre"])
        .current_dir(root)
        .status()
        .context("can't start cargo")?;
    ensure!(status.success(), "can't build the provider");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/terraform-provider-lustre"))
}

/// A zip of these files: name, contents, mode. The same files give the same bytes, whenever it is made.
fn pack(path: &Path, files: &[(&str, &[u8], u32)]) -> anyhow::Result<()> {
    let mut zip = ZipWriter::new(File::create(path).with_context(|| format!("can't write {}", path.display()))?);
    for (name, contents, mode) in files {
        // Without the mode terraform installs it, and can't start it.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(*mode);
        zip.start_file(*name, options)?;
        zip.write_all(contents)?;
    }
    zip.finish()?.sync_all()?;
    Ok(())
}

/// The packages of a version in a directory, sorted.
fn zips(dir: &Path, version: &str) -> anyhow::Result<Vec<String>> {
    let prefix = format!("terraform-provider-lustre_{version}_");
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".zip") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn write_sums(release: &Path, version: &str) -> anyhow::Result<()> {
    let mut names = zips(release, version)?;
    names.push(format!("terraform-provider-lustre_{version}_manifest.json"));
    let mut sums = String::new();
    for name in names {
        sums += &format!("{}  {name}\n", sum(&release.join(&name))?);
    }
    Ok(fs::write(release.join(format!("terraform-provider-lustre_{version}_SHA256SUMS")), sums)?)
}

fn sum(path: &Path) -> anyhow::Result<String> {
    let digest = Sha256::digest(fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_json(path: &Path, json: &serde_json::Value) -> anyhow::Result<()> {
    Ok(fs::write(path, serde_json::to_string_pretty(json)? + "\n")?)
}
