//! `mgsctl mgs`: an MGS as its clients see it, over LNet: any MGS, also a kernel's.

use std::fmt::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lnet::{DEFAULT_PORT, Lnet};
use lustre_mgc::{Config, Contents, Filesystem, Mgc, MgcError, Node, Nodemaps, Param, TargetContents};
use lustre_types::Nid;
use lustre_wire::llog;

use crate::cli::{MgsCommand, MgsNetwork};
use crate::output::{Table, print};
use crate::{Context, Failure};

pub(crate) async fn run(context: &Context, command: MgsCommand) -> Result<(), Failure> {
    match command {
        MgsCommand::Ping { network } => {
            let (lnet, address) = start(&network).await?;
            let within = Duration::from_secs(network.timeout);
            let info = lnet.ping(&address.nid, within).await.map_err(|error| failure(&error))?;
            let nids: Vec<String> = info.nids().iter().map(ToString::to_string).collect();
            context.output.show(&nids, |nids| nids.iter().map(|nid| format!("{nid}\n")).collect());
            Ok(())
        }
        MgsCommand::Read { network, fsname } => {
            let mgc = connect(&network).await?;
            let contents = mgc.contents(&fsname).await;
            let contents = and_leave(&mgc, contents).await?;
            context.output.show(&contents, table);
            Ok(())
        }
        MgsCommand::Log { network, name, raw } => {
            let mgc = connect(&network).await?;
            let log = mgc.log(&name).await;
            let log = and_leave(&mgc, log).await?;
            let log = log.ok_or_else(|| Failure::Local(format!("the MGS {} has no log {name}", mgc.mgs())))?;
            let text = if raw { llog::print_raw(&log) } else { llog::print(&log) };
            // What the log holds may be a stranger's: a terminal must not obey it.
            print(&text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}"));
            Ok(())
        }
    }
}

/// Disconnects, so that the MGS need not wait for a client that is gone.
async fn and_leave<T>(mgc: &Mgc, result: Result<T, MgcError>) -> Result<T, Failure> {
    let left = mgc.disconnect().await;
    let value = result.map_err(|error| failure(&error))?;
    left.map_err(|error| failure(&error))?;
    Ok(value)
}

async fn connect(network: &MgsNetwork) -> Result<Mgc, Failure> {
    let (lnet, address) = start(network).await?;
    let mut config = Config::new(vec![address.nid]);
    config.request = Duration::from_secs(network.timeout);
    Node::new(lnet).connect(config).await.map_err(|error| failure(&error))
}

/// A network node of our own, and where the MGS is.
async fn start(network: &MgsNetwork) -> Result<(Lnet, Address), Failure> {
    let address: Address = network.mgs.parse().map_err(Failure::Local)?;
    let own = match &network.nid {
        Some(nid) => nid.clone(),
        None => own_nid(&address)?,
    };
    let lnet = Lnet::start(lnet::Config::new(vec![own])).await.map_err(|error| failure(&error))?;
    lnet.set_address(&address.nid, address.socket);
    Ok((lnet, address))
}

fn failure(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    Failure::Local(text)
}

/// The NID that this host has towards the MGS: the address that packets to it leave from, on the MGS's network.
fn own_nid(address: &Address) -> Result<Nid, Failure> {
    let from = || {
        let any: SocketAddr = if address.socket.is_ipv4() { ([0u8; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        // Nothing is sent: this asks for the route.
        socket.connect(address.socket)?;
        Ok(socket.local_addr()?.ip())
    };
    let ip = from().map_err(|error: std::io::Error| {
        Failure::Local(format!("no route to {}: {error}; name the own NID with --nid", address.socket))
    })?;
    format!("{ip}@{}", address.nid.net()).parse().map_err(|error| Failure::Local(format!("own NID: {error}")))
}

/// Where an MGS is: `10.0.0.1@tcp`, `tcp://10.0.0.1`, `tcp://10.0.0.1@tcp1:1988`, `tcp://[fd00::1]:988`.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    nid: Nid,
    socket: SocketAddr,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| {
            format!("\"{text}\" is no address of an MGS ({reason}); write 10.0.0.1@tcp or tcp://10.0.0.1@tcp:988")
        };
        let is_url = text.starts_with("tcp://");
        let rest = text.trim_start_matches("tcp://");
        // Behind the network, or behind a bare IPv4 address or one in brackets, a colon begins the port.
        let (host, net) = rest.split_once('@').map_or((rest, "tcp"), |(host, net)| (host, net));
        let (host, net, port) = match (net.split_once(':'), is_url && !rest.contains('@')) {
            (Some((net, port)), _) => (host, net, Some(port)),
            (None, true) => match host.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, net, Some(port)),
                _ => (host, net, None),
            },
            (None, false) => (host, net, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let nid: Nid =
            format!("{host}@{net}").parse().map_err(|error: lustre_types::NidError| wrong(&error.to_string()))?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| wrong("the port is no number from 1 to 65535"))?,
        };
        let ip = nid.ip().filter(|_| nid.net().kind() == "tcp");
        let ip = ip.ok_or_else(|| wrong("only tcp networks can be used without the kernel"))?;
        Ok(Self { nid, socket: SocketAddr::new(ip, port) })
    }
}

fn table(contents: &Contents) -> String {
    let mut text = format!("MGS {}, Lustre {}\n", contents.mgs, contents.version);
    if contents.filesystems.is_empty() {
        text.push_str("\nno file system was asked for: an MGS doesn't list them to clients; name them with --fsname\n");
    }
    for (fsname, filesystem) in &contents.filesystems {
        filesystem_table(&mut text, fsname, filesystem);
    }
    params_table(&mut text, "parameters of all file systems", &contents.params);
    nodemaps_table(&mut text, contents.nodemaps.as_ref());
    text
}

