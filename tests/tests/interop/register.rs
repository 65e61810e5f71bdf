//! Registrations: many at once, again, and those that are refused.

use std::collections::BTreeSet;

use lustre_mgc::MgcError;
use lustre_wire::mgs::target_flag;
use testkit::Mgs;

use crate::site::{mdt, mgc, node, ost};

/// Negative errno of "address in use".
const EADDRINUSE: i32 = -98;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_targets_register_at_once_and_each_has_its_place() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let address = mgs.lnet()?;
    mgc("10.9.0.2@tcp", address).await?.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    let mut targets = tokio::task::JoinSet::new();
    // Eight nodes with eight targets each, and a client for each target.
    let mut nodes = Vec::new();
    for last in 0..8 {
        nodes.push(node(&format!("10.9.2.{last}@tcp"), address).await?);
    }
    for index in 0..64 {
        let nid = format!("10.9.2.{}@tcp", index % 8);
        let node = nodes[usize::try_from(index % 8)?].clone();
        targets.spawn(async move {
            let mgc = node.connect(crate::site::config()?).await?;
            let registered = mgc.register(&ost("scratch", index, &nid)?).await?;
            anyhow::Ok(registered.uuid)
        });
    }
    let mut uuids = BTreeSet::new();
    while let Some(uuid) = targets.join_next().await {
        uuids.insert(uuid??);
    }
    assert_eq!(uuids.len(), 64);
    let reader = mgc("10.9.0.3@tcp", address).await?;
    let contents = reader.contents(&["scratch".parse()?]).await?;
    let filesystem = &contents.filesystems["scratch"];
    assert_eq!(filesystem.targets.len(), 65);
    for index in 0..64u32 {
        let target = &filesystem.targets[&format!("scratch-OST{index:04x}")];
        assert_eq!((target.index, &target.nids), (index, &vec![format!("10.9.2.{}@tcp", index % 8)]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_index_asked_for_by_many_nodes_goes_to_one_of_them() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let address = mgs.lnet()?;
    mgc("10.9.0.2@tcp", address).await?.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    let mut targets = tokio::task::JoinSet::new();
    for last in 0..16 {
        let nid = format!("10.9.2.{last}@tcp");
        targets.spawn(async move {
            let mgc = mgc(&nid, address).await.expect("the MGS is there");
            mgc.register(&ost("scratch", 7, &nid).expect("a good target")).await
        });
    }
    let mut winners = 0;
    while let Some(result) = targets.join_next().await {
        match result? {
            Ok(_) => winners += 1,
            Err(error) => assert_eq!(error.status(), Some(EADDRINUSE), "{error}"),
        }
    }
    assert_eq!(winners, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_target_that_starts_again_changes_nothing() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    let target = mdt("scratch", 0, "10.9.0.2@tcp")?;
    server.register(&target).await?;
    let before = server.log("scratch-client").await?;
    let again = lustre_mgc::Target { flags: target_flag::MDT, ..target.clone() };
    let registered = server.register(&again).await?;
    assert!(!registered.wants_rewrite());
    assert_eq!(server.log("scratch-client").await?, before);
    let unknown = lustre_mgc::Target { flags: target_flag::OST, ..ost("scratch", 5, "10.9.0.2@tcp")? };
    assert!(matches!(server.register(&unknown).await, Err(MgcError::Refused { status: -2, .. })), "never registered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_more_nids_than_a_request_holds_registers_all_of_them() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    let mut target = mdt("scratch", 0, "10.9.0.2@tcp")?;
    for number in 1..60 {
        target.nids.push(format!("10.9.0.2@tcp{number}").parse()?);
    }
    server.register(&target).await?;
    let contents = server.contents(&["scratch".parse()?]).await?;
    let nids = &contents.filesystems["scratch"].targets["scratch-MDT0000"].nids;
    assert_eq!(nids.iter().collect::<BTreeSet<_>>().len(), 60, "{nids:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_each_protocol_generation_register() -> anyhow::Result<()> {
    use lustre_wire::ptlrpc::{connect_flag as flag, connect_flag2 as flag2};
    let mgs = Mgs::start()?;
    // What 2.12, 2.16 and 2.17 ask for decides how a registration carries its NIDs.
    let generations = [
        ("2.12", flag::MGS_NIDLIST | flag::FLAGS2, flag2::LARGE_NID | flag2::REP_MBITS, 0x020c_0000),
        ("2.16", flag::MGS_NIDLIST, 0, 0x0210_0000),
        ("2.17", 0, 0, 0x0211_0000),
    ];
    for (index, (name, without, without2, version)) in (0..).zip(generations) {
        let nid = format!("10.9.0.1{index}@tcp");
        let node = node(&nid, mgs.lnet()?).await?;
        let mut config = crate::site::config()?;
        config.asks.flags &= !without;
        config.asks.flags2 &= !without2;
        config.version = version;
        let mgc = node.connect(config).await?;
        let registered = mgc.register(&mdt("scratch", index, &nid)?).await?;
        assert_eq!(registered.uuid, format!("scratch-MDT{index:04x}_UUID"), "{name}");
        let contents = mgc.contents(&["scratch".parse()?]).await?;
        let target = &contents.filesystems["scratch"].targets[&format!("scratch-MDT{index:04x}")];
        assert_eq!(target.nids, [nid], "{name}");
    }
    Ok(())
}
