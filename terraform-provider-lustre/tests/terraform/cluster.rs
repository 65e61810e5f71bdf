//! A real MGS, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// An MGS on a store file, on a port of its own; stopped when dropped.
pub(crate) struct Mgs {
    pub(crate) endpoint: String,
    process: Child,
    dir: TempDir,
}

/// A binary of this build, built beside the provider.
pub(crate) fn binary(name: &str) -> PathBuf {
    let provider = Path::new(env!("CARGO_BIN_EXE_terraform-provider-lustre"));
    let path = provider.with_file_name(name);
    assert!(path.exists(), "{} is not built; run `cargo build -p {name}` first", path.display());
    path
}

impl Mgs {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (process, endpoint) = spawn(dir.path(), "127.0.0.1:0");
        Self { endpoint, process, dir }
    }

    /// Kills it without warning, and starts it again at the same place.
    pub(crate) fn crash_and_restart(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("dead");
        let address = self.endpoint.trim_start_matches("http://").to_owned();
        (self.process, self.endpoint) = spawn(self.dir.path(), &address);
    }
}

fn spawn(dir: &Path, address: &str) -> (Child, String) {
    let mut process = Command::new(binary("lustre-mgs"))
        .args(["--listen", address, "--nid", "10.0.0.1@tcp", "--store"])
        .arg(dir.join("mgs.redb"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("lustre-mgs");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let url = lines.find_map(|line| line.expect("UTF-8").strip_prefix("listening on ").map(str::to_owned));
    let url = url.expect("the MGS says where it listens");
    // The pipe stays drained.
    std::thread::spawn(move || lines.count());
    (process, url)
}

impl Drop for Mgs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
