//! The 8-byte NID of `add_uuid`, to and from text.
//!
//! Layout: LNet specification, sections 1.1 and 1.3.

use lustre_types::Nid;
use std::net::{IpAddr, Ipv4Addr};

/// Network types by number; `true` where addresses are dotted quads.
const KINDS: [(u8, &str, bool); 8] = [
    (2, "tcp", true),
    (5, "o2ib", true),
    (9, "lo", false),
    (13, "gni", false),
    (15, "ptlf", false),
    (16, "kfi", false),
    (14, "gip", true),
    (18, "efa", true),
];

/// `lnet_nid_t` of a NID; `None` for an IPv6 address, which needs the text form.
pub fn nid8(nid: &Nid) -> Option<u64> {
    let (kind, ..) = KINDS.into_iter().find(|(_, name, _)| *name == nid.net().kind())?;
    let address = match nid.ip() {
        Some(IpAddr::V4(ip)) => u32::from(ip),
        Some(IpAddr::V6(_)) => return None,
        None => nid.address().parse().ok()?,
    };
    Some(u64::from(kind) << 48 | u64::from(nid.net().number()) << 32 | u64::from(address))
}

/// The text that Lustre's tools print for an `lnet_nid_t`.
pub fn nid8_text(nid: u64) -> String {
    let [_, kind, high, low, a, b, c, d] = nid.to_be_bytes();
    let number = u16::from_be_bytes([high, low]);
    let suffix = if number == 0 { String::new() } else { number.to_string() };
    match KINDS.into_iter().find(|(code, ..)| *code == kind) {
        _ if nid == u64::MAX => "<?>".to_owned(),
        Some((_, name, true)) => format!("{}@{name}{suffix}", Ipv4Addr::new(a, b, c, d)),
        Some((_, name, false)) => format!("{}@{name}{suffix}", u32::from_be_bytes([a, b, c, d])),
        None => format!("{:x}@<{kind}:{number}>", u32::from_be_bytes([a, b, c, d])),
    }
}
