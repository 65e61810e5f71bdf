/// A kind of LNet network (LND): its number on the wire, its name, and what its addresses are.
///
/// Source: LNet specification, section 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lnd {
    /// As in the network part of a NID on the wire.
    pub number: u8,
    /// As in `tcp` of `10.0.0.1@tcp1`.
    pub name: &'static str,
    /// What stands before the `@`.
    pub addresses: LndAddresses,
}

/// What the addresses on a network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LndAddresses {
    /// IPv4 addresses.
    Ipv4,
    /// IPv4 addresses, and IPv6 addresses where NIDs have their large form.
    Ip,
    /// Numbers of 32 bits.
    Number,
}

use LndAddresses::{Ip, Ipv4, Number};

/// All that have a name.
const LNDS: [Lnd; 9] = [
    Lnd { number: 2, name: "tcp", addresses: Ip },
    Lnd { number: 5, name: "o2ib", addresses: Ip },
    Lnd { number: 9, name: "lo", addresses: Number },
    Lnd { number: 13, name: "gni", addresses: Number },
    Lnd { number: 14, name: "gip", addresses: Ipv4 },
    Lnd { number: 15, name: "ptlf", addresses: Number },
    Lnd { number: 16, name: "kfi", addresses: Number },
    Lnd { number: 18, name: "efa", addresses: Ip },
    Lnd { number: 19, name: "bxi3f", addresses: Number },
];

impl Lnd {
    /// All kinds that have a name.
    pub fn all() -> impl Iterator<Item = Self> {
        LNDS.into_iter()
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|lnd| lnd.name == name)
    }

    /// The kind of this number, if it has a name.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::all().find(|lnd| lnd.number == number)
    }

    /// Whether addresses are IP addresses.
    pub fn is_ip(self) -> bool {
        self.addresses != Number
    }
}
