//! Who follows a log is told of what changes.

use std::time::{Duration, Instant};

use lustre_wire::llog::Record;
use lustre_wire::mgs::target_flag;
use testkit::Mgs;

use crate::site::{mdt, mgc, ost};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_a_follower_and_only_the_change() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    let client = mgc("10.9.0.3@tcp", mgs.lnet()?).await?;
    let mut follower = client.follow("scratch-client", 0);
    let first = follower.next().await?;
    assert!(!first.is_empty());
    let after = follower.after();
    let told = tokio::spawn(async move {
        let records = follower.next().await;
        (records, follower)
    });
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let (records, mut follower) = tokio::time::timeout(Duration::from_secs(30), told).await??;
    let records = records?;
    assert!(records.iter().all(|record| record.index > after), "nothing is told twice");
    let commands: Vec<u32> = records.iter().filter_map(|record| Some(record.config()?.ok()?.command)).collect();
    assert!(commands.contains(&lustre_wire::llog::command::LOV_ADD_OBD), "{commands:x?}");

    // A parameter that a target brings along (tunefs.lustre --param) reaches it too.
    let start = Instant::now();
    let told = tokio::spawn(async move { follower.next().await });
    let flags = target_flag::OST | target_flag::UPDATE;
    let params = "osc.max_dirty_mb=64 ".to_owned();
    server.register(&lustre_mgc::Target { flags, params, ..ost("scratch", 0, "10.9.0.2@tcp")? }).await?;
    let records = tokio::time::timeout(Duration::from_secs(30), told).await???;
    let text = |record: &Record| Some(record.config()?.ok()?.text(1).into_owned());
    let texts: Vec<String> = records.iter().filter_map(text).collect();
    assert!(texts.iter().any(|text| text == "osc.max_dirty_mb=64"), "{texts:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunable_set_through_the_api_reaches_whoever_follows() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let client = mgc("10.9.0.3@tcp", mgs.lnet()?).await?;
    let (changes, mut arrived) = tokio::sync::mpsc::channel(16);
    // Which of the logs says it is the MGS's to know: a node follows all that concern it.
    for log in ["scratch-client", "params"] {
        let (mut follower, changes) = (client.follow(log, 0), changes.clone());
        follower.next().await?;
        tokio::spawn(async move {
            while let Ok(records) = follower.next().await {
                let text = |record: &Record| Some(record.config()?.ok()?.text(1).into_owned());
                let texts: Vec<String> = records.iter().filter_map(text).collect();
                if changes.send(texts).await.is_err() {
                    return;
                }
            }
        });
    }
    mgs.mgsctl(&["param", "set", "scratch", "osc.*.max_dirty_mb", "64", "--scope", "clients"])?;
    let told = async {
        while let Some(texts) = arrived.recv().await {
            if texts.iter().any(|text| text.ends_with("max_dirty_mb=64")) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), told).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_are_gone_delay_no_registration() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    for last in 10..30 {
        let node = crate::site::node(&format!("10.9.0.{last}@tcp"), mgs.lnet()?).await?;
        let client = node.connect(crate::site::config()?).await?;
        client.follow("scratch-client", 0).next().await?;
        // As a node that loses its power: nothing is said.
        node.lnet().shutdown();
    }
    let start = Instant::now();
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    Ok(())
}
