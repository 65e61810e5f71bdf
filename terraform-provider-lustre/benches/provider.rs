//! What the provider costs: its start, and its CPU per resource in a plan that changes nothing.
//!
//! `cargo bench -p terraform-provider-lustre` (built as released; the MGS must have been built likewise). Prints one line for
//! each measure: `RESULT name=… ratio=… goal=<=…`, ours over the bound or over terraform_data.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Resources in the plan.
const RESOURCES: u32 = 1000;
/// Starts that are measured.
const STARTS: usize = 25;
/// Plans of each kind; the best counts, the rest is noise of the machine.
const PLANS: usize = 3;

fn main() -> anyhow::Result<()> {
    let start = median_start()?;
    println!("start to handshake: median {:.1} ms of {STARTS}", ms(start));
    result("provider_start_to_handshake_vs_10ms", ms(start) / 10.0, 1.0);

    let mgs = Mgs::start()?;
    let ours = Plan::of("lustre", &ours(&mgs.endpoint))?;
    let theirs = Plan::of("terraform_data", &theirs())?;
    println!(
        "{RESOURCES} resources, nothing to do: {:.2} s CPU in all with ours, of which the provider {:.2} s; terraform_data {:.2} s",
        ours.cpu_all, ours.cpu_provider, theirs.cpu_all
    );
    result("provider_cpu_per_resource_vs_0.5ms", ours.cpu_provider * 1000.0 / f64::from(RESOURCES) / 0.5, 1.0);
    result("plan_cpu_vs_terraform_data", ours.cpu_all / theirs.cpu_all, 2.0);
    result("plan_wall_vs_terraform_data", ours.wall / theirs.wall, 2.0);
    Ok(())
}

fn result(name: &str, ratio: f64, goal: f64) {
    println!("RESULT name={name} ratio={ratio:.2} goal=<={goal:.2}");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn provider() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_terraform-provider-lustre"))
}

/// From exec to the handshake line, with TLS, as terraform starts it.
fn median_start() -> anyhow::Result<Duration> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)?;
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let tmp = tempfile::tempdir()?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut child = Command::new(provider())
            .env("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
            .env("PLUGIN_CLIENT_CERT", cert.pem())
            .env("TMPDIR", tmp.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        times.push(start.elapsed());
        child.kill()?;
        child.wait()?;
        ensure!(line.starts_with("1|6|unix|"), "no handshake: {line:?}");
    }
    times.sort();
    Ok(times[STARTS / 2])
}

/// An MGS that keeps nothing; stopped when dropped.
struct Mgs {
    process: Child,
    endpoint: String,
}

impl Mgs {
    fn start() -> anyhow::Result<Self> {
        let path = provider().with_file_name("lustre-mgs");
        ensure!(path.exists(), "{} is not built; run `cargo build --release -p lustre-mgs` first", path.display());
        let mut process = Command::new(&path)
            .args(["--store", "memory:", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut line)?;
        let endpoint = line.trim().strip_prefix("listening on ").context("the MGS says where it listens")?.to_owned();
        Ok(Self { process, endpoint })
    }
}

impl Drop for Mgs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ours(endpoint: &str) -> String {
    format!(
        "terraform {{\n  required_providers {{\n    lustre = {{ source = \"chandelier/lustre\" }}\n  }}\n}}\n\
         provider \"lustre\" {{\n  endpoint = {endpoint:?}\n}}\n\
         resource \"lustre_filesystem\" \"f\" {{\n  count       = {RESOURCES}\n  name        = format(\"fs%04d\", count.index)\n  \
         description = \"number ${{count.index}}\"\n}}\n"
    )
}

fn theirs() -> String {
    format!("resource \"terraform_data\" \"d\" {{\n  count = {RESOURCES}\n  input = \"number ${{count.index}}\"\n}}\n")
}

/// What a plan without changes costs, in seconds.
struct Plan {
    wall: f64,
    cpu_all: f64,
    cpu_provider: f64,
}

impl Plan {
    /// Applies `config`, and then measures plans.
    fn of(what: &str, config: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let bin = dir.path().join("bin");
        fs::create_dir(&bin)?;
        // Runs the provider and notes what it cost: the shell's own `times` knows its children.
        let times = dir.path().join("provider-times");
        let wrapper = format!("#!/bin/sh\n{:?} \"$@\"\nstatus=$?\ntimes >> {times:?}\nexit $status\n", provider());
        let path = bin.join("terraform-provider-lustre");
        fs::write(&path, wrapper)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::write(
            dir.path().join("cli.tfrc"),
            format!(
                "provider_installation {{\n  dev_overrides {{ \"chandelier/lustre\" = {bin:?} }}\n  direct {{}}\n}}\n"
            ),
        )?;
        fs::write(dir.path().join("main.tf"), config)?;
        terraform(dir.path(), "apply -auto-approve", 0).with_context(|| format!("apply of {RESOURCES} {what}"))?;
        let mut best: Option<Self> = None;
        for _ in 0..PLANS {
            fs::write(&times, "")?;
            let start = Instant::now();
            // -detailed-exitcode: 0 says that the plan is empty.
            let cpu_all =
                terraform(dir.path(), "plan -detailed-exitcode", 0).with_context(|| format!("plan of {what}"))?;
            let wall = start.elapsed().as_secs_f64();
            // Two lines a process: of the shell itself, and of what it ran.
            let lines = fs::read_to_string(&times)?;
            let cpu_provider = lines.lines().skip(1).step_by(2).map(cpu).sum::<anyhow::Result<f64>>()?;
            if best.as_ref().is_none_or(|best| cpu_all < best.cpu_all) {
                best = Some(Self { wall, cpu_all, cpu_provider });
            }
        }
        best.context("no plan")
    }
}

/// Runs terraform, and gives the CPU seconds that it and its providers took.
fn terraform(dir: &Path, args: &str, code: i32) -> anyhow::Result<f64> {
    let output = Command::new("sh")
        .args(["-c", &format!("terraform {args} -no-color > out.txt 2>&1; echo $?; times")])
        .current_dir(dir)
        .env("TF_CLI_CONFIG_FILE", dir.join("cli.tfrc"))
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_IN_AUTOMATION", "1")
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    let [status, _, times] = said.lines().collect::<Vec<_>>()[..] else { bail!("the shell said {said:?}") };
    if status.parse() != Ok(code) {
        bail!("terraform {args} ended with {status}:\n{}", fs::read_to_string(dir.join("out.txt"))?);
    }
    cpu(times)
}

/// CPU seconds of a line of `times`: `0m0.12s 0m0.03s`.
fn cpu(line: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for part in line.split_whitespace() {
        let (minutes, seconds) = part.trim_end_matches('s').split_once('m').context("minutes and seconds")?;
        sum += minutes.parse::<f64>()? * 60.0 + seconds.parse::<f64>()?;
    }
    Ok(sum)
}
