//! The first bytes of a connection (`struct lnet_acceptor_connreq`): which NID the peer wants to reach.

use super::nid::{NidForm, WireNid};
use crate::bytes::{Reader, WireError, Writer};

/// First word of the request (`LNET_PROTO_ACCEPTOR_MAGIC`).
const MAGIC: u32 = 0xacce_7100;
/// First word of a question for the version (`LNET_PROTO_MAGIC`).
const MAGIC_QUERY: u32 = 0x4572_6963;
/// Version 1: the NID has 8 bytes.
const V1: u32 = 1;
/// Version 2, since Lustre 2.15: the NID has 20 bytes.
const V2: u32 = 2;

/// What the side that dialled asks for. A listener that agrees answers nothing.
///
/// Shape: magic, version, NID; 16 bytes, or 28 where the NID doesn't fit into 8.
/// Source: LNet specification, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptorRequest {
    /// Reach this NID of the listener.
    Connect {
        /// One of the listener's NIDs.
        nid: WireNid,
    },
    /// "Which versions do you speak", or a version from the future: answered with [`AcceptorRequest::REFUSAL`], then closed.
    Query,
}

impl AcceptorRequest {
    /// The answer to [`AcceptorRequest::Query`]: magic and the version that every node speaks.
    pub const REFUSAL: [u8; 16] = [0x00, 0x71, 0xce, 0xac, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Takes a request. Errors: short input; a first word that is no magic; a peer of the other byte order.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let magic = reader.u32("acr_magic")?;
        if magic == MAGIC_QUERY {
            return Ok(Self::Query);
        }
        if magic == MAGIC.swap_bytes() {
            return Err(reader.refuse("acr_magic", magic, "is the magic of a big-endian node; those are not served"));
        }
        if magic != MAGIC {
            return Err(reader.refuse("acr_magic", magic, "is not how an LNet connection begins"));
        }
        match reader.u32("acr_version")? {
            V1 => Ok(Self::Connect { nid: WireNid::decode(reader, "acr_nid", NidForm::Classic)? }),
            V2 => Ok(Self::Connect { nid: WireNid::decode(reader, "acr_nid", NidForm::Large)? }),
            _ => Ok(Self::Query),
        }
    }

    /// Appends the request, in version 2 where the NID doesn't fit into version 1.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let Self::Connect { nid } = self else {
            to.put_u32(MAGIC_QUERY);
            return;
        };
        to.put_u32(MAGIC);
        // "Any NID" may have bytes that mean nothing; they don't fit either, and are kept.
        let fits = nid.classic().is_some_and(|value| WireNid::from_classic(value) == *nid);
        let (version, form) = if fits { (V1, NidForm::Classic) } else { (V2, NidForm::Large) };
        to.put_u32(version);
        nid.encode(to, form);
    }
}

/// Runs the decoder on anything; for fuzzers and property tests.
pub fn fuzz_acceptor(data: &[u8]) {
    let mut reader = Reader::new("acceptor request", data);
    if let Ok(request) = AcceptorRequest::decode(&mut reader) {
        let mut again = Vec::new();
        request.encode(&mut again);
        let decoded = AcceptorRequest::decode(&mut Reader::new("acceptor request", &again));
        assert_eq!(decoded, Ok(request), "a request changes when encoded");
    }
}
