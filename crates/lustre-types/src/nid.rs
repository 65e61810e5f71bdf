//! LNet addresses: one NID, and lists of them as `mgsnode=` and mount sources write them.

use crate::text::{excerpt, string_face};
use crate::{FsName, Lnd, LndAddresses};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An LNet network: its type and number, as in `tcp`, `tcp1`, `o2ib`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LnetNet {
    kind: &'static str,
    number: u16,
}

/// A network identifier: an address on an LNet network, as in `10.0.0.1@tcp`, `fd00::1@tcp1`, `12@gni`, `0@lo`.
///
/// A missing network means `tcp`, as in Lustre's tools; a network number 0 is not printed.
/// Source: LNet specification, section 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nid {
    address: Address,
    net: LnetNet,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Address {
    Ip(IpAddr),
    Number(u32),
}

/// Why a text is not a NID or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NidError {
    /// Nothing where a NID should be.
    #[error("a NID is missing; write one like \"10.0.0.1@tcp\"")]
    Empty,
    /// The part after `@` is no LNet network.
    #[error(
        "NID \"{nid}\": \"{net}\" is not an LNet network; use tcp, o2ib, efa, gni, gip, kfi, bxi3f, ptlf or lo, with an optional number"
    )]
    Net {
        /// The NID as given, shortened.
        nid: String,
        /// The network part.
        net: String,
    },
    /// The part before `@` is no address of that network.
    #[error(
        "NID \"{nid}\": \"{address}\" is not an address on {net}; write {} (host names are not resolved here)",
        what_is_written(net)
    )]
    Address {
        /// The NID as given, shortened.
        nid: String,
        /// The address part.
        address: String,
        /// The network it should be on.
        net: String,
    },
}

impl LnetNet {
    /// The type without number, as in `tcp`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What is known of the type.
    pub fn lnd(&self) -> Lnd {
        Lnd::named(self.kind).expect("a network is only made of a known type")
    }

    /// The number: 1 in `tcp1`, 0 in `tcp`.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() - text.bytes().rev().take_while(u8::is_ascii_digit).count();
        // "o2ib" ends in no digit, so the last letter always splits type and number.
        let (kind, number) = text.split_at(digits);
        let kind = Lnd::named(kind)?.name;
        let number = if number.is_empty() { 0 } else { number.parse().ok()? };
        (kind != "lo" || number == 0).then_some(Self { kind, number })
    }
}

impl FromStr for LnetNet {
    type Err = NidError;
    fn from_str(text: &str) -> Result<Self, NidError> {
        Self::parse(text).ok_or_else(|| NidError::Net { nid: excerpt(text), net: excerpt(text) })
    }
}

impl fmt::Display for LnetNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => f.write_str(self.kind),
            number => write!(f, "{}{number}", self.kind),
        }
    }
}

impl Nid {
    /// A NID of an IP address on network `tcp`.
    pub fn tcp(address: IpAddr) -> Self {
        Self { address: Address::Ip(address), net: LnetNet { kind: "tcp", number: 0 } }
    }

    /// The network.
    pub fn net(&self) -> &LnetNet {
        &self.net
    }

    /// The IP address, for networks that have them.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.address {
            Address::Ip(ip) => Some(ip),
            Address::Number(_) => None,
        }
    }

    /// The address part as text, as in `10.0.0.1`.
    pub fn address(&self) -> String {
        match &self.address {
            Address::Ip(ip) => ip.to_string(),
            Address::Number(number) => number.to_string(),
        }
    }
}

