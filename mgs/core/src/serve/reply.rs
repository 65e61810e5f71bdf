//! Replies.

use bytes::Bytes;
use lustre_wire::fixed::Fixed;
use lustre_wire::ptlrpc::{Body, MessageHeader, MessageWriter, encode_message, padded};

use crate::serve::request::Request;
use crate::serve::{Effect, Errno, Outgoing};

/// What we say that a request may take, in seconds.
const TIMEOUT_S: u32 = 5;

/// The body of a reply.
pub(super) fn body(request: &Request, status: i32) -> Body {
    Body { timeout_s: TIMEOUT_S, ..Body::reply(request.opc, status) }
}

/// A refusal without buffers.
pub(super) fn error(request: &Request, errno: Errno) -> Effect {
    let body = Body { service_time_s: 1, ..Body::error(request.opc, errno.status()) };
    send(request, encode_message(&MessageHeader::default(), &[&body.encode()]), Bytes::new())
}

/// A reply without buffers.
pub(super) fn empty(request: &Request) -> Effect {
    with(request, 0, &[])
}

/// A reply with a status and buffers behind the body.
pub(super) fn with(request: &Request, status: i32, buffers: &[&[u8]]) -> Effect {
    send(request, encode(&body(request, status), buffers), Bytes::new())
}

/// Begins a reply with a status and `count` buffers behind the body, of `room` bytes together: for what is sent most.
pub(super) fn begin(request: &Request, status: i32, count: usize, room: usize) -> MessageWriter {
    let mut message = MessageWriter::new(&MessageHeader::default(), 1 + count, Body::LEN + room);
    message.put(|out| body(request, status).write(out));
    message
}

pub(super) fn encode(body: &Body, buffers: &[&[u8]]) -> Vec<u8> {
    let room = buffers.iter().map(|buffer| padded(buffer.len())).sum::<usize>();
    let mut message = MessageWriter::new(&MessageHeader::default(), 1 + buffers.len(), Body::LEN + room);
    message.put(|out| body.write(out));
    buffers.iter().for_each(|buffer| message.put_bytes(buffer));
    message.finish()
}

pub(super) fn send(request: &Request, own: Vec<u8>, shared: Bytes) -> Effect {
    Effect::Send(Outgoing {
        to: request.source,
        pid: request.pid,
        from: request.target,
        portal: request.reply_portal,
        match_bits: request.reply_bits,
        offset: request.reply_offset(),
        own,
        shared,
    })
}
