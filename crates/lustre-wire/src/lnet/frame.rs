//! Frames (`struct ksock_msg`): what every message on an established connection begins with.

use crate::bytes::{Reader, WireError, Writer};

/// What follows a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Nothing: keepalive, or acknowledgements.
    Noop,
    /// An LNet header and its payload.
    Lnet,
}

/// The header of a frame: 24 bytes.
///
/// Zero-copy cookies: a sender that wants to know when its pages are free sets one; the receiver hands it back once in
/// any frame of its own, after it has the whole payload. Source: LNet specification, sections 5 and 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// What follows.
    pub kind: FrameKind,
    /// 0, or the [`checksum`] of header (with 0 here), LNet header and payload.
    pub csum: u32,
    /// In an LNet frame: "acknowledge this cookie", 0 for "no". In a NOOP: a second acknowledged cookie, or where a
    /// range begins that [`FrameHeader::zc_ack`] ends.
    pub zc_request: u64,
    /// An acknowledged cookie, 0 for none. 1 in a NOOP is a keepalive.
    pub zc_ack: u64,
}

impl FrameHeader {
    /// Bytes of the header.
    pub const LEN: usize = 24;
    const NOOP: u32 = 0xc0;
    const LNET: u32 = 0xc1;

    /// An LNet frame without checksum that wants no acknowledgement and gives none.
    pub const PLAIN: Self = Self { kind: FrameKind::Lnet, csum: 0, zc_request: 0, zc_ack: 0 };
    /// "I am alive"; never answered.
    pub const KEEPALIVE: Self = Self { kind: FrameKind::Noop, csum: 0, zc_request: 0, zc_ack: 1 };

    /// The frame that acknowledges one cookie.
    pub const fn acknowledge(cookie: u64) -> Self {
        Self { kind: FrameKind::Noop, csum: 0, zc_request: 0, zc_ack: cookie }
    }

    /// Takes a header. Errors: short input; a type that isn't one of the two.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = match reader.u32("ksm_type")? {
            Self::NOOP => FrameKind::Noop,
            Self::LNET => FrameKind::Lnet,
            other => return Err(reader.refuse("ksm_type", other, "is neither NOOP nor LNET")),
        };
        Ok(Self {
            kind,
            csum: reader.u32("ksm_csum")?,
            zc_request: reader.u64("ksm_zc_cookies[0]")?,
            zc_ack: reader.u64("ksm_zc_cookies[1]")?,
        })
    }

    /// Appends the header.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.put_u32(match self.kind {
            FrameKind::Noop => Self::NOOP,
            FrameKind::Lnet => Self::LNET,
        });
        to.put_u32(self.csum);
        to.put_u64(self.zc_request);
        to.put_u64(self.zc_ack);
    }
}

/// The checksum of a frame: CRC-32 (little-endian polynomial) from 0xFFFFFFFF without a final inversion.
///
/// `parts` are the frame's bytes in order, with 0 where the checksum goes.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    !hasher.finalize()
}

/// Runs the decoder on anything; for fuzzers and property tests. What decodes must encode to the same bytes.
pub fn fuzz_frame(data: &[u8]) {
    if let Ok(frame) = FrameHeader::decode(&mut Reader::new("frame", data)) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, data[..FrameHeader::LEN], "a decoded frame header encodes to other bytes");
    }
}
