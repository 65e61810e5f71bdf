//! The LNet header (`struct lnet_hdr`): who sends what to whom.

use super::nid::{NidForm, WireNid};
use crate::bytes::{Reader, WireError, Writer};

/// Most payload of one message, bytes (`LNET_MTU`).
pub const MAX_PAYLOAD: u32 = 1 << 20;
/// Bytes of the part that differs by type; what a type doesn't use is zero.
const BODY_LEN: usize = 40;

/// Names a memory descriptor of the node that made it (`struct lnet_handle_wire`). Opaque to everyone else, echoed as is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireHandle {
    /// Which start of the node made it.
    pub interface_cookie: u64,
    /// Which descriptor.
    pub object_cookie: u64,
}

impl WireHandle {
    /// "No ACK wanted".
    pub const NONE: Self = Self { interface_cookie: u64::MAX, object_cookie: u64::MAX };

    /// True for [`WireHandle::NONE`].
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    fn decode(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Ok(Self { interface_cookie: reader.u64(field)?, object_cookie: reader.u64(field)? })
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.put_u64(self.interface_cookie);
        to.put_u64(self.object_cookie);
    }
}

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Data has arrived (answer to a [`Body::Put`] that wanted one).
    Ack {
        /// The `ack_wmd` of the PUT.
        dst_wmd: WireHandle,
        /// Those of the PUT.
        match_bits: u64,
        /// Bytes stored.
        mlength: u32,
    },
    /// Data for whoever waits at this portal for these match bits.
    Put {
        /// Where the ACK goes; [`WireHandle::NONE`] for no ACK.
        ack_wmd: WireHandle,
        /// What the receiver matches.
        match_bits: u64,
        /// Opaque, for the receiver.
        hdr_data: u64,
        /// Portal.
        portal: u32,
        /// Where in the receiver's buffer the data goes.
        offset: u32,
    },
    /// A wish for data.
    Get {
        /// Where the REPLY goes.
        return_wmd: WireHandle,
        /// What the receiver matches.
        match_bits: u64,
        /// Portal.
        portal: u32,
        /// Where in the receiver's buffer the data begins.
        src_offset: u32,
        /// Most bytes wanted.
        sink_length: u32,
    },
    /// The data that a GET wished for.
    Reply {
        /// The `return_wmd` of the GET.
        dst_wmd: WireHandle,
    },
}

/// Header of a message: 72 bytes, or 96 with large NIDs.
///
/// Source: LNet specification, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Who it is for.
    pub dest_nid: WireNid,
    /// Who sends it.
    pub src_nid: WireNid,
    /// Process id of the receiver.
    pub dest_pid: u32,
    /// Process id of the sender.
    pub src_pid: u32,
    /// Bytes of payload that follow.
    pub payload_length: u32,
    /// What the message does.
    pub body: Body,
}

impl Header {
    /// Bytes of a header with NIDs of that form.
    pub const fn len(form: NidForm) -> usize {
        2 * form.nid_len() + 16 + BODY_LEN
    }

    /// Takes a header. Errors: short input; an unknown type; an ACK or GET with payload; more payload than a message has.
    pub fn decode(reader: &mut Reader<'_>, form: NidForm) -> Result<Self, WireError> {
        let dest_nid = WireNid::decode(reader, "dest_nid", form)?;
        let src_nid = WireNid::decode(reader, "src_nid", form)?;
        let dest_pid = reader.u32("dest_pid")?;
        let src_pid = reader.u32("src_pid")?;
        let kind = reader.u32("type")?;
        let payload_length = reader.u32("payload_length")?;
        let mut body = Reader::new("lnet header", reader.bytes("msg", BODY_LEN)?);
        let body = match kind {
            0 => Body::Ack {
                dst_wmd: WireHandle::decode(&mut body, "dst_wmd")?,
                match_bits: body.u64("match_bits")?,
                mlength: body.u32("mlength")?,
            },
            1 => Body::Put {
                ack_wmd: WireHandle::decode(&mut body, "ack_wmd")?,
                match_bits: body.u64("match_bits")?,
                hdr_data: body.u64("hdr_data")?,
                portal: body.u32("ptl_index")?,
                offset: body.u32("offset")?,
            },
            2 => Body::Get {
                return_wmd: WireHandle::decode(&mut body, "return_wmd")?,
                match_bits: body.u64("match_bits")?,
                portal: body.u32("ptl_index")?,
                src_offset: body.u32("src_offset")?,
                sink_length: body.u32("sink_length")?,
            },
            3 => Body::Reply { dst_wmd: WireHandle::decode(&mut body, "dst_wmd")? },
            other => return Err(reader.refuse("type", other, "is none of ACK, PUT, GET and REPLY")),
        };
        if matches!(body, Body::Ack { .. } | Body::Get { .. }) && payload_length != 0 {
            return Err(reader.refuse("payload_length", payload_length, "must be 0 in an ACK or GET"));
        }
        if payload_length > MAX_PAYLOAD {
            return Err(reader.refuse("payload_length", payload_length, "is more than a message may carry"));
        }
        Ok(Self { dest_nid, src_nid, dest_pid, src_pid, payload_length, body })
    }

    /// Appends the header.
    pub fn encode(&self, to: &mut Vec<u8>, form: NidForm) {
        let end = to.len() + Self::len(form);
        self.dest_nid.encode(to, form);
        self.src_nid.encode(to, form);
        to.put_u32(self.dest_pid);
        to.put_u32(self.src_pid);
        to.put_u32(match self.body {
            Body::Ack { .. } => 0,
            Body::Put { .. } => 1,
            Body::Get { .. } => 2,
            Body::Reply { .. } => 3,
        });
        to.put_u32(self.payload_length);
        match self.body {
            Body::Ack { dst_wmd, match_bits, mlength } => {
                dst_wmd.encode(to);
                to.put_u64(match_bits);
                to.put_u32(mlength);
            }
            Body::Put { ack_wmd, match_bits, hdr_data, portal, offset } => {
                ack_wmd.encode(to);
                to.put_u64(match_bits);
                to.put_u64(hdr_data);
                to.put_u32(portal);
                to.put_u32(offset);
            }
            Body::Get { return_wmd, match_bits, portal, src_offset, sink_length } => {
                return_wmd.encode(to);
                to.put_u64(match_bits);
                to.put_u32(portal);
                to.put_u32(src_offset);
                to.put_u32(sink_length);
            }
            Body::Reply { dst_wmd } => dst_wmd.encode(to),
        }
        to.put_zeros(end - to.len());
    }
}

/// Runs the decoder on anything; for fuzzers and property tests. What decodes must survive being encoded.
pub fn fuzz_header(data: &[u8]) {
    for form in [NidForm::Classic, NidForm::Large] {
        if let Ok(header) = Header::decode(&mut Reader::new("lnet header", data), form) {
            let mut again = Vec::new();
            header.encode(&mut again, form);
            assert_eq!(again.len(), Header::len(form));
            let decoded = Header::decode(&mut Reader::new("lnet header", &again), form);
            assert_eq!(decoded, Ok(header), "a header changes when encoded");
        }
    }
}
