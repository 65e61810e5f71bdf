//! The daemon as a process.

#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rest::Client;

/// A running daemon; killed when dropped.
pub struct Daemon {
    pub process: Child,
    pub url: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn command(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lustre-mgs"));
    command.arg("--store").arg(store).args(["--listen", "127.0.0.1:0", "--nid", "10.0.0.1@tcp", "--log", "warn"]);
    command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Daemon {
    pub fn start(store: &Path) -> Self {
        Self::wait_for(&mut command(store))
    }

    pub fn wait_for(command: &mut Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_else(|| {
            let mut err = String::new();
            process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("the daemon did not start: {err}");
        });
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url, None).unwrap()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