impl FromStr for Nid {
    type Err = NidError;
    fn from_str(text: &str) -> Result<Self, NidError> {
        if text.is_empty() {
            return Err(NidError::Empty);
        }
        let (address, net) = text.rsplit_once('@').unwrap_or((text, "tcp"));
        let net = LnetNet::parse(net).ok_or_else(|| NidError::Net { nid: excerpt(text), net: excerpt(net) })?;
        let parsed = match net.lnd().addresses {
            LndAddresses::Ip => address.parse().ok().map(Address::Ip),
            LndAddresses::Ipv4 => address.parse().ok().map(|address: Ipv4Addr| Address::Ip(address.into())),
            LndAddresses::Number => number(address).map(Address::Number),
        };
        let address = parsed.ok_or_else(|| NidError::Address {
            nid: excerpt(text),
            address: excerpt(address),
            net: net.to_string(),
        })?;
        Ok(Self { address, net })
    }
}

/// A numeric address: decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |hex| (hex, 16));
    // What from_str_radix takes besides digits.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

/// What an address on a network is.
fn what_is_written(net: &str) -> &'static str {
    let addresses = LnetNet::parse(net).map(|net| net.lnd().addresses);
    match addresses {
        Some(LndAddresses::Number) => "a number",
        Some(LndAddresses::Ipv4) => "an IPv4 address",
        _ => "an IP address",
    }
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.address(), self.net))
    }
}

string_face!(
    Nid,
    "Nid",
    "An LNet network identifier, as in `10.0.0.1@tcp`.",
    "^[0-9A-Fa-fxX.:]+(@(tcp|o2ib|lo|gni|gip|ptlf|kfi|efa|bxi3f)[0-9]{0,5})?$"
);

/// NIDs of one or more nodes: `,` between NIDs of one node, `:` between nodes, as in `10.0.0.1@tcp,10.1.0.1@o2ib:10.0.0.2@tcp`.
///
/// IPv6 addresses hold colons themselves, so a colon separates nodes only behind a network (`fd00::1@tcp:fd00::2@tcp`).
/// Never empty. Source: mountdata specification, section 6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NidList(Vec<Vec<Nid>>);

impl NidList {
    /// One node per element, each with its NIDs; `None` when there is no node or one without NIDs.
    pub fn new(nodes: Vec<Vec<Nid>>) -> Option<Self> {
        (!nodes.is_empty() && nodes.iter().all(|nids| !nids.is_empty())).then_some(Self(nodes))
    }

    /// The nodes, each with its NIDs.
    pub fn nodes(&self) -> &[Vec<Nid>] {
        &self.0
    }
}

impl FromStr for NidList {
    type Err = NidError;
    fn from_str(text: &str) -> Result<Self, NidError> {
        let mut nodes = vec![Vec::new()];
        let mut rest = text;
        loop {
            // A NID ends at the first separator behind its '@'. Bare addresses have no '@' of their own: the text before
            // the next one then holds separators and is no IPv6 address.
            let whole = |address: &str| !address.contains([',', ':']) || address.parse::<Ipv6Addr>().is_ok();
            let at = rest.find('@').filter(|at| whole(&rest[..*at])).unwrap_or(0);
            let end = rest[at..].find([',', ':']).map_or(rest.len(), |offset| at + offset);
            let nid = rest[..end].parse()?;
            nodes.last_mut().expect("starts with one node").push(nid);
            match rest.as_bytes().get(end) {
                None => return Ok(Self(nodes)),
                Some(b':') => nodes.push(Vec::new()),
                Some(_) => {}
            }
            rest = &rest[end + 1..];
        }
    }
}

impl fmt::Display for NidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |nids: &Vec<Nid>| nids.iter().map(Nid::to_string).collect::<Vec<_>>().join(",");
        f.pad(&self.0.iter().map(node).collect::<Vec<_>>().join(":"))
    }
}

string_face!(
    NidList,
    "NidList",
    "NIDs of one or more nodes: `,` between NIDs of one node, `:` between nodes.",
    "^[^ ]+$"
);

