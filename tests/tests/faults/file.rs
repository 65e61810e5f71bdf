//! One MGS on a file, killed again and again.

use std::time::Duration;

use testkit::{Mgs, linear};

use crate::api::Api;
use crate::random::Random;
use crate::registers::Callers;

/// How often it is killed.
const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_mgs_on_a_file_says_under_kill_9_is_explained_by_one_order() -> anyhow::Result<()> {
    let mut mgs = Mgs::start()?;
    let mut random = Random::new(3);
    let api = Api::new(vec![mgs.endpoint().to_owned()]);
    let callers = Callers::start(6, &api, &mut random);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(100 + random.next() % 400)).await;
        mgs.crash_and_restart()?;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let history = callers.stop().await;
    let known = history.iter().filter(|operation| operation.returned.is_some()).count();
    linear::check(&history)?;
    println!("{} operations, {known} answered, in one order", history.len());
    anyhow::ensure!(known > 50, "too few operations were answered to say anything: {known} of {}", history.len());
    Ok(())
}