fn filesystem_table(text: &mut String, fsname: &str, filesystem: &Filesystem) {
    let version = filesystem.nid_table_version.map_or_else(String::new, |version| format!(", NID table {version}"));
    let _ = writeln!(text, "\nfile system {fsname}: {} targets{version}\n", filesystem.targets.len());
    let mut targets = Table::new(&["TARGET", "NIDS", "FAILOVER", "RUNS AT", "INSTANCE", "CLIENTS"]);
    for (svname, target) in &filesystem.targets {
        targets.row(target_row(svname, target));
    }
    text.push_str(&targets.text("no targets"));
    if !filesystem.pools.is_empty() {
        let mut pools = Table::new(&["POOL", "OSTS", "MEMBERS"]);
        for (pool, members) in &filesystem.pools {
            let list = members.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            pools.row([format!("{fsname}.{pool}"), members.len().to_string(), list]);
        }
        let _ = write!(text, "\n{}", pools.text("no pools"));
    }
    params_table(text, &format!("parameters of {fsname}"), &filesystem.params);
}

fn target_row(svname: &str, target: &TargetContents) -> [String; 6] {
    let failover = target.failover.iter().map(|nids| nids.join(",")).collect::<Vec<_>>().join(":");
    let use_it = if target.is_active { "use it" } else { "don't use it" };
    [
        svname.to_owned(),
        target.nids.join(","),
        dash(failover),
        dash(target.running_at.join(",")),
        dash(target.instance.map(|instance| instance.to_string()).unwrap_or_default()),
        use_it.to_owned(),
    ]
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn params_table(text: &mut String, title: &str, params: &[Param]) {
    if params.is_empty() {
        return;
    }
    let mut table = Table::new(&["PARAMETER", "VALUE", "DEVICE", "LOG"]);
    for param in params {
        table.row([param.name.clone(), param.value.clone(), dash(param.device.clone()), param.log.clone()]);
    }
    let _ = write!(text, "\n{title}\n\n{}", table.text("none"));
}

fn nodemaps_table(text: &mut String, nodemaps: Option<&Nodemaps>) {
    let Some(nodemaps) = nodemaps else {
        text.push_str("\nnodemaps: the MGS shows none\n");
        return;
    };
    let state = if nodemaps.is_active { "in force" } else { "not in force" };
    let mut table = Table::new(&["NODEMAP", "PROPERTIES", "SQUASH UID:GID:PROJID", "NIDS", "BANNED", "FILESET", "IDS"]);
    let mut ids = Table::new(&["NODEMAP", "KIND", "CLIENT", "FILE SYSTEM"]);
    for nodemap in nodemaps.nodemaps.values() {
        let squash = format!("{}:{}:{}", nodemap.squash_uid, nodemap.squash_gid, nodemap.squash_projid);
        let ranges = |ranges: &[(String, String)]| ranges.iter().map(range).collect::<Vec<_>>();
        let nids = [ranges(&nodemap.ranges), nodemap.masks.clone()].concat();
        let count: usize = nodemap.ids.values().map(std::collections::BTreeMap::len).sum();
        table.row([
            nodemap.name.clone(),
            dash(nodemap.properties.join(",")),
            squash,
            dash(nids.join(" ")),
            dash(ranges(&nodemap.banned).join(" ")),
            dash(nodemap.fileset.clone().unwrap_or_default()),
            count.to_string(),
        ]);
        for (kind, of_kind) in &nodemap.ids {
            for (client, fs) in of_kind {
                ids.row([nodemap.name.clone(), kind.name().to_owned(), client.to_string(), fs.to_string()]);
            }
        }
    }
    let _ = write!(text, "\nnodemaps ({state})\n\n{}", table.text("none"));
    if nodemaps.nodemaps.values().any(|nodemap| !nodemap.ids.is_empty()) {
        let _ = write!(text, "\nids that nodemaps map\n\n{}", ids.text("none"));
    }
    if nodemaps.undecoded_records > 0 {
        let _ =
            writeln!(text, "{} records of nodemaps are of kinds that can't be read here", nodemaps.undecoded_records);
    }
}

/// A range of NIDs; one alone as it is.
fn range((first, last): &(String, String)) -> String {
    if first == last { first.clone() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        let address: Address = text.parse().unwrap();
        format!("{} {}", address.nid, address.socket)
    }

    #[test]
    fn an_mgs_is_named_by_nid_or_url() {
        assert_eq!(address("10.0.0.1@tcp"), "10.0.0.1@tcp 10.0.0.1:988");
        assert_eq!(address("10.0.0.1"), "10.0.0.1@tcp 10.0.0.1:988");
        assert_eq!(address("tcp://10.0.0.1"), "10.0.0.1@tcp 10.0.0.1:988");
        assert_eq!(address("tcp://10.0.0.1:1988"), "10.0.0.1@tcp 10.0.0.1:1988");
        assert_eq!(address("tcp://10.0.0.1@tcp1:1988"), "10.0.0.1@tcp1 10.0.0.1:1988");
        assert_eq!(address("tcp://[fd00::1]:1988"), "fd00::1@tcp [fd00::1]:1988");
        assert_eq!(address("fd00::1@tcp"), "fd00::1@tcp [fd00::1]:988");
        assert!("10.0.0.1@o2ib".parse::<Address>().unwrap_err().contains("only tcp networks"));
        assert!("mgs1".parse::<Address>().unwrap_err().contains("write 10.0.0.1@tcp"));
        assert!("tcp://10.0.0.1:99999".parse::<Address>().unwrap_err().contains("the port"));
    }
}
