//! Command line and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use lustre_api::source::SourceMode;
use lustre_mgs::{net, source};
use lustre_mgs_core::decide::job::Limits;
use lustre_mgs_store::EtcdUrl;
use lustre_types::NidList;
use rest::daemon::LogFormat;

/// The userspace Lustre MGS: the single point of truth for the configuration of Lustre file systems.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Config {
    /// Where the state is kept: a file, `etcd://host:port[,host:port]/prefix` for several MGSs at once, or `memory:` to keep
    /// nothing.
    #[arg(
        long,
        env = "LUSTRE_MGS_STORE",
        default_value = "/var/lib/lustre-mgs/mgs.redb",
        value_name = "STORE",
        global = true
    )]
    pub(crate) store: StoreUrl,
    /// The UUID that the MGS in the store must have; it does not start with another one, nor with an empty store. Guards
    /// against a wrong file or prefix.
    #[arg(long, env = "LUSTRE_MGS_UUID", value_name = "UUID")]
    pub(crate) uuid: Option<String>,
    /// Addresses of the API. It has no authentication yet: leave it on loopback, or on a network that you trust.
    #[arg(
        long,
        env = "LUSTRE_MGS_LISTEN",
        default_value = "127.0.0.1:7070",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// A unix socket for the API as well; only the user that runs the MGS may use it.
    #[arg(long, env = "LUSTRE_MGS_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Where the other instances on the same store reach this one's API, as in `http://10.0.0.1:7070`; the first of its addresses
    /// that is not on loopback when missing.
    #[arg(long, env = "LUSTRE_MGS_API_URL", value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// The NIDs by which targets and clients reach this MGS, as in `10.0.0.1@tcp`; `,` between NIDs of one node, `:`
    /// between nodes. No target can be made without.
    #[arg(long, env = "LUSTRE_MGS_NIDS", value_name = "NIDS")]
    pub(crate) nid: Option<NidList>,
    /// How many revisions of history are kept, at least; older ones are forgotten, but never a present value. 0 keeps all.
    /// A revision takes some kilobytes in the store.
    #[arg(long, env = "LUSTRE_MGS_HISTORY_KEEP", default_value_t = 100_000, value_name = "REVISIONS")]
    pub(crate) history_keep: u64,
    /// Addresses where Lustre's nodes reach this MGS (LNet over TCP), as in `10.0.0.1:988`; `off` for none. When missing: port
    /// 988 of the NIDs' own addresses, where they can be listened on.
    #[arg(long, env = "LUSTRE_MGS_LNET_LISTEN", value_delimiter = ',', value_name = "ADDRESS")]
    pub(crate) lnet_listen: Vec<LnetListen>,
    /// From which ports Lustre's nodes may connect: `secure` takes those up to 1023 only, which need root, as a kernel does.
    #[arg(long, env = "LUSTRE_MGS_LNET_ACCEPT", value_enum, default_value_t = LnetAccept::Secure)]
    pub(crate) lnet_accept: LnetAccept,
    /// Serve Lustre's nodes also over the networks of the kernel, such as InfiniBand, through the module lustre_mgs_proxy.
    #[arg(long, env = "LUSTRE_MGS_KERNEL_PROXY", value_name = "DEVICE", num_args = 0..=1,
          default_missing_value = "/dev/lustre_mgs_proxy")]
    pub(crate) kernel_proxy: Option<PathBuf>,
    /// Only targets that were described or reserved here may register; others are refused.
    #[arg(long, env = "LUSTRE_MGS_REFUSE_UNKNOWN_TARGETS")]
    pub(crate) refuse_unknown_targets: bool,
    /// Receivers that are told of every change: a file with a list as in
    /// `[{"name": "alerts", "url": "http://host/path", "secret_file": "/path", "objects": ["target "]}]`.
    #[arg(long, env = "LUSTRE_MGS_WEBHOOKS", value_name = "FILE")]
    pub(crate) webhooks: Option<PathBuf>,
    /// Where is noted what the receivers were told.
    #[arg(
        long,
        env = "LUSTRE_MGS_WEBHOOK_STATE",
        default_value = "/var/lib/lustre-mgs/webhooks",
        value_name = "DIRECTORY"
    )]
    pub(crate) webhook_state: PathBuf,
    /// Where wanted configuration is read from: a directory of `*.json` files as `mgsctl plan` takes them, in git or not, or a
    /// URL of one.
    #[arg(long, env = "LUSTRE_MGS_SOURCE", value_name = "DIRECTORY|URL", hide_env_values = true)]
    pub(crate) source: Option<String>,
    /// What happens with what the source says: differences are reported, or each new version is applied once.
    #[arg(long, env = "LUSTRE_MGS_SOURCE_MODE", value_enum, default_value_t = SourceModeChoice::Report)]
    pub(crate) source_mode: SourceModeChoice,
    /// How often the source is read, in seconds; `POST /v1/source/read` reads it at once.
    #[arg(long, env = "LUSTRE_MGS_SOURCE_POLL", default_value_t = 60, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) source_poll: u64,
    /// The authority of the certificate of an https source, in a PEM file; without it, those that the system trusts.
    #[arg(long, env = "LUSTRE_MGS_SOURCE_CA", value_name = "FILE")]
    pub(crate) source_ca: Option<PathBuf>,
    /// A file with a bearer token for the source, in its first line; read each time.
    #[arg(long, env = "LUSTRE_MGS_SOURCE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) source_token_file: Option<PathBuf>,
    /// How many steps of jobs are at work at once: `node=8,enclosure=16,filesystem=64`; what is not named stays as it is here.
    #[arg(long, env = "LUSTRE_MGS_LIMITS", value_parser = limits, default_value = "node=8,enclosure=16,filesystem=64",
          value_name = "LIMITS")]
    pub(crate) limits: Limits,
    /// What is logged, as in `info` or `lustre_mgs=debug,rest=debug`; the variable `RUST_LOG` overrides it.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How it is logged, to standard error.
    #[arg(long, env = "LUSTRE_MGS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Something else than serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes the store given by --store of a backup that `mgsctl backup` took; there must be nothing there yet.
    Restore {
        /// The backup.
        file: PathBuf,
    },
}

