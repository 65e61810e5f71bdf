//! The node's NIDs: from LNet where it runs, else from configuration.

use super::{Host, HostError, tool};
use lustre_types::{LnetNet, Nid};
use std::{fs, net::IpAddr, str::FromStr};

/// What the configuration says of the node's NIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NidSource {
    /// This NID.
    Nid(Nid),
    /// The addresses of an interface, on network `tcp` or the one named: `eth0`, `eth0:tcp1`.
    Interface {
        /// Its name.
        name: String,
        /// The LNet network, such as `tcp1`.
        net: String,
    },
}

impl FromStr for NidSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return text.parse().map(Self::Nid).map_err(|error: lustre_types::NidError| error.to_string());
        }
        let (name, net) = text.split_once(':').unwrap_or((text, "tcp"));
        if name.is_empty() || name.contains('/') {
            return Err(format!("{text:?} is neither a NID (10.0.0.5@tcp) nor an interface (eth0, eth0:tcp1)"));
        }
        format!("127.0.0.1@{net}").parse::<Nid>().map_err(|error| error.to_string())?;
        Ok(Self::Interface { name: name.to_owned(), net: net.to_owned() })
    }
}

impl Host {
    /// The node's NIDs: what LNet says where it is up; else what `sources` say. Sorted as found, without `0@lo`.
    ///
    /// Errors: an interface that isn't there.
    pub fn nids(&self, sources: &[NidSource]) -> Result<Vec<Nid>, HostError> {
        let running = self.nids_of_lnet();
        if !running.is_empty() {
            return Ok(running);
        }
        let mut nids = Vec::new();
        for source in sources {
            match source {
                NidSource::Nid(nid) => nids.push(nid.clone()),
                NidSource::Interface { name, net } => nids.extend(self.nids_of_interface(name, net)?),
            }
        }
        Ok(nids)
    }

    fn nids_of_lnet(&self) -> Vec<Nid> {
        if !self.root.sys.join("module/lnet").exists() {
            return Vec::new();
        }
        if let Ok(output) = tool::run("lctl", "lustre", ["list_nids"])
            && output.status.success()
        {
            return parse_nids(&String::from_utf8_lossy(&output.stdout));
        }
        parse_nids(&fs::read_to_string(self.root.sys.join("kernel/debug/lnet/nis")).unwrap_or_default())
    }

    fn nids_of_interface(&self, name: &str, net: &str) -> Result<Vec<Nid>, HostError> {
        let failed = |source: std::io::Error| HostError::Io { what: "list addresses of", path: name.into(), source };
        let all = nix::ifaddrs::getifaddrs().map_err(|errno| failed(errno.into()))?;
        let addresses: Vec<IpAddr> = all
            .filter(|interface| interface.interface_name == name)
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
            })
            .filter(|address| !is_link_local(address))
            .collect();
        if addresses.is_empty() {
            let known = self.interfaces().join(", ");
            let detail = format!("there is no such interface with an address; there are {known}");
            return Err(failed(std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, detail)));
        }
        Ok(addresses.iter().filter_map(|address| format!("{address}@{net}").parse().ok()).collect())
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// First words that are NIDs, one per line, the loopback left out.
fn parse_nids(text: &str) -> Vec<Nid> {
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.contains('@'))
        .filter_map(|word| word.parse::<Nid>().ok())
        .filter(|nid| LnetNet::to_string(nid.net()) != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_lctl_and_of_the_kernel_are_read() {
        let nids = parse_nids("10.0.0.1@tcp\n10.1.0.1@o2ib\n");
        assert_eq!(nids.iter().map(Nid::to_string).collect::<Vec<_>>(), ["10.0.0.1@tcp", "10.1.0.1@o2ib"]);
        let table = "nid                      status alive refs peer  rtr   max    tx   min\n0@lo  up 0 2 0 0 0 0 0\n10.9.0.1@tcp  up -1 1 8 0 256 256 256\n";
        assert_eq!(parse_nids(table).iter().map(Nid::to_string).collect::<Vec<_>>(), ["10.9.0.1@tcp"]);
    }

    #[test]
    fn a_source_is_a_nid_or_an_interface() {
        assert!(matches!("10.0.0.5@tcp".parse(), Ok(NidSource::Nid(_))));
        let on = |text: &str| text.parse::<NidSource>();
        assert_eq!(on("lo"), Ok(NidSource::Interface { name: "lo".into(), net: "tcp".into() }));
        assert_eq!(on("eth0:tcp1"), Ok(NidSource::Interface { name: "eth0".into(), net: "tcp1".into() }));
        assert!(on("").is_err() && on("eth0:nonet").is_err() && on("../x").is_err());
    }

    #[test]
    fn loopback_has_an_address_and_a_missing_interface_is_named() {
        let host = Host::new(super::super::Sysroot::default(), super::super::Tools::from_dir(None));
        let nids = host.nids_of_interface("lo", "tcp").unwrap();
        assert!(nids.iter().any(|nid| nid.to_string() == "127.0.0.1@tcp"), "{nids:?}");
        let error = crate::host::chain(&host.nids_of_interface("nope0", "tcp").unwrap_err());
        assert!(error.contains("nope0") && error.contains("lo"), "{error}");
    }
}
