//! `mgsctl mgs`: any MGS over its network protocol.

use std::process::Command;

use testkit::Mgs;

use crate::site::{mdt, mgc, ost};

fn mgsctl(arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let output = Command::new(testkit::binary("mgsctl")?).args(arguments).output()?;
    let text = if output.status.success() { output.stdout } else { output.stderr };
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_and_set_can_be_read_by_anyone_on_the_network() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    let params = "failover.node=10.9.0.5@tcp osc.max_dirty_mb=64 ".to_owned();
    let ost = lustre_mgc::Target { params, ..ost("scratch", 31, "10.9.0.2@tcp")? };
    server.register(&ost).await?;
    server.ready(&lustre_mgc::Target { instance: 3, ..ost }).await?;
    mgs.mgsctl(&["pool", "set", "scratch", "flash", "OST001f"])?;
    let url = format!("tcp://{}@tcp:{}", mgs.lnet()?.ip(), mgs.lnet()?.port());
    // The MGS has its NID, not the address where this test reaches it.
    let (refused, text) = mgsctl(&["mgs", "ping", &url, "--nid", "10.9.0.3@tcp", "--timeout", "3"])?;
    assert!(!refused && text.contains("does that node have this NID"), "{text}");
    let contents = server.contents(&["scratch".parse()?]).await?;
    let filesystem = &contents.filesystems["scratch"];
    let target = &filesystem.targets["scratch-OST001f"];
    assert_eq!(target.failover, [["10.9.0.5@tcp"]]);
    assert_eq!((target.instance, &target.running_at), (Some(3), &vec!["10.9.0.2@tcp".to_owned()]));
    assert!(filesystem.pools["flash"].contains("scratch-OST001f"));
    let params = &filesystem.params;
    assert!(params.iter().any(|param| param.name == "osc.max_dirty_mb" && param.value == "64"), "{params:?}");
    assert_eq!(contents.nodemaps.expect("it shows nodemaps").nodemaps[&0].name, "default");
    Ok(())
}
