//! The kernel proxy: the daemon's end of the module lustre_mgs_proxy.
//!
//! What frames mean for LNet is `lnet`'s business, as for its TCP connections; here is whether the device may be used.

use std::path::Path;

use ::kproxy::{Device, Role};
use anyhow::{Context, bail};
use tracing::info;

/// Modules of Lustre servers: each takes portals that an MGS needs, a kernel MGS that of requests, all others that of lock
/// cancels. Two that share a portal share its messages, silently.
const SERVERS: [&str; 6] = ["mgs", "mdt", "mdd", "ost", "ofd", "osp"];

/// Opens the proxy's device.
///
/// Errors: services of Lustre in this kernel own the portals; the module isn't loaded; another daemon has the device.
pub(crate) async fn open(path: &Path) -> anyhow::Result<Device> {
    refuse_beside_servers(Path::new("/sys/module"))?;
    let device = Device::open(path, Role::Mgs).await.with_context(|| "can't serve nodes through the kernel proxy")?;
    let nids: Vec<String> = device.nids().iter().map(ToString::to_string).collect();
    info!(device = %path.display(), transport = device.limits().transport, ?nids, "serving through the kernel proxy");
    Ok(device)
}

fn refuse_beside_servers(modules: &Path) -> anyhow::Result<()> {
    let loaded: Vec<&str> = SERVERS.into_iter().filter(|name| modules.join(name).exists()).collect();
    if !loaded.is_empty() {
        bail!(
            "the kernel of this node has Lustre's server modules loaded ({}), which own the portals of an MGS; unload them, or run \
             the MGS on a node that is no Lustre server",
            loaded.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_lustre_servers_is_refused_by_the_names_of_their_modules() {
        let modules = tempfile::tempdir().expect("a directory");
        refuse_beside_servers(modules.path()).expect("no module is loaded");
        for name in ["lnet", "ptlrpc", "mgs", "ofd"] {
            std::fs::create_dir(modules.path().join(name)).expect("a module");
        }
        let error = refuse_beside_servers(modules.path()).expect_err("an MGS and an OST are there").to_string();
        assert!(error.contains("(mgs, ofd)"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_module_is_named_with_the_remedy() {
        let error = open(Path::new("/dev/no_lustre_mgs_proxy")).await.expect_err("there is none");
        assert!(format!("{error:#}").contains("lustre_mgs_proxy is not loaded; load it with modprobe"), "{error:#}");
    }
}
