//! `mgsctl mgs`: any MGS over its network protocol.

use std::process::Command;

use lustre_mgc::{Config, Mgc, Node};
use testkit::{Cluster, Mgs};

use crate::site::{mdt, mgc, ost};

fn mgsctl(arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let output = Command::new(testkit::binary("mgsctl")?).args(arguments).output()?;
    let text = if output.status.success() { output.stdout } else { output.stderr };
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// A node on loopback that targets register from.
async fn server(cluster: &Cluster) -> anyhow::Result<Mgc> {
    let nid: lustre_types::Nid = "127.0.0.1@tcp".parse()?;
    let lnet = lnet::Lnet::start(lnet::Config::new(vec!["127.0.0.2@tcp".parse()?])).await?;
    lnet.set_address(&nid, cluster.mgs.lnet()?);
    Ok(Node::new(lnet).connect(Config::new(vec![nid])).await?)
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
    let server = server(&cluster).await?;
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
async fn mgsctl_reads_a_rich_configuration_whole() -> anyhow::Result<()> {
    let cluster = Cluster::start_userspace(&[])?;
    let server = server(&cluster).await?;
    for index in 0..2 {
        server.register(&mdt("scratch", index, "10.9.0.2@tcp")?).await?;
    }
    for index in 0..3 {
        let params = format!("failover.node=10.9.0.{}@tcp,10.8.0.{}@tcp1 ", index + 5, index + 5);
        let ost = lustre_mgc::Target { params, ..ost("scratch", index, "10.9.0.3@tcp")? };
        server.register(&ost).await?;
        server.ready(&lustre_mgc::Target { instance: index + 1, ..ost }).await?;
    }
    let admin = |arguments: &[&str]| cluster.mgsctl(arguments);
    admin(&["pool", "set", "scratch", "flash", "OST0000", "OST0002"])?;
    admin(&["param", "set", "scratch", "timeout", "40"])?;
    admin(&["param", "set", "scratch", "osc.*.max_dirty_mb", "128"])?;
    admin(&["param", "set", "scratch", "osc.*.active", "0", "--scope", "scratch-OST0001"])?;
    let parts = [
        "--range",
        "10.1.0.[1-9]@tcp",
        "--banned",
        "10.1.0.7@tcp",
        "--uid",
        "500:600",
        "--gid",
        "500:601",
        "--projid",
        "5:6",
    ];
    admin(&[&["nodemap", "add", "campus"], &parts[..]].concat())?;
    let file = tempfile::NamedTempFile::new()?;
    let jail = serde_json::json!({
        "name": "jail", "ranges": ["10.2.0.1@tcp"], "admin": true, "deny_mount": true,
        "fileset": "/projects/with/a/path/longer/than/28/bytes", "squash_uid": 99,
    });
    std::fs::write(file.path(), jail.to_string())?;
    admin(&["nodemap", "set", &file.path().display().to_string()])?;
    admin(&["nodemap", "activate"])?;

    let url = format!("tcp://{}", cluster.mgs.lnet()?);
    let read = ["mgs", "read", &url, "--fsname", "scratch", "--nid", "127.0.0.9@tcp", "--timeout", "20"];
    let (good, text) = mgsctl(&read)?;
    let shows = |row: &str| {
        let words: Vec<&str> = row.split_whitespace().collect();
        text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == words)
    };
    for row in [
        "scratch-MDT0001 10.9.0.2@tcp - - - use it",
        "scratch-OST0000 10.9.0.3@tcp 10.9.0.5@tcp,10.8.0.5@tcp1 10.9.0.3@tcp 1 use it",
        "scratch-OST0001 10.9.0.3@tcp 10.9.0.6@tcp,10.8.0.6@tcp1 10.9.0.3@tcp 2 don't use it",
        "scratch.flash 2 scratch-OST0000 scratch-OST0002",
        "jail admin,map_uids,map_gids,audit,map_projids,deny_mount 99:65534:65534 10.2.0.1@tcp - /projects/with/a/path/longer/than/28/bytes 0",
        "campus map_uids,map_gids,audit,map_projids 65534:65534:65534 10.1.0.1@tcp-10.1.0.9@tcp 10.1.0.7@tcp - 3",
        "campus uid 500 600",
        "campus gid 500 601",
        "campus projid 5 6",
    ] {
        assert!(good && shows(row), "{row} in {text}");
    }
    for part in ["nodemaps (in force)", "timeout", "osc.scratch-OST*-osc-*.max_dirty_mb", "osc.active"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (_, json) = mgsctl(&[&read[..], &["-o", "json"]].concat())?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let filesystem = &json["filesystems"]["scratch"];
    assert_eq!(filesystem["targets"].as_object().map(serde_json::Map::len), Some(5));
    assert_eq!(filesystem["targets"]["scratch-OST0001"]["is_active"], false);
    assert_eq!(filesystem["pools"]["flash"], serde_json::json!(["scratch-OST0000", "scratch-OST0002"]));
    let nodemaps = json["nodemaps"]["nodemaps"].as_object().expect("by number");
    let jail = nodemaps.values().find(|nodemap| nodemap["name"] == "jail").expect("it is there");
    assert_eq!(jail["fileset"], "/projects/with/a/path/longer/than/28/bytes");
    assert_eq!(json["nodemaps"]["undecoded_records"], 0);
    // YAML says the same as JSON.
    let (_, yaml) = mgsctl(&[&read[..], &["-o", "yaml"]].concat())?;
    assert!(yaml.contains("fileset: \"/projects/with/a/path/longer/than/28/bytes\""), "{yaml}");
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