/// What a client mounts: `<mgs nids>:/<fsname>`, as in `10.0.0.1@tcp:10.0.0.2@tcp:/scratch`.
pub fn mount_source(mgs: &NidList, fsname: &FsName) -> String {
    format!("{mgs}:/{fsname}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bare_address_is_on_tcp() {
        assert_eq!("10.0.0.1".parse::<Nid>().unwrap().to_string(), "10.0.0.1@tcp");
        assert_eq!("10.0.0.1@tcp0".parse::<Nid>().unwrap().to_string(), "10.0.0.1@tcp");
        assert_eq!("10.0.0.1@o2ib12".parse::<Nid>().unwrap().net().number(), 12);
        assert_eq!("0@lo".parse::<Nid>().unwrap().to_string(), "0@lo");
        assert_eq!("fd00::1@tcp".parse::<Nid>().unwrap().ip(), Some("fd00::1".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(matches!("10.0.0.1@ethernet".parse::<Nid>(), Err(NidError::Net { .. })));
        assert!(matches!("10.0.0.1@tcp99999999".parse::<Nid>(), Err(NidError::Net { .. })));
        assert!(matches!("oss1@tcp".parse::<Nid>(), Err(NidError::Address { .. })));
        assert!(matches!("10.0.0.300@tcp".parse::<Nid>(), Err(NidError::Address { .. })));
        assert_eq!("".parse::<Nid>(), Err(NidError::Empty));
        assert_eq!("10.0.0.1@tcp,".parse::<NidList>(), Err(NidError::Empty));
    }

    #[test]
    fn every_kind_of_network_has_its_addresses() {
        for lnd in Lnd::all() {
            let takes = |address: &str| format!("{address}@{}", lnd.name).parse::<Nid>().is_ok();
            let expected = match lnd.addresses {
                LndAddresses::Ip => [true, true, false],
                LndAddresses::Ipv4 => [true, false, false],
                LndAddresses::Number => [false, false, true],
            };
            assert_eq!([takes("10.0.0.1"), takes("fd00::1"), takes("17")], expected, "{}", lnd.name);
            let schema = serde_json::to_string(&schemars::schema_for!(Nid)).unwrap();
            assert!(
                schema.contains(&format!("|{}", lnd.name)) || schema.contains(&format!("({}", lnd.name)),
                "{schema}"
            );
            assert_eq!(Lnd::numbered(lnd.number), Some(lnd));
        }
        assert_eq!("0x11@gni1".parse::<Nid>().unwrap().to_string(), "17@gni1");
        assert!(
            "0x@gni".parse::<Nid>().is_err() && "+1@gni".parse::<Nid>().is_err() && "-1@gni".parse::<Nid>().is_err()
        );
        let wrong = "10.0.0.1@gni".parse::<Nid>().unwrap_err().to_string();
        assert!(wrong.contains("write a number"), "{wrong}");
    }

    #[test]
    fn colons_separate_nodes_also_between_ipv6_addresses() {
        let list: NidList = "fd00::1@tcp,10.0.0.1@o2ib:fd00::2@tcp".parse().unwrap();
        assert_eq!(list.nodes().len(), 2);
        assert_eq!(list.nodes()[0].len(), 2);
        assert_eq!(list.to_string(), "fd00::1@tcp,10.0.0.1@o2ib:fd00::2@tcp");
        let bare: NidList = "10.0.0.1:10.0.0.2@tcp1".parse().unwrap();
        assert_eq!(bare.to_string(), "10.0.0.1@tcp:10.0.0.2@tcp1");
    }

    #[test]
    fn a_mount_source_is_what_mount_lustre_takes() {
        let mgs: NidList = "10.0.0.1@tcp:10.0.0.2@tcp".parse().unwrap();
        assert_eq!(mount_source(&mgs, &"scratch".parse().unwrap()), "10.0.0.1@tcp:10.0.0.2@tcp:/scratch");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f.:,@tcpo2ib]{0,40}|\\PC{0,20}") {
            if let Ok(list) = text.parse::<NidList>() {
                prop_assert_eq!(list.to_string().parse::<NidList>().unwrap(), list);
            }
        }
    }
}
