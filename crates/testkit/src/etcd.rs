//! A real etcd on loopback.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// One etcd server of a cluster of one; killed, and its data removed, when dropped.
pub struct Etcd {
    process: Child,
    dir: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Etcd {
    /// Starts one on a port that the kernel chose. Errors: it is not installed, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Etcd::start`], with more options.
    pub fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        // In memory where there is such a place: what survives a power loss is etcd's business, not ours.
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, port) = run(dir.path(), "http", 0, &options)?;
        Ok(Self { process, dir, port, options })
    }

    /// One that speaks TLS only, and only with clients that have a certificate of the authority `ca` (PEM files).
    pub fn start_tls(ca: &Path, cert: &Path, key: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = |path: &Path| path.display().to_string();
        let options = [
            "--client-cert-auth",
            "--trusted-ca-file",
            &path(ca),
            "--cert-file",
            &path(cert),
            "--key-file",
            &path(key),
        ];
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (process, port) = run(dir.path(), "https", 0, &options)?;
        Ok(Self { process, dir, port, options })
    }

    /// `host:port` of its clients.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a store in it.
    pub fn url(&self, prefix: &str) -> String {
        format!("etcd://{}/{prefix}", self.endpoint())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, with the same data on the same port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = run(self.dir.path(), "http", self.port, &self.options)?.0;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn freeze(&self) -> anyhow::Result<()> {
        crate::signal(&self.process, "STOP")
    }

    /// SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        crate::signal(&self.process, "CONT")
    }

    /// What `etcdctl` answers. Errors: it failed, with what it said.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint()]).args(args);
        let output = command.output().context("can't run etcdctl; tools/setup installs etcd-client")?;
        ensure!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(dir: &Path, scheme: &str, port: u16, options: &[String]) -> anyhow::Result<(Child, u16)> {
    let client = format!("{scheme}://127.0.0.1:{port}");
    let peer = "http://127.0.0.1:0";
    let mut command = Command::new("etcd");
    command.args(["--name", "one", "--data-dir"]).arg(dir.join("data"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", &format!("one={peer}")]);
    // Elected, and leases ended, sooner than by default.
    command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().context("can't run etcd; tools/setup installs it (Debian: etcd-server)")?;
    let log = BufReader::new(process.stderr.take().context("stderr is piped")?);
    let mut copy = File::options().create(true).append(true).open(dir.join("log"))?;
    let (found, served) = mpsc::channel();
    // Reads on for as long as etcd lives, or etcd would stop at its next line.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = writeln!(copy, "{line}");
            let address = line.split("client requests on 127.0.0.1:").nth(1);
            if let Some(port) = address.and_then(|rest| rest.split(',').next()?.parse().ok()) {
                let _ = found.send(port);
            }
        }
    });
    match served.recv_timeout(PATIENCE) {
        Ok(port) => Ok((process, port)),
        Err(_) => {
            let _ = process.kill();
            let _ = process.wait();
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            bail!("etcd did not start: {}", log.lines().rev().take(5).collect::<Vec<_>>().join(" | "))
        }
    }
}
