//! The cluster with everything that goes on in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lustre_mgc::{Mgc, Node, Target};
use lustre_types::Nid;
use lustre_wire::llog::LogFile;
use lustre_wire::mgs::target_flag;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::new_target;
use testkit::HaCluster;

use crate::api::{Answer, Api};
use crate::followers::{Follower, config, node};

/// How long anything may take to be whole again after a fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);
/// The log that is followed.
pub(crate) const LOG: &str = "scratch-client";
const PARAM: &str = "/v1/params/scratch/filesystem/timeout";

pub(crate) struct Site {
    pub(crate) cluster: HaCluster,
    pub(crate) api: Api,
    servers: Node,
    /// Targets, by the name under which they are registered.
    targets: BTreeMap<String, Target>,
    /// Reservations that were acknowledged, by name.
    reserved: BTreeMap<String, String>,
    /// The value of the tunable, the last that was acknowledged.
    value: u64,
}

impl Site {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::on(HaCluster::start(&[])?).await
    }

    /// On a cluster that has just started.
    pub(crate) async fn on(cluster: HaCluster) -> anyhow::Result<Self> {
        let api = Api::new(cluster.mgs.iter().map(testkit::Instance::url).collect());
        let servers = node("10.99.0.1@tcp").await?;
        let (targets, reserved) = (BTreeMap::new(), BTreeMap::new());
        let mut site = Self { cluster, api, servers, targets, reserved, value: 100 };
        site.must(Method::PUT, "/v1/filesystems/scratch", json!({"name": "scratch"})).await?;
        site.register(target_flag::MDT, 0).await?;
        site.register(target_flag::OST, 0).await?;
        Ok(site)
    }

    /// NIDs of the instances, that of `first` first.
    pub(crate) fn nids(&self, first: usize) -> Vec<Nid> {
        let mut nids: Vec<Nid> = self.cluster.mgs.iter().map(|mgs| mgs.nid().parse().unwrap()).collect();
        let first = first % nids.len();
        nids.rotate_left(first);
        nids
    }

    pub(crate) async fn mgc(&self, first: usize) -> anyhow::Result<Mgc> {
        Ok(self.servers.connect(config(self.nids(first))).await?)
    }

    /// Repeats a request at one instance after the other until it is acknowledged.
    pub(crate) async fn must(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let deadline = Instant::now() + RECOVERY;
        for at in (0..self.api.urls.len()).cycle() {
            match self.api.ask(at, method.clone(), path, Some(&body)).await {
                Answer::Good { body, .. } => return Ok(body),
                other => ensure!(Instant::now() < deadline, "{path} was never acknowledged: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("a cycle has no end")
    }

    /// A target registers over LNet and says that it is up, as often as it takes.
    pub(crate) async fn register(&mut self, kind: u32, index: u32) -> anyhow::Result<()> {
        let target = new_target("scratch", kind, index, &["10.99.0.1@tcp"])?;
        let mgc = self.mgc(usize::try_from(index)?).await?;
        let deadline = Instant::now() + RECOVERY;
        loop {
            let done = async {
                mgc.register(&target).await?;
                mgc.ready(&Target { instance: 1, ..target.clone() }).await
            };
            match done.await {
                Ok(_) => break,
                Err(err) => ensure!(Instant::now() < deadline, "{} never registered: {err}", target.svname),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.targets.insert(target.svname.clone(), target);
        Ok(())
    }

    /// Reserves an index for a device through some instance.
    pub(crate) async fn reserve(&mut self, at: usize, device: &str) {
        let target = json!({"kind": "ost", "filesystem": "spare", "node": "oss1", "device": device});
        let body = json!({"target": target, "ttl_s": 604_800});
        // What is not acknowledged may have been reserved: nobody relies on it.
        if let Answer::Good { body, .. } = self.api.ask(at, Method::POST, "/v1/reservations", Some(&body)).await {
            let svname = body["object"]["target"]["svname"].as_str().unwrap().to_owned();
            let before = self.reserved.insert(svname.clone(), device.to_owned());
            assert!(before.is_none(), "{svname} was given to {before:?} and to {device}");
        }
    }

    /// Sets the tunable to a value that it never had.
    pub(crate) async fn set_param(&mut self) -> anyhow::Result<()> {
        self.value += 1;
        let body =
            json!({"filesystem": "scratch", "scope": "filesystem", "name": "timeout", "value": self.value.to_string()});
        self.must(Method::PUT, PARAM, body).await.map(drop)
    }

    /// Waits until every instance is ready, and tells the revision that all have.
    pub(crate) async fn is_whole(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        for at in 0..self.api.urls.len() {
            loop {
                match self.api.ask(at, Method::GET, "/v1/ready", None).await {
                    Answer::Good { .. } => break,
                    other => ensure!(Instant::now() < deadline, "instance {at} is not ready again: {other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// The log as every instance has it.
    async fn log(&self) -> anyhow::Result<LogFile> {
        let mut files = Vec::new();
        for at in 0..self.api.urls.len() {
            let path = format!("/v1/logs/{LOG}/raw");
            files.push(self.api.bytes(at, &path).await.with_context(|| format!("no {LOG} from instance {at}"))?);
        }
        ensure!(files.windows(2).all(|two| two[0] == two[1]), "{LOG} differs between the instances");
        Ok(LogFile::decode(&files[0])?)
    }

    /// Waits until every follower is where the log is.
    pub(crate) async fn converges(&self, followers: &[Follower]) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let log = self.log().await?;
            let lacking: Vec<_> =
                followers.iter().enumerate().filter_map(|(at, f)| Some((at, f.lacks(&log)?))).collect();
            if lacking.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let who = followers[lacking[0].0].mgc.mgs();
                bail!(
                    "{} of {} followers lack something, as {:?} at {who}",
                    lacking.len(),
                    followers.len(),
                    lacking[0]
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything acknowledged is there, on every instance, over the API and over LNet.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let log = lustre_wire::llog::print(&self.log().await?);
        let wanted = format!("sys.timeout={}", self.value);
        ensure!(
            log.contains(&wanted),
            "the log lacks {wanted}: {}",
            log.lines().filter(|l| l.contains("timeout")).collect::<String>()
        );
        for at in 0..self.api.urls.len() {
            for (svname, device) in &self.reserved {
                let Answer::Good { body, .. } =
                    self.api.ask(at, Method::GET, &format!("/v1/targets/{svname}"), None).await
                else {
                    bail!("instance {at} lacks {svname}, which was reserved for {device}");
                };
                ensure!(body["device"] == json!(device), "{svname} was reserved for {device}: {body}");
            }
            let reader = self.servers.connect(config(vec![self.nids(at)[0].clone()])).await?;
            let contents = reader.contents(&["scratch".parse()?]).await?;
            let found = &contents.filesystems["scratch"].targets;
            ensure!(found.len() == self.targets.len(), "instance {at} has {} targets", found.len());
            for (svname, target) in &self.targets {
                let there = found.get(svname).with_context(|| format!("instance {at} lacks {svname}"))?;
                ensure!(there.index == target.index && there.nids == ["10.99.0.1@tcp"], "{svname}: {there:?}");
                // Imperative recovery, as every instance tells it.
                ensure!(there.instance == Some(1) && there.running_at == ["10.99.0.1@tcp"], "{svname}: {there:?}");
            }
        }
        for svname in self.targets.keys().filter(|name| name.contains("OST")) {
            let added = format!("event: add_osc, device: scratch-clilov, ost: {svname}_UUID");
            ensure!(log.matches(&added).count() == 1, "{svname} is in the log {} times", log.matches(&added).count());
        }
        Ok(())
    }
}
