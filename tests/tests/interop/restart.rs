//! The MGS goes away and comes back.

use std::time::Duration;

use testkit::Mgs;

use crate::site::{mdt, mgc, mount, ost};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_killed_mgs_come_back_retake_their_locks_and_nothing_registers_twice() -> anyhow::Result<()> {
    let mut mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let mut clients = Vec::new();
    let mut followers = Vec::new();
    for last in 10..20 {
        let client = mgc(&format!("10.9.0.{last}@tcp"), mgs.lnet()?).await?;
        let mut follower = client.follow("scratch-client", 0);
        follower.next().await?;
        clients.push(client);
        followers.push(follower);
    }
    let before = mount(&clients[0], "scratch").await?;
    mgs.crash_and_restart()?;
    for client in &clients {
        client.ping().await?;
        assert_eq!(client.evictions(), 1);
    }
    assert_eq!(mount(&clients[0], "scratch").await?.log, before.log);
    // The targets say that they are up, as kernels do after a restart; it is no registration.
    server.ready_again(&lustre_mgc::Target { instance: 1, ..ost("scratch", 0, "10.9.0.2@tcp")? }).await?;
    assert_eq!(mount(&clients[0], "scratch").await?.log, before.log);
    // Their locks are there again: each is told of a new target.
    let told: Vec<_> = followers
        .into_iter()
        .map(|mut follower| {
            tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(30), follower.next()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.register(&ost("scratch", 1, "10.9.0.2@tcp")?).await?;
    for told in told {
        assert!(!told.await???.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_under_a_killed_mgs_ends_with_one_target() -> anyhow::Result<()> {
    let mut mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    let registering: Vec<_> = (0..20)
        .map(|index| {
            let server = server.clone();
            tokio::spawn(async move {
                server.register(&ost("scratch", index, "10.9.0.2@tcp")?).await.map_err(anyhow::Error::new)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    mgs.crash_and_restart()?;
    for task in registering {
        task.await??;
    }
    let contents = server.contents(&["scratch".parse()?]).await?;
    let filesystem = &contents.filesystems["scratch"];
    assert_eq!(filesystem.targets.len(), 21);
    let log = server.log("scratch-client").await?.expect("it is there");
    let added = lustre_wire::llog::print(&log).matches("event: add_osc").count();
    assert_eq!(added, 20, "each target stands once in the log of clients");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_an_mgs_that_is_restored_from_an_old_backup_is_told_everything_again() -> anyhow::Result<()> {
    let mut mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let directory = tempfile::tempdir()?;
    let backup = directory.path().join("backup");
    mgs.backup(&backup)?;
    for index in 1..4 {
        server.register(&ost("scratch", index, "10.9.0.2@tcp")?).await?;
    }
    let client = mgc("10.9.0.3@tcp", mgs.lnet()?).await?;
    let mut follower = client.follow("scratch-client", 0);
    let read_before = follower.next().await?.len();
    let after_before = follower.after();
    mgs.restore(&backup)?;
    // The log is shorter than what the client has read: by its index alone it would wait for what it has seen already.
    let told = tokio::time::timeout(Duration::from_secs(30), follower.next()).await??;
    assert_eq!(told.first().map(|record| record.index), Some(1), "from the beginning");
    assert!(told.len() < read_before && follower.after() < after_before);
    server.register(&ost("scratch", 9, "10.9.0.2@tcp")?).await?;
    let more = tokio::time::timeout(Duration::from_secs(30), follower.next()).await??;
    assert!(!more.is_empty());
    let log = client.log("scratch-client").await?.expect("it is there");
    assert_eq!(follower.after(), log.header.last_index);
    Ok(())
}
