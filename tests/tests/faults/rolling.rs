//! Three instances of an older program become ones of this program, one after the other, under followers, registrations,
//! changes and formats. Then the version of the state rises, and the older program refuses it.
//!
//! `cargo xtask ci rolling` builds the older program from the history of the repository and says where it is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lustre_wire::mgs::target_flag;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{HaCluster, contained, linear};

use crate::api::Answer;
use crate::followers::{self, Follower};
use crate::jobs::Formats;
use crate::random::Random;
use crate::registers::Callers;
use crate::site::{LOG, RECOVERY, Site};

/// Where the older program is.
const OLDER: &str = "LUSTRE_OLDER_MGS";
/// The first version of the state, which the older program writes, and the one of this program.
const VERSIONS: [u64; 2] = [1, 2];

#[test]
#[ignore = "needs an older program; cargo xtask ci rolling builds it"]
fn older_instances_are_replaced_one_by_one_and_nothing_acknowledged_and_no_follower_is_lost() -> anyhow::Result<()> {
    let test = "rolling::older_instances_are_replaced_one_by_one_and_nothing_acknowledged_and_no_follower_is_lost";
    contained(test, || {
        let older = std::env::var_os(OLDER).map(PathBuf::from);
        let older = older.with_context(|| format!("{OLDER} does not name a program; run `cargo xtask ci rolling`"))?;
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(story(older))
    })
}

async fn story(older: PathBuf) -> anyhow::Result<()> {
    let newer = testkit::binary("lustre-mgs")?;
    let mut site = Site::on(HaCluster::start_program(&older, &[])?).await?;
    for fsname in ["spare", "jobs"] {
        site.must(Method::PUT, &format!("/v1/filesystems/{fsname}"), json!({"name": fsname})).await?;
    }
    let mut formats = Formats::start_enrolling(&site.cluster)?;
    let followers = followers::start(12, LOG, &site.nids(0)).await?;
    site.converges(&followers).await?;
    let callers = Callers::start(4, &site.api, &mut Random::new(11));

    // The one that runs the jobs comes last: until then an older program hands out the steps, and is seen.
    let runner = site.runs_the_jobs().await?;
    let order = [(runner + 1) % 3, (runner + 2) % 3, runner];
    let mut step = 0;
    site.everything_goes_on(&mut formats, &followers, &mut step).await?;
    for at in order {
        site.cluster.mgs[at].kill();
        // A follower of it goes on with another, and a change is told meanwhile.
        site.set_param().await?;
        site.cluster.mgs[at].replace(&newer)?;
        site.is_whole().await?;
        site.everything_goes_on(&mut formats, &followers, &mut step).await?;
        site.shows_the_same().await?;
        ensure!(site.state_version(at).await? == VERSIONS[0], "the version rose although nothing needed it");
        if at != runner {
            let (status, why) = site.drain(at).await?;
            let names_it =
                why.contains("needs version 2 of the state") && why.contains("upgrade lustre-mgs there first");
            ensure!(status == StatusCode::CONFLICT && names_it, "instance {at} said {status}: {why}");
        }
        println!("instance {at} is of the newer program");
    }
    let history = callers.stop().await;
    site.check().await?;
    formats.check(&site.api).await?;
    linear::check(&history)?;

    // Nobody is left that would not understand it.
    let (status, said) = site.drain_in_the_end(order[0]).await?;
    ensure!(status.is_success(), "{status}: {said}");
    for at in order {
        ensure!(site.state_version(at).await? == VERSIONS[1], "instance {at}");
    }
    let before = site.revision(order[1]).await?;
    let refused = site.cluster.mgs[order[0]].replace(&older);
    ensure!(refused.is_err(), "the older program took a state that it does not know");
    let log = site.cluster.mgs[order[0]].log()?;
    let says = "the state in this store is of version 2, and this program (0.1.0) knows none beyond 1";
    ensure!(log.contains(says) && log.contains("install that program"), "{log}");
    let changed: Vec<String> = site.commits_since(order[1], before).await?;
    // What the others do for the one that was killed.
    let touched: Vec<_> = changed.iter().filter(|why| !why.contains("take on") && !why.is_empty()).collect();
    ensure!(touched.is_empty(), "the older program changed something: {touched:?}");
    site.cluster.mgs[order[0]].replace(&newer)?;
    site.is_whole().await?;
    site.check().await?;
    site.converges(&followers).await?;
    let known = history.iter().filter(|operation| operation.returned.is_some()).count();
    println!("{known} of {} operations answered, in one order", history.len());
    ensure!(known > 100, "too few operations were answered to say anything");
    Ok(())
}

