//! The nodemaps as they are sent to targets: pages of keys and records. Source: MGS specification, section 3.4; config-log
//! specification, section 9.4.

use lustre_wire::bytes::Writer;

/// Size of a page.
pub(super) const PAGE_LEN: usize = 4096;
/// Magic of a page.
const PAGE_MAGIC: u32 = 0x8A6D_6B6C;
/// Flags of the default nodemap: map uids, gids and project ids, audit.
const DEFAULT_FLAGS: u8 = 0xB8;
/// More of them.
const DEFAULT_FLAGS2: u8 = 4;
/// Who nobody is.
const SQUASH: u32 = 65534;

/// A page with the default nodemap, inactive: what an MGS without nodemaps has.
pub(super) fn default_page() -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_LEN);
    page.put_u32(PAGE_MAGIC);
    page.put_u16(0);
    page.put_u16(2);
    page.put_u64(0);
    // Cluster 0.
    page.put_u32(0x1000_0000);
    page.put_u32(0);
    page.put_padded(b"default", 17);
    page.put_u8(DEFAULT_FLAGS);
    page.put_u8(DEFAULT_FLAGS2);
    page.put_u8(0);
    for _ in 0..3 {
        page.put_u32(SQUASH);
    }
    // Global: inactive.
    page.put_u32(0xF000_0000);
    page.put_u32(0);
    page.put_zeros(32);
    page.resize(PAGE_LEN, 0);
    page
}
