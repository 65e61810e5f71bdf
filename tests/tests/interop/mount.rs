//! Mounting.

use std::time::Duration;

use testkit::Mgs;

use crate::site::{MGS, mdt, mgc, mount, ost};

#[tokio::test(flavor = "multi_thread")]
async fn targets_register_come_up_and_a_client_mounts() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    for target in [mdt("scratch", 0, "10.9.0.2@tcp")?, ost("scratch", 0, "10.9.0.2@tcp")?] {
        let registered = server.register(&target).await?;
        assert_eq!(registered.uuid, format!("{}_UUID", target.svname));
        assert!(registered.wants_rewrite());
        server.ready(&lustre_mgc::Target { instance: 1, ..target }).await?;
    }
    let client = mgc("10.9.0.3@tcp", mgs.lnet()?).await?;
    let mounted = mount(&client, "scratch").await?;
    assert_eq!(mounted.running, 2);
    for part in ["new_profile, name: scratch-client", "mdt: scratch-MDT0000_UUID", "ost: scratch-OST0000_UUID"] {
        assert!(mounted.log.contains(part), "{part} is missing in {}", mounted.log);
    }
    client.ping().await?;
    client.disconnect().await?;
    assert!(client.ping().await.is_err(), "whoever has left is not there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_is_not_there_has_no_log() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let client = mgc("10.9.0.3@tcp", mgs.lnet()?).await?;
    assert_eq!(client.log("nofs-client").await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mgs_answers_pings_and_pushes_of_many_nodes_at_once() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let mut nodes = tokio::task::JoinSet::new();
    let address = mgs.lnet()?;
    for last in 0..50 {
        nodes.spawn(async move {
            let node = crate::site::node(&format!("10.9.1.{last}@tcp"), address).await?;
            let info = node.lnet().discover(&MGS.parse()?, Duration::from_secs(20)).await?;
            let info = anyhow::Context::context(info, "over TCP a ping is answered")?;
            anyhow::Ok(info.nids().iter().map(ToString::to_string).collect::<Vec<_>>())
        });
    }
    while let Some(nids) = nodes.join_next().await {
        assert_eq!(nids??, [MGS]);
    }
    Ok(())
}
