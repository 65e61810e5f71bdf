//! Command line and environment.

use crate::host::{Host, lnet::NidSource};
use clap::{Parser, ValueEnum};
use lustre_api::agent::StartDriver;
use lustre_types::NodeName;
use rest::daemon::LogFormat;
use std::{net::SocketAddr, path::PathBuf};

/// The Lustre node agent: formats, starts, stops and observes the targets of this node.
#[derive(Debug, Parser)]
#[command(name = "lustre-agent", version)]
pub struct Config {
    /// The node's name; its host name when missing.
    #[arg(long, env = "LUSTRE_AGENT_NODE", value_name = "NAME")]
    pub node: Option<NodeName>,
    /// Where the agent keeps its journal.
    #[arg(long, env = "LUSTRE_AGENT_STATE_DIR", default_value = "/var/lib/lustre-agent", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Addresses of the API. It has no authentication yet: leave it on loopback, or on a network that you trust.
    #[arg(
        long,
        env = "LUSTRE_AGENT_LISTEN",
        default_value = "127.0.0.1:7080",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    pub listen: Vec<SocketAddr>,
    /// A unix socket for the API as well; only the user that runs the agent may use it.
    #[arg(long, env = "LUSTRE_AGENT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The MGS to enrol at, and to pass calls of `/mgs/...` on to; without one the agent works alone. Where several share a
    /// store: all of them, with commas between; the agent goes by one that answers.
    #[arg(long, env = "LUSTRE_MGS", value_name = "URL")]
    pub mgs: Option<String>,
    /// Where the MGS reaches this agent; the first address of the API when missing.
    #[arg(long, env = "LUSTRE_AGENT_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// NIDs of this node where LNet isn't running: a NID (10.0.0.5@tcp) or an interface (eth0, eth0:tcp1). Repeatable.
    #[arg(long = "nid", env = "LUSTRE_AGENT_NIDS", value_delimiter = ',', value_name = "NID|INTERFACE")]
    pub nids: Vec<NidSource>,
    /// A directory whose plain files may serve as devices, where block devices can't be had. Repeatable.
    #[arg(long = "image-dir", env = "LUSTRE_AGENT_IMAGE_DIRS", value_delimiter = ',', value_name = "DIR")]
    pub image_dirs: Vec<PathBuf>,
    /// How targets are started here.
    #[arg(long, env = "LUSTRE_AGENT_START_DRIVER", value_enum, default_value_t = StartDriverChoice::Auto)]
    pub start_driver: StartDriverChoice,
    /// The TCP port of LNet on the MGS, for targets that the userspace driver starts.
    #[arg(long, env = "LUSTRE_AGENT_LNET_PORT", default_value_t = lnet::DEFAULT_PORT, value_name = "PORT")]
    pub lnet_port: u16,
    /// Where Lustre's own e2fsprogs are, if not in the PATH.
    #[arg(long, env = "LUSTRE_AGENT_E2FSPROGS", value_name = "DIR")]
    pub e2fsprogs_dir: Option<PathBuf>,
    /// Where the trees of tunables are, instead of the kernel's: a directory with `sys/fs/lustre` and `etc/lustre` in it.
    #[arg(long, env = "LUSTRE_AGENT_PARAM_ROOT", default_value = "/", value_name = "DIR")]
    pub param_root: PathBuf,
    /// What is logged, as in `info` or `lustre_agent=debug`; the variable `RUST_LOG` overrides it.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How it is logged, to standard error.
    #[arg(long, env = "LUSTRE_AGENT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How targets are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartDriverChoice {
    /// By the kernel where it has Lustre, else not at all. Never by the userspace driver: that takes a decision.
    Auto,
    /// By the kernel: `mount -t lustre`.
    Kernel,
    /// By this agent, towards the MGS only. Targets serve no file I/O: for rehearsals, tests and CI.
    Userspace,
}

impl Config {
    /// How targets are started on a host.
    pub fn start_driver(&self, host: &Host) -> StartDriver {
        match self.start_driver {
            StartDriverChoice::Userspace => StartDriver::Userspace,
            StartDriverChoice::Kernel | StartDriverChoice::Auto if host.has_kernel_lustre() => StartDriver::Kernel,
            StartDriverChoice::Kernel | StartDriverChoice::Auto => StartDriver::None,
        }
    }

    /// The configured name, or one made of the host name.
    pub fn node_name(&self, hostname: &str) -> NodeName {
        let configured = self.node.clone();
        configured
            .or_else(|| hostname.to_lowercase().parse().ok())
            .unwrap_or_else(|| "localhost".parse().expect("localhost is a node name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_api_is_on_loopback_unless_told_otherwise() {
        Config::command().debug_assert();
        let config = Config::try_parse_from(["lustre-agent"]).unwrap();
        assert!(config.listen.iter().all(|address| address.ip().is_loopback()));
        assert_eq!(config.node_name("OSS1").as_str(), "oss1");
    }
}
