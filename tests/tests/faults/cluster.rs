//! Everything breaks, one thing after the other.

use std::time::Instant;

use testkit::{contained, linear};

use crate::break_it::Fault;
use crate::followers;
use crate::jobs::Formats;
use crate::random::Random;
use crate::registers::Callers;
use crate::site::{LOG, Site};

/// How much of it.
struct Size {
    followers: usize,
    targets: u32,
    rounds: usize,
}

/// Seed of the slice that runs with all other tests: what breaks there is always the same.
const SEED: u64 = 7;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_breaks_nothing_acknowledged_is_lost_and_all_followers_converge() -> anyhow::Result<()> {
    contained("cluster::whatever_breaks_nothing_acknowledged_is_lost_and_all_followers_converge", || {
        run(SEED, &Size { followers: 30, targets: 8, rounds: 1 })
    })
}

/// The long one: `cargo xtask ci faults`. `FAULTS_SEED` repeats a run, `FAULTS_ROUNDS` makes it longer.
#[test]
#[ignore = "takes minutes; cargo xtask ci faults runs it"]
fn whatever_breaks_again_and_again_under_a_hundred_followers() -> anyhow::Result<()> {
    contained("cluster::whatever_breaks_again_and_again_under_a_hundred_followers", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let rounds = usize::try_from(number("FAULTS_ROUNDS").unwrap_or(4))?;
        run(number("FAULTS_SEED").unwrap_or(now), &Size { followers: 100, targets: 20, rounds })
    })
}

fn run(seed: u64, size: &Size) -> anyhow::Result<()> {
    println!("seed {seed}; FAULTS_SEED={seed} repeats its faults");
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(story(seed, size))
}

async fn story(seed: u64, size: &Size) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut site = Site::start().await?;
    site.must(reqwest::Method::PUT, "/v1/filesystems/spare", serde_json::json!({"name": "spare"})).await?;
    site.must(reqwest::Method::PUT, "/v1/filesystems/jobs", serde_json::json!({"name": "jobs"})).await?;
    let mut formats = Formats::start(&site.cluster, &site.api).await?;
    let followers = followers::start(size.followers, LOG, &site.nids(0)).await?;
    site.converges(&followers).await?;
    let callers = Callers::start(6, &site.api, &mut random);
    println!("{:6.1} s: {} followers, all is well", begun.elapsed().as_secs_f64(), followers.len());

    let (mut devices, mut next_ost) = (0, 1);
    for _ in 0..size.rounds {
        for fault in Fault::all(&mut random) {
            let job = formats.begin(&site).await?;
            let struck_at = Instant::now();
            let struck = fault.strike(&mut site.cluster, &mut formats.agent)?;
            // Changes go on meanwhile, through every instance. What is acknowledged counts.
            while struck_at.elapsed() < fault.lasts() {
                devices += 1;
                site.reserve(devices % 3, &format!("/dev/disk{devices}")).await;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            struck.mend(&mut site.cluster, &mut formats.agent)?;
            let mended_at = Instant::now();
            site.is_whole().await?;
            if next_ost + 1 < size.targets {
                site.register(lustre_wire::mgs::target_flag::OST, next_ost).await?;
                next_ost += 1;
            }
            site.set_param().await?;
            site.converges(&followers).await?;
            formats.node_lives(&site.api).await?;
            formats.is_done(&site.api, &job).await?;
            let after = mended_at.elapsed().as_secs_f64();
            println!("{:6.1} s: {fault:?}; whole {after:.1} s after it was mended", begun.elapsed().as_secs_f64());
        }
    }
    let history = callers.stop().await;
    site.check().await?;
    let formatted = formats.check(&site.api).await?;
    let known = history.iter().filter(|operation| operation.returned.is_some()).count();
    linear::check(&history)?;
    let (all, took) = (history.len(), begun.elapsed().as_secs_f64());
    println!(
        "{took:6.1} s: {all} operations, {known} answered, in one order; {} followers have it all; {formatted} formats, each once",
        followers.len()
    );
    anyhow::ensure!(known * 2 > all && known > 100, "too few operations were answered to say anything");
    Ok(())
}
