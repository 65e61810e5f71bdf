//! Where Lustre's nodes reach this MGS.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use anyhow::{Context, bail};
use lnet::{Accept, DEFAULT_PORT, Lnet};
use lustre_types::Nid;
use tracing::warn;

use crate::kproxy;

/// How Lustre's nodes reach this MGS.
#[derive(Clone, Debug)]
pub struct Config {
    /// NIDs of this node; those that aren't of type `tcp` are left out.
    pub nids: Vec<Nid>,
    /// Where it listens.
    pub listen: Listen,
    /// From which ports they may connect.
    pub accept: Accept,
    /// The kernel proxy's device, for networks that only the kernel can drive.
    pub kernel_proxy: Option<PathBuf>,
}

/// Where to listen for Lustre's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At the NIDs' own addresses, where that is possible.
    WherePossible,
    /// At these addresses, or not at all.
    At(Vec<SocketAddr>),
}

/// Starts to listen; `None` where LNet is off. Errors: an address that was asked for can't be listened on, no NID.
pub async fn start(config: &Config) -> anyhow::Result<Option<Lnet>> {
    let nids: Vec<Nid> = config.nids.iter().filter(|nid| nid.net().kind() == "tcp").cloned().collect();
    let proxy = config.kernel_proxy.clone().map(kproxy::of_this_kernel);
    let (listen, is_asked_for) = match &config.listen {
        Listen::Off if proxy.is_none() => return Ok(None),
        Listen::Off => (Vec::new(), true),
        Listen::At(addresses) => (addresses.clone(), true),
        Listen::WherePossible => {
            let own = nids.iter().filter_map(Nid::ip).map(|ip| SocketAddr::new(ip, DEFAULT_PORT));
            (own.collect::<Vec<_>>(), false)
        }
    };
    if nids.is_empty() && proxy.is_none() {
        if is_asked_for {
            bail!("--lnet-listen needs a NID on a tcp network: name this node's with --nid, as in 10.0.0.1@tcp");
        }
        return Ok(None);
    }
    // Without a listener the NIDs of tcp networks are the kernel's, and come from it.
    let mut node = lnet::Config::new(if listen.is_empty() { Vec::new() } else { nids });
    (node.listen, node.accept, node.proxy) = (listen, config.accept, proxy);
    // The other half is for the API, the store and jobs, and for the kernel's part of the network.
    node.threads = (std::thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1);
    match Lnet::start(node).await {
        Ok(lnet) => Ok(Some(lnet)),
        Err(err) if is_asked_for || config.kernel_proxy.is_some() => Err(err).context("can't serve Lustre's nodes"),
        Err(err) => {
            let error = anyhow::Error::new(err);
            warn!(
                error = format!("{error:#}"),
                "LNet is off: no Lustre node can use this MGS; say with --lnet-listen where to listen, or \"off\""
            );
            Ok(None)
        }
    }
}
