//! What a person follows with `mgsctl` goes on wherever the MGS is killed: nothing is left out, nothing told twice.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Mgs, contained};

use crate::api::{Answer, Api};
use crate::jobs::Formats;
use crate::site::{RECOVERY, Site};

/// A `mgsctl` that runs; what it prints goes to a file.
struct Followed {
    process: Child,
    said: tempfile::TempDir,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Followed {
    fn start(urls: &[String], arguments: &[&str]) -> anyhow::Result<Self> {
        let said = tempfile::tempdir()?;
        let mut command = Command::new(testkit::binary("mgsctl")?);
        command.args(["--endpoint", &urls.join(","), "-o", "json"]).args(arguments).stdin(Stdio::null());
        command.stdout(std::fs::File::create(said.path().join("out"))?);
        command.stderr(std::fs::File::create(said.path().join("err"))?);
        Ok(Self { process: command.spawn()?, said })
    }

    /// The lines that it has printed, whole ones only.
    fn lines(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.said.path().join("out"))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    fn complaints(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.said.path().join("err"))?)
    }

    /// Waits until it has printed such a line.
    async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        while !self.lines()?.iter().any(&is_it) {
            let ended = self.process.try_wait()?;
            ensure!(ended.is_none(), "it ended with {ended:?}: {}", self.complaints()?);
            ensure!(Instant::now() < deadline, "it never told {what}: {}", self.complaints()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits for its end: it worked, and the last that it told is in this state.
    async fn ends_with(&mut self, state: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it does not end: {}", self.complaints()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let said = std::fs::read_to_string(self.said.path().join("out"))?;
        ensure!(status.success(), "{status}: {said} {}", self.complaints()?);
        let job: Value = serde_json::from_str(&said)?;
        ensure!(job["state"] == state, "it ended with {said}");
        Ok(())
    }
}

/// Changes something, as often as it takes; gives the revision.
async fn describe(api: &Api, text: &str) -> anyhow::Result<u64> {
    let deadline = Instant::now() + RECOVERY;
    for at in (0..api.urls.len()).cycle() {
        let body = json!({"name": "followed", "description": text});
        match api.ask(at, Method::PUT, "/v1/filesystems/followed", Some(&body)).await {
            Answer::Good { body, .. } => return body["revision"].as_u64().context("it has a revision"),
            other => ensure!(Instant::now() < deadline, "never acknowledged: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("a cycle has no end")
}

/// Every revision behind one, as the MGS's history has them.
async fn history(api: &Api, mut after: u64) -> anyhow::Result<Vec<u64>> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/history?limit=500&after={after}");
        let Answer::Good { body, .. } = api.ask(0, Method::GET, &path, None).await else {
            anyhow::bail!("no history");
        };
        let events = body["items"].as_array().context("a page")?;
        let changing = events.iter().filter(|event| event["changes"].as_array().is_some_and(|list| !list.is_empty()));
        all.extend(changing.filter_map(|event| event["revision"].as_u64()));
        match body["next"].as_str() {
            Some(next) => after = next.parse()?,
            None => return Ok(all),
        }
    }
}

/// It told every revision behind `begin` up to `end`, in order and once.
async fn told_all(events: &mut Followed, api: &Api, begin: u64, end: u64) -> anyhow::Result<()> {
    events.until("the last change", |event| event["revision"].as_u64() >= Some(end)).await?;
    let told: Vec<u64> = events.lines()?.iter().filter_map(|event| event["revision"].as_u64()).collect();
    let told: Vec<u64> = told.into_iter().filter(|revision| *revision <= end).collect();
    let there: Vec<u64> = history(api, begin).await?.into_iter().filter(|revision| *revision <= end).collect();
    ensure!(told == there, "told {told:?}, but there were {there:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_on_behind_the_last_one_each_time_that_the_mgs_is_killed_and_restarted() -> anyhow::Result<()> {
    let mut mgs = Mgs::start()?;
    let api = Api::new(vec![mgs.endpoint().to_owned()]);
    let begin = describe(&api, "before").await?;
    let mut events = Followed::start(&api.urls, &["events", "-f", "--after", &begin.to_string()])?;
    let mut last = begin;
    for round in 0..5 {
        last = describe(&api, &format!("before kill {round}")).await?;
        if round % 2 == 0 {
            events.until("a change", |event| event["revision"] == last).await?;
        }
        mgs.crash_and_restart()?;
        // Before it is back, as far as it can be.
        last = describe(&api, &format!("after kill {round}")).await?.max(last);
    }
    told_all(&mut events, &api, begin, last).await
}

#[test]
fn what_mgsctl_follows_moves_on_to_the_next_instance_and_waits_where_there_is_none() -> anyhow::Result<()> {
    contained("mgsctl::what_mgsctl_follows_moves_on_to_the_next_instance_and_waits_where_there_is_none", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async { moves_on(Site::start().await?).await })
    })
}

async fn moves_on(mut site: Site) -> anyhow::Result<()> {
    let urls = site.api.urls.clone();
    site.must(Method::PUT, "/v1/filesystems/jobs", json!({"name": "jobs"})).await?;
    let mut formats = Formats::start(&site.cluster, &site.api).await?;
    let begin = describe(&site.api, "before").await?;
    let mut events = Followed::start(&urls, &["events", "-f", "--after", &begin.to_string()])?;
    let mut all_jobs = Followed::start(&urls, &["job", "watch"])?;
    let mut jobs = Vec::new();
    for at in 0..3 {
        let job = formats.begin(&site).await?;
        let mut one = Followed::start(&urls, &["job", "watch", &job])?;
        all_jobs.until("a job", |line| line["id"] == *job).await?;
        site.cluster.mgs[at].kill();
        describe(&site.api, &format!("without instance {at}")).await?;
        one.ends_with("done").await?;
        site.cluster.mgs[at].start()?;
        site.is_whole().await?;
        jobs.push(job);
    }
    // Nobody is there for a while.
    site.cluster.mgs.iter_mut().for_each(testkit::Instance::kill);
    for follower in [&events, &all_jobs] {
        let deadline = Instant::now() + RECOVERY;
        while !follower.complaints()?.contains("the MGS is away, waiting for it") {
            ensure!(Instant::now() < deadline, "it does not say that it waits: {}", follower.complaints()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for instance in &mut site.cluster.mgs {
        instance.start()?;
    }
    site.is_whole().await?;
    formats.node_lives(&site.api).await?;
    let job = formats.begin(&site).await?;
    jobs.push(job.clone());
    all_jobs.until("the end of the last job", |line| line["id"] == *job && line["state"] == "done").await?;
    let last = describe(&site.api, "the last word").await?;
    told_all(&mut events, &site.api, begin, last).await?;
    let ends = all_jobs.lines()?.into_iter().filter(|line| line["state"] == "done");
    let ends: Vec<String> = ends.filter_map(|line| line["id"].as_str().map(str::to_owned)).collect();
    ensure!(ends == jobs, "told the ends of {ends:?}; there were {jobs:?}");
    Ok(())
}
