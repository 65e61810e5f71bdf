//! The daemon as a process, and targets that are reserved and registered there.

#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lustre_api::target::{Register, RegisterTarget, Reserve, ReserveTarget, TargetPath, TargetSpec};
use lustre_api::{Nothing, WriteQuery};
use lustre_types::{SvName, TargetKind};
use rest::{Client, ClientError};

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

/// An OST of `scratch` on a device of `oss1`.
pub fn ost(device: &str) -> TargetSpec {
    TargetSpec::new(TargetKind::Ost, Some("scratch".parse().unwrap()), "oss1".parse().unwrap(), device)
}

/// Reserves an index for such an OST; its name, and the token to register it with.
pub async fn reserve(client: &Client, device: &str) -> Result<(SvName, String), ClientError> {
    let body = Reserve { target: ost(device), ttl_s: None };
    let written = client.call::<ReserveTarget>(&Nothing {}, &WriteQuery::default(), &body).await?;
    Ok((written.object.target.svname, written.object.token))
}

pub async fn register(client: &Client, svname: &SvName, token: &str) -> Result<(), ClientError> {
    let body = Register {
        token: token.into(),
        label: svname.to_string().replacen('-', ":", 1),
        uuid: format!("uuid of {svname}"),
        size_bytes: 1 << 40,
        nids: vec!["10.0.0.2@tcp".parse().unwrap()],
    };
    let path = TargetPath { svname: svname.clone() };
    client.call::<RegisterTarget>(&path, &WriteQuery::default(), &body).await.map(drop)
}
