//! Formats on a node with a real agent, while things break: each ends, as it should, and was begun once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Agent, HaCluster};

use crate::api::{Answer, Api};
use crate::site::{RECOVERY, Site};

/// The node, and its file system.
const NODE: &str = "oss1";
const FSNAME: &str = "jobs";
const DEVICE_BYTES: u64 = 64 << 20;

/// A `mke2fs` that takes its time, and notes that it was asked to format.
const SLOW_MKE2FS: &str = r#"#!/bin/sh
case " $* " in *" -U "*)
  echo "$*" >> "$(dirname "$0")/../formats"
  sleep 2
esac
PATH="${PATH#*:}:/usr/sbin:/sbin" exec mke2fs "$@"
"#;

/// The node with its agent, and the formats that it was asked for.
pub(crate) struct Formats {
    pub(crate) agent: Agent,
    dir: PathBuf,
    /// Devices, by the name of the job that formats each.
    devices: BTreeMap<String, PathBuf>,
}

impl Formats {
    /// Starts the agent, and waits until every instance knows that it lives.
    pub(crate) async fn start(cluster: &HaCluster, site: &Api) -> anyhow::Result<Self> {
        let formats = Self::start_enrolling(cluster)?;
        formats.node_lives(site).await?;
        Ok(formats)
    }

    /// Starts the agent.
    pub(crate) fn start_enrolling(cluster: &HaCluster) -> anyhow::Result<Self> {
        let agent = cluster.agent(NODE)?;
        let mke2fs = agent.bin()?.join("mke2fs");
        std::fs::write(&mke2fs, SLOW_MKE2FS)?;
        std::fs::set_permissions(&mke2fs, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let dir = agent.bin()?.join("..");
        Ok(Self { agent, dir, devices: BTreeMap::new() })
    }

    /// Waits until every instance says that the node lives.
    pub(crate) async fn node_lives(&self, api: &Api) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        for at in 0..api.urls.len() {
            loop {
                let answer = api.ask(at, Method::GET, &format!("/v1/nodes/{NODE}"), None).await;
                if matches!(&answer, Answer::Good { body, is_stale: false } if body["is_alive"] == true) {
                    break;
                }
                ensure!(Instant::now() < deadline, "instance {at} does not say that {NODE} lives: {answer:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Asks for a format, and waits until the node is at it.
    pub(crate) async fn begin(&mut self, site: &Site) -> anyhow::Result<String> {
        let job = format!("format-{}", self.devices.len());
        let device = self.agent.image(&job, DEVICE_BYTES)?;
        let target = json!({"kind": "ost", "filesystem": FSNAME, "node": NODE, "device": device});
        site.must(Method::POST, &format!("/v1/targets?job={job}"), json!({"target": target})).await?;
        self.devices.insert(job.clone(), device.clone());
        let deadline = Instant::now() + RECOVERY;
        while self.count_of(&device)? == 0 {
            ensure!(Instant::now() < deadline, "the format of {} never began", device.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(job)
    }

    /// Waits until every instance says that a job is done.
    pub(crate) async fn is_done(&self, api: &Api, job: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        for at in 0..api.urls.len() {
            loop {
                let answer = api.ask(at, Method::GET, &format!("/v1/jobs/{job}"), None).await;
                if let Answer::Good { body, is_stale: false } = &answer {
                    let state = body["state"].as_str().context("a job has a state")?;
                    ensure!(!["failed", "cancelled"].contains(&state), "{job}: {body}");
                    if state == "done" {
                        break;
                    }
                }
                ensure!(Instant::now() < deadline, "{job} is not done on instance {at}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Each device was formatted once, as another target; gives how many.
    pub(crate) async fn check(&self, api: &Api) -> anyhow::Result<usize> {
        let mut targets: Vec<Value> = Vec::new();
        for (job, device) in &self.devices {
            self.is_done(api, job).await?;
            ensure!(self.count_of(device)? == 1, "{job} began {} formats", self.count_of(device)?);
            let Answer::Good { body, .. } = api.ask(0, Method::GET, &format!("/v1/jobs/{job}"), None).await else {
                anyhow::bail!("{job} is gone");
            };
            ensure!(!targets.contains(&body["svname"]), "{job} is of a target that another one made: {body}");
            targets.push(body["svname"].clone());
        }
        Ok(targets.len())
    }

    /// How often `mke2fs` was begun on a device.
    fn count_of(&self, device: &std::path::Path) -> anyhow::Result<usize> {
        let noted = std::fs::read_to_string(self.dir.join("formats")).unwrap_or_default();
        let name = device.to_str().context("a name in UTF-8")?;
        Ok(noted.lines().filter(|line| line.split(' ').any(|word| word == name)).count())
    }
}
