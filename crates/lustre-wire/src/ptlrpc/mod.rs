//! RPC messages: the message with its buffers, the body, connect data, where requests and replies go.
//!
//! Source: ptlrpc specification, sections 1 to 8.

mod body;
mod connect;
mod early;
mod message;
mod opcode;
mod route;

pub use body::{Body, BodyKind, JOBID_LEN, body_flag, connect_op};
pub use connect::{ConnectData, ConnectRequest, connect_flag, connect_flag2, decode_connect};
pub use early::{early_reply, is_early_reply};
pub use message::{
    BUFFERS_MAX, MAGIC, Message, MessageHeader, MessageWriter, Part, encode_message, message_flag, message_len, padded,
};
pub use opcode::{Opcode, Service};
pub use route::{EARLY_ROOM, bulk_match_bits, portal, reply_match_bits, reply_offset};

/// Decodes whatever comes as a message, its body and its connect data.
pub fn fuzz_message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let buffers: Vec<&[u8]> = message.buffers().collect();
    assert_eq!(encode_message(&message.header, &buffers).len(), message.len());
    if let Some(body) = message.buffer(0) {
        crate::fixed::fuzz::<Body>(body);
    }
    let _ = decode_connect(&message);
}

/// Decodes whatever comes as a message body.
pub fn fuzz_body(data: &[u8]) {
    crate::fixed::fuzz::<Body>(data);
}

/// Decodes whatever comes as connect data.
pub fn fuzz_connect_data(data: &[u8]) {
    crate::fixed::fuzz::<ConnectData>(data);
}
