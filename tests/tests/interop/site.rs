//! An MGS and nodes that talk to it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use lnet::Lnet;
use lustre_mgc::{Config, Mgc, Node, Target};
use lustre_wire::ldlm::{ResourceId, ResourceKind};
use lustre_wire::llog::LogFile;
use lustre_wire::mgs::target_flag;
use system_tests::new_target;

/// NID of the MGS that testkit starts.
pub(crate) const MGS: &str = "10.9.0.1@tcp";

/// A node of its own, that reaches the MGS at an address: its own, or a proxy's.
pub(crate) async fn node(own: &str, mgs: SocketAddr) -> anyhow::Result<Node> {
    let lnet = Lnet::start(lnet::Config::new(vec![own.parse()?])).await?;
    lnet.set_address(&MGS.parse()?, mgs);
    Ok(Node::new(lnet))
}

/// A client that is quick to notice what is wrong, and patient.
pub(crate) fn config() -> anyhow::Result<Config> {
    let mut config = Config::new(vec![MGS.parse()?]);
    config.ping_interval = Duration::from_secs(2);
    config.attempt = Duration::from_secs(2);
    config.requeue = Duration::from_millis(10)..Duration::from_millis(50);
    Ok(config)
}

pub(crate) async fn mgc(own: &str, mgs: SocketAddr) -> anyhow::Result<Mgc> {
    Ok(node(own, mgs).await?.connect(config()?).await?)
}

pub(crate) fn mdt(fsname: &str, index: u32, nid: &str) -> anyhow::Result<Target> {
    new_target(fsname, target_flag::MDT, index, &[nid])
}

pub(crate) fn ost(fsname: &str, index: u32, nid: &str) -> anyhow::Result<Target> {
    new_target(fsname, target_flag::OST, index, &[nid])
}

/// What a client has read when it has mounted.
#[derive(Debug, PartialEq)]
pub(crate) struct Mounted {
    pub(crate) log: String,
    pub(crate) params: Option<LogFile>,
    pub(crate) running: usize,
}

/// What a kernel client does at the MGS to mount a file system.
pub(crate) async fn mount(mgc: &Mgc, fsname: &str) -> anyhow::Result<Mounted> {
    let resource = |owner: &str, kind| ResourceId::new(owner, kind);
    let _sptlrpc = mgc.lock(resource(fsname, ResourceKind::Config)?).await?;
    anyhow::ensure!(mgc.log(&format!("{fsname}-sptlrpc")).await?.is_none(), "nobody set security rules");
    let _config = mgc.lock(resource(fsname, ResourceKind::Config)?).await?;
    let log = mgc.log(&format!("{fsname}-client")).await?.context("the file system has a log")?;
    let _recover = mgc.lock(resource(fsname, ResourceKind::Recover)?).await?;
    let (running, _) = mgc.nid_table(&fsname.parse()?, 1).await?.context("it has a NID table")?;
    let _params = mgc.lock(resource("params", ResourceKind::Params)?).await?;
    let params = mgc.log("params").await?;
    Ok(Mounted { log: lustre_wire::llog::print(&log), params, running: running.len() })
}