impl Site {
    /// Writes, registrations and a format through each instance; every follower is told.
    async fn everything_goes_on(
        &mut self,
        formats: &mut Formats,
        followers: &[Follower],
        step: &mut u32,
    ) -> anyhow::Result<()> {
        for at in 0..self.api.urls.len() {
            *step += 1;
            self.reserve(at, &format!("/dev/disk{step}")).await;
            // Through the instance of that number.
            self.register(target_flag::OST, *step).await?;
        }
        self.set_param().await?;
        self.converges(followers).await?;
        let job = formats.begin(self).await?;
        formats.is_done(&self.api, &job).await
    }

    /// The instance that runs the jobs, once one does.
    async fn runs_the_jobs(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            for at in 0..self.api.urls.len() {
                let duties = self.mgs(at).await?["duties"].clone();
                if duties.as_array().is_some_and(|duties| duties.iter().any(|duty| duty == "jobs")) {
                    return Ok(at);
                }
            }
            ensure!(Instant::now() < deadline, "nobody runs the jobs");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn get(&self, at: usize, path: &str) -> anyhow::Result<Value> {
        match self.api.ask(at, Method::GET, path, None).await {
            Answer::Good { body, is_stale: false } => Ok(body),
            other => anyhow::bail!("{path} from instance {at}: {other:?}"),
        }
    }

    async fn mgs(&self, at: usize) -> anyhow::Result<Value> {
        self.get(at, "/v1/mgs").await
    }

    async fn revision(&self, at: usize) -> anyhow::Result<u64> {
        self.mgs(at).await?["revision"].as_u64().context("a revision is a number")
    }

    /// As this program's instances tell it.
    async fn state_version(&self, at: usize) -> anyhow::Result<u64> {
        self.mgs(at).await?["state_version"].as_u64().context("an instance of this program tells the version")
    }

    /// Asks for what needs the newer version.
    async fn drain(&self, at: usize) -> anyhow::Result<(StatusCode, String)> {
        let url = format!("{}/v1/nodes/oss1/settings", self.api.urls[at]);
        let answer = reqwest::Client::new().put(url).json(&json!({"drained": "new cables"})).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// As [`Site::drain`], until the lease of the one that was killed last is over.
    async fn drain_in_the_end(&self, at: usize) -> anyhow::Result<(StatusCode, String)> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let (status, said) = self.drain(at).await?;
            if status != StatusCode::CONFLICT || Instant::now() > deadline {
                return Ok((status, said));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What each commit since a revision did.
    async fn commits_since(&self, at: usize, revision: u64) -> anyhow::Result<Vec<String>> {
        let history = self.get(at, &format!("/v1/history?after={revision}&limit=1000")).await?;
        let commits = history["items"].as_array().cloned().context("a history has commits")?;
        Ok(commits.iter().map(|commit| commit["why"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Every instance has the same objects, at the same revisions of theirs; a newer one may say more of them.
    async fn shows_the_same(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RECOVERY;
        'again: loop {
            let mut seen: Vec<Value> = Vec::new();
            for at in 0..self.api.urls.len() {
                let mut snapshot = self.get(at, "/v1/snapshot?fsname=scratch").await?;
                // Begins with the instance's own NID.
                snapshot["filesystems"][0]["mount_source"] = Value::Null;
                seen.push(snapshot);
            }
            for part in ["filesystems", "targets", "params", "pools", "nodemaps"] {
                let same = |one: &Value, two: &Value| holds(&one[part], &two[part]) || holds(&two[part], &one[part]);
                if !seen.windows(2).all(|two| same(&two[0], &two[1])) {
                    let all: Vec<&Value> = seen.iter().map(|one| &one[part]).collect();
                    ensure!(Instant::now() < deadline, "{part} differ: {all:#?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue 'again;
                }
            }
            return Ok(());
        }
    }
}

/// Whether all of `part` is in `all`.
fn holds(all: &Value, part: &Value) -> bool {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            part.iter().all(|(name, part)| all.get(name).is_some_and(|all| holds(all, part)))
        }
        (Value::Array(all), Value::Array(part)) => {
            all.len() == part.len() && all.iter().zip(part).all(|(all, part)| holds(all, part))
        }
        _ => all == part,
    }
}
