//! Where requests, replies and bulk data go. Source: ptlrpc specification, sections 1, 5 and 6.

use crate::ptlrpc::{Opcode, message_flag};

/// LNet portals.
pub mod portal {
    /// Bulk data of the MGS.
    pub const MGS_BULK: u32 = 33;
    /// Requests to the MGS.
    pub const MGS_REQUEST: u32 = 26;
    /// Replies of the MGS.
    pub const MGC_REPLY: u32 = 25;
    /// Cancels, client to server.
    pub const LDLM_CANCEL_REQUEST: u32 = 17;
    /// Replies to them.
    pub const LDLM_CANCEL_REPLY: u32 = 18;
    /// Callbacks, server to client.
    pub const LDLM_CB_REQUEST: u32 = 15;
    /// Replies to them.
    pub const LDLM_CB_REPLY: u32 = 16;

    /// The portal of replies to requests on this one; `None` when no requests are taken there.
    pub fn reply_to(request: u32) -> Option<u32> {
        match request {
            MGS_REQUEST => Some(MGC_REPLY),
            LDLM_CANCEL_REQUEST => Some(LDLM_CANCEL_REPLY),
            LDLM_CB_REQUEST => Some(LDLM_CB_REPLY),
            _ => None,
        }
    }

    /// The portal that requests of this opcode are sent to.
    pub fn of(opc: super::Opcode) -> u32 {
        match opc {
            super::Opcode::LDLM_CANCEL => LDLM_CANCEL_REQUEST,
            super::Opcode::LDLM_BL_CALLBACK | super::Opcode::LDLM_CP_CALLBACK | super::Opcode::LDLM_GL_CALLBACK => {
                LDLM_CB_REQUEST
            }
            _ => MGS_REQUEST,
        }
    }
}

/// Bytes at the front of a reply buffer that belong to early replies: a message with a body and nothing else.
pub const EARLY_ROOM: u32 = 224;

/// The LNet offset of the final reply to a request with these `lm_flags`.
///
/// A reply at offset 0 is taken for an early one by a client that speaks adaptive timeouts, and discarded.
pub fn reply_offset(request_flags: u32) -> u32 {
    if request_flags & message_flag::AT_SUPPORT != 0 { EARLY_ROOM } else { 0 }
}

/// The match bits of a reply. `rep_mbits`: OBD_CONNECT2_REP_MBITS was granted to that export; replies to connects always take
/// the xid.
pub fn reply_match_bits(opc: Opcode, xid: u64, mbits: u64, rep_mbits: bool) -> u64 {
    if rep_mbits && mbits != 0 && opc != Opcode::MGS_CONNECT { mbits } else { xid }
}

/// The match bits of bulk data of one piece, which is all that an MGS sends. `bulk_mbits`: OBD_CONNECT_BULK_MBITS was granted.
pub fn bulk_match_bits(xid: u64, mbits: u64, bulk_mbits: bool) -> u64 {
    if bulk_mbits && mbits != 0 { mbits } else { xid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_leaves_room_for_early_ones_only_where_they_were_agreed() {
        assert_eq!(reply_offset(3), 224);
        assert_eq!(reply_offset(2), 0);
        assert_eq!(reply_offset(0), 0);
    }

    #[test]
    fn a_resent_request_is_answered_at_its_new_match_bits_unless_it_connects() {
        assert_eq!(reply_match_bits(Opcode::OBD_PING, 1, 2, true), 2);
        assert_eq!(reply_match_bits(Opcode::OBD_PING, 1, 0, true), 1);
        assert_eq!(reply_match_bits(Opcode::OBD_PING, 1, 2, false), 1);
        assert_eq!(reply_match_bits(Opcode::MGS_CONNECT, 1, 2, true), 1);
        assert_eq!(bulk_match_bits(1, 2, true), 2);
        assert_eq!(bulk_match_bits(1, 2, false), 1);
    }

    #[test]
    fn every_request_portal_has_its_reply_portal() {
        for opc in [Opcode::MGS_CONNECT, Opcode::LDLM_CANCEL, Opcode::LDLM_BL_CALLBACK] {
            assert!(portal::reply_to(portal::of(opc)).is_some(), "{opc}");
        }
        assert_eq!(portal::reply_to(28), None);
    }
}
