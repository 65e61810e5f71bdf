//! Early replies: "still at work, wait longer". Source: ptlrpc specification, section 5.

use crate::fixed::Fixed;
use crate::ptlrpc::{Body, Message, MessageHeader, Opcode, encode_message};

/// An early reply that asks the client to wait `timeout_s` seconds from when it sent the request. Goes to LNet offset 0.
pub fn early_reply(opc: Opcode, timeout_s: u32) -> Vec<u8> {
    let body = Body { timeout_s, ..Body::reply(opc, 0) }.encode();
    let header = MessageHeader { cksum: cksum(&body), ..MessageHeader::default() };
    encode_message(&header, &[&body])
}

/// True when the checksum of an early reply is right; a client discards it otherwise.
pub fn is_early_reply(message: &Message<'_>) -> bool {
    message.buffers().count() == 1 && message.buffer(0).is_some_and(|body| cksum(body) == message.header.cksum)
}

/// CRC-32 of the little-endian polynomial, seed all ones, without the final inversion.
fn cksum(bytes: &[u8]) -> u32 {
    !crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptlrpc::EARLY_ROOM;

    #[test]
    fn an_early_reply_fits_its_room_and_is_recognised_by_its_checksum() {
        let mut bytes = early_reply(Opcode::MGS_TARGET_REG, 30);
        assert_eq!(u32::try_from(bytes.len()).unwrap(), EARLY_ROOM);
        assert!(is_early_reply(&Message::decode(&bytes).unwrap()));
        bytes[100] ^= 1;
        assert!(!is_early_reply(&Message::decode(&bytes).unwrap()));
    }

    #[test]
    fn the_checksum_is_the_inverse_of_the_usual_crc() {
        // The usual CRC-32 of "123456789" is 0xCBF43926.
        assert_eq!(cksum(b"123456789"), !0xCBF4_3926);
    }
}
