//! The 8-byte NID of `add_uuid`, to and from text.
//!
//! Layout: LNet specification, sections 1.1 and 1.3.

use lustre_types::{Lnd, Nid};
use std::net::{IpAddr, Ipv4Addr};

/// `lnet_nid_t` of a NID; `None` for an IPv6 address, which needs the text form.
pub fn nid8(nid: &Nid) -> Option<u64> {
    let address = match nid.ip() {
        Some(IpAddr::V4(ip)) => u32::from(ip),
        Some(IpAddr::V6(_)) => return None,
        None => nid.address().parse().ok()?,
    };
    Some(u64::from(nid.net().lnd().number) << 48 | u64::from(nid.net().number()) << 32 | u64::from(address))
}

/// The text that Lustre's tools print for an `lnet_nid_t`.
pub fn nid8_text(nid: u64) -> String {
    let [_, kind, high, low, a, b, c, d] = nid.to_be_bytes();
    let number = u16::from_be_bytes([high, low]);
    let suffix = if number == 0 { String::new() } else { number.to_string() };
    match Lnd::numbered(kind) {
        _ if nid == u64::MAX => "<?>".to_owned(),
        Some(lnd) if lnd.is_ip() => format!("{}@{}{suffix}", Ipv4Addr::new(a, b, c, d), lnd.name),
        Some(lnd) => format!("{}@{}{suffix}", u32::from_be_bytes([a, b, c, d]), lnd.name),
        None => format!("{:x}@<{kind}:{number}>", u32::from_be_bytes([a, b, c, d])),
    }
}
