//! Connections that die, replies that are lost, messages that overtake each other: the node gets what it wanted all the same,
//! and the MGS does it once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lustre_mgc::Mgc;
use lustre_wire::lnet::Body;
use testkit::Mgs;

use crate::proxy::{Fate, Proxy};
use crate::site::{Mounted, mdt, mgc, mount, ost};

/// Registers a new OST, says that it is up, and mounts.
async fn life(mgc: &Mgc, index: u32) -> anyhow::Result<Mounted> {
    let target = ost("scratch", index, "10.9.0.3@tcp")?;
    let registered = mgc.register(&target).await?;
    assert_eq!(registered.uuid, format!("scratch-OST{index:04x}_UUID"));
    mgc.ready(&lustre_mgc::Target { instance: 1, ..target }).await?;
    mount(mgc, "scratch").await
}

/// An MGS with an MDT registered.
async fn mgs() -> anyhow::Result<Mgs> {
    let mgs = Mgs::start()?;
    mgc("10.9.0.2@tcp", mgs.lnet()?).await?.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    Ok(mgs)
}

async fn expect_each_once(mgs: &Mgs, osts: u32) -> anyhow::Result<()> {
    let reader = mgc("10.9.0.4@tcp", mgs.lnet()?).await?;
    let log = lustre_wire::llog::print(&reader.log("scratch-client").await?.expect("it is there"));
    for index in 0..osts {
        let added = format!("event: add_osc, device: scratch-clilov, ost: scratch-OST{index:04x}_UUID");
        assert_eq!(log.matches(&added).count(), 1, "{added}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_behind_any_message_lose_nothing_and_do_nothing_twice() -> anyhow::Result<()> {
    let mgs = mgs().await?;
    let whole = Proxy::start(mgs.lnet()?, |_| Fate::Pass)?;
    life(&mgc("10.9.0.3@tcp", whole.address).await?, 0).await?;
    let messages = whole.messages();
    assert!(messages > 30, "{messages}");
    let mut index = 0;
    for cut in 0..messages {
        index += 1;
        let proxy =
            Proxy::start(mgs.lnet()?, move |passing| if passing.number == cut { Fate::Cut } else { Fate::Pass })?;
        // A node of its own: two with one NID would each take the other for one that has restarted.
        let mgc = mgc(&format!("10.9.3.{cut}@tcp"), proxy.address).await?;
        let mounted = life(&mgc, index).await?;
        assert_eq!(mounted.running, usize::try_from(index)? + 1, "cut behind message {cut}");
        assert_eq!(mgc.evictions(), 0, "cut behind message {cut}: the MGS still knows the client");
    }
    expect_each_once(&mgs, index).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_lost_are_asked_for_again_and_nothing_is_done_twice() -> anyhow::Result<()> {
    let mgs = mgs().await?;
    // Replies of the MGS go to portal 25. Two of each five are lost, the second of them often that to the reconnect.
    let replies = AtomicUsize::new(0);
    let proxy = Proxy::start(mgs.lnet()?, move |passing| {
        let is_reply = !passing.is_request && passing.portal() == Some(25);
        let is_lost = is_reply && matches!(replies.fetch_add(1, Ordering::SeqCst) % 5, 1 | 2);
        if is_lost { Fate::Lost } else { Fate::Pass }
    })?;
    let node = crate::site::node("10.9.0.3@tcp", proxy.address).await?;
    let mut config = crate::site::config()?;
    config.attempt = Duration::from_millis(300);
    config.ping_interval = Duration::from_secs(100);
    let mgc = node.connect(config).await?;
    let mounted = life(&mgc, 0).await?;
    assert_eq!((mounted.running, mgc.evictions()), (1, 0));
    expect_each_once(&mgs, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_overtake_each_other_on_three_connections_do_no_harm() -> anyhow::Result<()> {
    let mgs = mgs().await?;
    // Large messages and small ones travel on different connections: by turns, each sort is slow.
    let proxy = Proxy::start(mgs.lnet()?, |passing| {
        let is_large = passing.header.payload_length > 928;
        let is_data = matches!(passing.header.body, Body::Put { portal: 33, .. });
        match (is_large || is_data, passing.number % 3) {
            (true, 0) | (false, 1) => Fate::After(Duration::from_millis(30)),
            _ => Fate::Pass,
        }
    })?;
    let mgc = mgc("10.9.0.3@tcp", proxy.address).await?;
    let lives: Vec<_> = (0..8)
        .map(|index| {
            let mgc = mgc.clone();
            tokio::spawn(async move { life(&mgc, index).await })
        })
        .collect();
    for life in lives {
        life.await??;
    }
    assert_eq!(mgc.evictions(), 0);
    expect_each_once(&mgs, 8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_loses_every_tenth_message_is_slow_and_right() -> anyhow::Result<()> {
    let mgs = mgs().await?;
    // Without a period: a request and the reconnect after it would fall into step with one.
    let proxy = Proxy::start(mgs.lnet()?, |passing| {
        let scattered = passing.number.wrapping_mul(0x9e37_79b9) >> 8;
        if scattered % 10 == 0 { Fate::Lost } else { Fate::Pass }
    })?;
    let node = crate::site::node("10.9.0.3@tcp", proxy.address).await?;
    let mut config = crate::site::config()?;
    config.attempt = Duration::from_millis(500);
    let mgc = node.connect(config).await?;
    for index in 0..3 {
        life(&mgc, index).await?;
    }
    expect_each_once(&mgs, 3).await
}