fn limits(text: &str) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for part in text.split(',') {
        let (name, most) = part.split_once('=').ok_or_else(|| format!("{part:?} is not like node=8"))?;
        let most =
            most.parse().ok().filter(|most| *most > 0).ok_or_else(|| format!("{most:?} is not a number above 0"))?;
        match name {
            "node" => limits.per_node = most,
            "enclosure" => limits.per_enclosure = most,
            "filesystem" => limits.per_filesystem = most,
            _ => return Err(format!("{name:?} has no limit: node, enclosure and filesystem have")),
        }
    }
    Ok(limits)
}

impl Config {
    /// Where wanted configuration is read from.
    pub(crate) fn source(&self) -> Option<source::Config> {
        let mode = match self.source_mode {
            SourceModeChoice::Report => SourceMode::Report,
            SourceModeChoice::Apply => SourceMode::Apply,
        };
        Some(source::Config {
            source: self.source.clone()?,
            mode,
            poll: Duration::from_secs(self.source_poll),
            ca: self.source_ca.clone(),
            token_file: self.source_token_file.clone(),
        })
    }

    /// How Lustre's nodes reach it.
    pub(crate) fn lnet(&self) -> net::Config {
        let is_off = self.lnet_listen.contains(&LnetListen::Off);
        let listen = self.lnet_listen.iter().filter_map(|listen| match listen {
            LnetListen::At(address) => Some(*address),
            LnetListen::Off => None,
        });
        net::Config {
            // Those of the first node: this one, where there is a partner.
            nids: self.nid.iter().flat_map(|nids| nids.nodes().first()).flatten().cloned().collect(),
            listen: match listen.collect::<Vec<_>>() {
                _ if is_off => net::Listen::Off,
                addresses if addresses.is_empty() => net::Listen::WherePossible,
                addresses => net::Listen::At(addresses),
            },
            accept: match self.lnet_accept {
                LnetAccept::Secure => lnet::Accept::Secure,
                LnetAccept::All => lnet::Accept::All,
            },
            kernel_proxy: self.kernel_proxy.clone(),
        }
    }
}

/// What happens with what the source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceModeChoice {
    /// Differences are reported.
    Report,
    /// Each new version is applied once; later differences are reported.
    Apply,
}

/// One address for Lustre's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LnetListen {
    /// None.
    Off,
    /// This one.
    At(SocketAddr),
}

impl FromStr for LnetListen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let with_port = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, lnet::DEFAULT_PORT)));
        with_port.map(Self::At).map_err(|_| format!("\"{text}\" is no address like 10.0.0.1:988, and not \"off\""))
    }
}

/// Ports that may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LnetAccept {
    /// Up to 1023.
    Secure,
    /// Any.
    All,
}

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// Nowhere: it ends with the process.
    Memory,
    /// In a file.
    Redb(PathBuf),
    /// In an etcd.
    Etcd(Box<EtcdUrl>),
}

impl FromStr for StoreUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a store needs a file name".into()),
            "memory:" => Ok(Self::Memory),
            url if url.starts_with("etcd://") || url.starts_with("etcds://") => Ok(Self::Etcd(Box::new(url.parse()?))),
            url if url.contains("://") => Err(format!("{url} is no store: a file, etcd://, etcds:// and memory: are")),
            path => Ok(Self::Redb(path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_api_is_on_loopback_unless_told_otherwise() {
        Config::command().debug_assert();
        let config = Config::try_parse_from(["lustre-mgs"]).unwrap();
        assert!(config.lnet_listen.is_empty());
        assert!(config.listen.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_store_is_a_file_an_etcd_or_nothing() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("etcd".parse(), Ok(StoreUrl::Redb("etcd".into())));
        assert!(matches!("etcd://a:1/p".parse(), Ok(StoreUrl::Etcd(_))));
        assert!("http://a:1/p".parse::<StoreUrl>().unwrap_err().contains("no store"));
    }
}
