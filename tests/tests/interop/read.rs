//! `mgsctl mgs`: any MGS over its network protocol.

use std::process::Command;

use testkit::{Cluster, Mgs};

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

#[tokio::test(flavor = "multi_thread")]
async fn mgsctl_shows_what_an_mgs_has_as_table_json_yaml_and_log() -> anyhow::Result<()> {
    let cluster = Cluster::start_userspace(&[])?;
    let address = cluster.mgs.lnet()?;
    let nid: lustre_types::Nid = "127.0.0.1@tcp".parse()?;
    let lnet = lnet::Lnet::start(lnet::Config::new(vec!["127.0.0.2@tcp".parse()?])).await?;
    lnet.set_address(&nid, address);
    let server = lustre_mgc::Node::new(lnet).connect(lustre_mgc::Config::new(vec![nid])).await?;
    let mdt = mdt("scratch", 0, "127.0.0.2@tcp")?;
    server.register(&mdt).await?;
    server.ready(&lustre_mgc::Target { instance: 4, ..mdt }).await?;

    let url = format!("tcp://{address}");
    let network = ["--nid", "127.0.0.9@tcp", "--timeout", "20"];
    let (good, text) = mgsctl(&[&["mgs", "ping", &url], &network[..]].concat())?;
    assert_eq!((good, text.as_str()), (true, "127.0.0.1@tcp\n"));
    let read = [&["mgs", "read", &url, "--fsname", "scratch"], &network[..]].concat();
    let (good, text) = mgsctl(&read)?;
    assert!(
        good && text.contains("scratch-MDT0000  127.0.0.2@tcp  -         127.0.0.2@tcp  4         use it"),
        "{text}"
    );
    let (_, text) = mgsctl(&[&read[..], &["-o", "json"]].concat())?;
    let contents: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(contents["filesystems"]["scratch"]["targets"]["scratch-MDT0000"]["instance"], 4);
    let (_, text) = mgsctl(&[&read[..], &["-o", "yaml"]].concat())?;
    assert!(text.contains("filesystems:\n  scratch:\n") && text.contains("\n        instance: 4\n"), "{text}");
    let (good, text) = mgsctl(&[&["mgs", "log", &url, "scratch-client"], &network[..]].concat())?;
    assert!(good && text.contains("- { index: 2, event: attach, device: scratch-clilov, type: lov"), "{text}");

    let (refused, text) = mgsctl(&[&["mgs", "read", &url, "--fsname", "nofs"], &network[..]].concat())?;
    assert!(!refused && text.contains("the MGS 127.0.0.1@tcp has no file system nofs"), "{text}");
    let other = format!("tcp://127.0.0.1@tcp7:{}", address.port());
    let (refused, text) = mgsctl(&["mgs", "ping", &other, "--timeout", "3"])?;
    assert!(!refused && text.contains("does that node have this NID"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_the_same_over_the_api_as_json_yaml_and_bytes_and_over_the_network() -> anyhow::Result<()> {
    let mgs = Mgs::start()?;
    let server = mgc("10.9.0.2@tcp", mgs.lnet()?).await?;
    server.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    server.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let read = server.log("scratch-client").await?.expect("it is there");
    let log = |verb, more: &[&str]| -> anyhow::Result<Vec<u8>> {
        let arguments = ["--endpoint", mgs.endpoint(), "log", verb, "scratch-client"];
        let output = Command::new(testkit::binary("mgsctl")?).args(arguments).args(more).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    assert_eq!(lustre_wire::llog::LogFile::decode(&log("raw", &[])?)?, read);
    assert_eq!(String::from_utf8(log("show", &[])?)?, lustre_wire::llog::print(&read));
    assert_eq!(String::from_utf8(log("show", &["--raw"])?)?, lustre_wire::llog::print_raw(&read));
    let json: serde_json::Value = serde_json::from_slice(&log("show", &["-o", "json"])?)?;
    let records = json["records"].as_array().expect("a list");
    let live: Vec<u64> = read.records.iter().filter(|r| r.config().is_some()).map(|r| u64::from(r.index)).collect();
    assert_eq!(records.iter().filter_map(|record| record["index"].as_u64()).collect::<Vec<_>>(), live);
    assert!(records.iter().any(|record| record["event"] == "attach" && record["effective"] == true));
    Ok(())
}
