//! A message: its header, and the buffers that follow it. Source: `struct lustre_msg_v2`; ptlrpc specification, section 2.

use crate::bytes::{Reader, WireError, Writer};

/// Magic of a message in our byte order; a peer of the other one sends it reversed and is refused.
pub const MAGIC: u32 = 0x0BD0_0BD3;
const MAGIC_SWAPPED: u32 = MAGIC.swap_bytes();
/// Most buffers of a message.
pub const BUFFERS_MAX: u32 = 31;
/// Bytes before the list of buffer lengths.
const FIXED_LEN: usize = 32;
const WHAT: &str = "lustre_msg_v2";

/// Bits of `lm_flags`.
pub mod message_flag {
    /// The client keeps the front of its reply buffer free for early replies.
    pub const AT_SUPPORT: u32 = 1;
    /// Set by every connected client; without meaning here.
    pub const CKSUM_INCOMPAT18: u32 = 2;
}

/// Who sends, in the top byte of `lm_secflvr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// A client's data path; what an MGS sends, too.
    Client = 0,
    /// An MDT.
    Mdt = 1,
    /// An OST.
    Ost = 2,
    /// A configuration client.
    Mgc = 3,
    /// An MGS.
    Mgs = 4,
}

/// What a message says beside its buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHeader {
    /// `lm_secflvr`: sender part in the top byte, security flavor in the others.
    pub secflvr: u32,
    /// `lm_repsize`: in a request, how many bytes of reply the client made room for.
    pub repsize: u32,
    /// `lm_cksum`: CRC of buffer 0, in early replies only.
    pub cksum: u32,
    /// `lm_flags`, see [`message_flag`].
    pub flags: u32,
    /// `lm_opc`: opcode of a batched request, 0 otherwise.
    pub opc: u32,
}

impl MessageHeader {
    /// The header of a message by `part` with null security.
    pub fn new(part: Part) -> Self {
        Self { secflvr: u32::from(part as u8) << 24, ..Self::default() }
    }

    /// True when the message is neither signed nor encrypted: the only flavor spoken here.
    pub fn is_null_flavor(&self) -> bool {
        self.secflvr & 0x00FF_FFFF == 0
    }
}

/// A message as it was received. Borrows the bytes; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it says beside its buffers.
    pub header: MessageHeader,
    lens: &'a [u8],
    buffers: &'a [u8],
    len: usize,
}

/// Where the next buffer begins: lengths are padded to a multiple of 8.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Bytes of the header of a message with `count` buffers.
const fn header_len(count: usize) -> usize {
    padded(FIXED_LEN + 4 * count)
}

/// Bytes of a message whose buffers have these lengths.
pub fn message_len(lens: impl ExactSizeIterator<Item = usize>) -> usize {
    header_len(lens.len()) + lens.map(padded).sum::<usize>()
}

impl<'a> Message<'a> {
    /// Reads a message. Errors: the other byte order, another magic, no or too many buffers, buffers that are longer than
    /// the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(WHAT, bytes);
        let count = reader.u32("lm_bufcount")?;
        let secflvr = reader.u32("lm_secflvr")?;
        let magic = reader.u32("lm_magic")?;
        if magic == MAGIC_SWAPPED {
            return Err(reader.refuse("lm_magic", magic, "is a peer of the other byte order, which is not supported"));
        }
        if magic != MAGIC {
            return Err(reader.refuse("lm_magic", magic, "is no known magic"));
        }
        if count == 0 || count > BUFFERS_MAX {
            return Err(reader.refuse("lm_bufcount", count, "is not 1 to 31"));
        }
        let header = MessageHeader {
            secflvr,
            repsize: reader.u32("lm_repsize")?,
            cksum: reader.u32("lm_cksum")?,
            flags: reader.u32("lm_flags")?,
            opc: reader.u32("lm_opc")?,
        };
        reader.u32("lm_padding_3")?;
        let count = usize::try_from(count).expect("at most 31: checked above");
        let lens = reader.bytes("lm_buflens", 4 * count)?;
        reader.bytes("lm_buflens padding", header_len(count) - FIXED_LEN - 4 * count)?;
        // Sums of 31 lengths below 2^32 can't overflow 64 bits; a usize may have 32.
        let need: u64 = lens_of(lens).map(|len| u64::from(len).next_multiple_of(8)).sum();
        let buffers = reader.rest();
        let need = usize::try_from(need).unwrap_or(usize::MAX);
        if need > buffers.len() {
            return Err(WireError::Short { what: WHAT, field: "buffers", need, got: buffers.len() });
        }
        Ok(Self { header, lens, buffers: &buffers[..need], len: header_len(count) + need })
    }

    /// Length of the message in bytes; what was received may be longer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a message has a buffer at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Buffer `index`, without its padding; `None` when there are fewer.
    pub fn buffer(&self, index: usize) -> Option<&'a [u8]> {
        self.buffers().nth(index)
    }

    /// The buffers in their order.
    pub fn buffers(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.buffers;
        lens_of(self.lens).map(move |len| {
            let len = usize::try_from(len).expect("fits the received bytes: checked in Message::decode");
            let (taken, after) = rest.split_at(padded(len));
            rest = after;
            &taken[..len]
        })
    }

    /// Buffer `index` of at least `need` bytes. Errors name `field` when it is absent or shorter.
    pub fn need(&self, index: usize, field: &'static str, need: usize) -> Result<&'a [u8], WireError> {
        let buffer = self.buffer(index).unwrap_or_default();
        if buffer.len() < need {
            return Err(WireError::Short { what: WHAT, field, need, got: buffer.len() });
        }
        Ok(buffer)
    }

    /// The text in buffer `index`. Errors: absent, without NUL, not UTF-8.
    pub fn text(&self, index: usize, field: &'static str) -> Result<&'a str, WireError> {
        let buffer = self.need(index, field, 1)?;
        crate::fixed::text(&Reader::new(WHAT, buffer), field, buffer)
    }
}

fn lens_of(lens: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    lens.as_chunks::<4>().0.iter().map(|len| u32::from_le_bytes(*len))
}

/// Writes a message into one allocation, buffer by buffer.
pub struct MessageWriter {
    out: Vec<u8>,
    /// Where the length of the next buffer goes.
    len_at: usize,
    /// Buffers that are still to come.
    left: usize,
}

impl MessageWriter {
    /// Begins a message of `count` buffers that take `room` bytes together, padding included: less is grown, more is unused.
    ///
    /// # Panics
    /// With no buffer or more than 31: callers have a fixed number each.
    pub fn new(header: &MessageHeader, count: usize, room: usize) -> Self {
        let mut out = Vec::with_capacity(header_len(count) + room);
        let count_32 = u32::try_from(count).unwrap_or(u32::MAX);
        assert!((1..=BUFFERS_MAX).contains(&count_32), "a message has 1 to 31 buffers");
        out.put_u32(count_32);
        out.put_u32(header.secflvr);
        out.put_u32(MAGIC);
        out.put_u32(header.repsize);
        out.put_u32(header.cksum);
        out.put_u32(header.flags);
        out.put_u32(header.opc);
        out.put_u32(0);
        out.put_zeros(header_len(count) - FIXED_LEN);
        Self { out, len_at: FIXED_LEN, left: count }
    }

    /// Writes the next buffer: what `fill` appends.
    ///
    /// # Panics
    /// When all buffers were written.
    pub fn put(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.out.len();
        fill(&mut self.out);
        let len = self.out.len() - begin;
        self.out.put_zeros(padded(len) - len);
        self.set_len(len);
    }

    /// Writes the next buffer from its bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.put(|out| out.extend_from_slice(bytes));
    }

    /// The message. Buffers that were not written are empty.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The message up to its last buffer, which has `len` bytes: the caller sends them behind it, without copying them into
    /// the message.
    ///
    /// # Panics
    /// When `len` is no multiple of 8: nothing can be put behind what others share.
    pub fn finish_with_tail(mut self, len: usize) -> Vec<u8> {
        assert_eq!(len % 8, 0, "a shared tail has no room for padding");
        self.set_len(len);
        debug_assert_eq!(self.left, 0, "the tail is the last buffer");
        self.out
    }

    fn set_len(&mut self, len: usize) {
        assert!(self.left > 0, "the message has all its buffers");
        let len = u32::try_from(len).expect("a buffer in memory is smaller than 4 GiB");
        self.out[self.len_at..self.len_at + 4].copy_from_slice(&len.to_le_bytes());
        (self.len_at, self.left) = (self.len_at + 4, self.left - 1);
    }
}

/// A message of these buffers.
///
/// # Panics
/// With no buffer or more than 31: callers have a fixed number each.
pub fn encode_message(header: &MessageHeader, buffers: &[&[u8]]) -> Vec<u8> {
    let room = buffers.iter().map(|buffer| padded(buffer.len())).sum();
    let mut message = MessageWriter::new(header, buffers.len(), room);
    buffers.iter().for_each(|buffer| message.put_bytes(buffer));
    message.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::recorded;
    use proptest::prelude::*;

    const RECORDED: [&str; 6] = [
        include_str!("../../testdata/ptlrpc/connect-request.hex"),
        include_str!("../../testdata/ptlrpc/connect-reply.hex"),
        include_str!("../../testdata/ldlm/enqueue-reply.hex"),
        include_str!("../../testdata/mgs/llog-open-request.hex"),
        include_str!("../../testdata/mgs/llog-next-block-reply.hex"),
        include_str!("../../testdata/mgs/target-reg-request.hex"),
    ];

    #[test]
    fn recorded_messages_decode_and_encode_to_the_same_bytes() {
        for text in RECORDED {
            let bytes = recorded(text);
            let message = Message::decode(&bytes).unwrap();
            let buffers: Vec<&[u8]> = message.buffers().collect();
            assert_eq!(encode_message(&message.header, &buffers), bytes);
            assert_eq!(message.len(), bytes.len());
        }
    }

    #[test]
    fn a_head_and_its_tail_are_the_whole_message() {
        let bytes = recorded(RECORDED[4]);
        let message = Message::decode(&bytes).unwrap();
        let buffers: Vec<&[u8]> = message.buffers().collect();
        let mut head = MessageWriter::new(&message.header, 3, 0);
        buffers[..2].iter().for_each(|buffer| head.put_bytes(buffer));
        assert_eq!([&head.finish_with_tail(8192), buffers[2]].concat(), bytes);
    }

    #[test]
    fn buffers_that_were_not_written_are_empty() {
        let mut message = MessageWriter::new(&MessageHeader::default(), 3, 0);
        message.put_bytes(&[1, 2, 3]);
        assert_eq!(message.finish(), encode_message(&MessageHeader::default(), &[&[1, 2, 3], &[], &[]]));
    }

    #[test]
    fn a_message_cut_anywhere_is_short() {
        let bytes = recorded(RECORDED[0]);
        for cut in 0..bytes.len() {
            assert!(matches!(Message::decode(&bytes[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
    }

    #[test]
    fn lengths_of_the_first_buffers_are_those_of_a_mount() {
        let bytes = recorded(RECORDED[0]);
        let lens: Vec<usize> = Message::decode(&bytes).unwrap().buffers().map(<[u8]>::len).collect();
        assert_eq!(lens, [184, 39, 39, 8, 192, 0]);
    }

    /// The holes that an audit of Lustre's own parsers found in 2019: a count or a length that the bytes don't bear out.
    #[test]
    fn counts_and_lengths_that_lie_are_refused() {
        let good = recorded(RECORDED[0]);
        let with = |at: usize, value: u32| {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            Message::decode(&bytes).map(|_| ())
        };
        for count in [0, 32, u32::MAX] {
            assert!(matches!(with(0, count), Err(WireError::Value { field: "lm_bufcount", .. })), "{count}");
        }
        for len in [u32::MAX, u32::MAX - 7, 0x8000_0000, 600] {
            assert!(matches!(with(36, len), Err(WireError::Short { field: "buffers", .. })), "{len}");
        }
        assert!(matches!(with(8, MAGIC_SWAPPED), Err(WireError::Value { field: "lm_magic", .. })));
        assert!(matches!(with(8, 7), Err(WireError::Value { field: "lm_magic", .. })));
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_are_inverse(
            buffers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=31),
            secflvr: u32, repsize: u32, cksum: u32, flags: u32, opc: u32,
        ) {
            let header = MessageHeader { secflvr, repsize, cksum, flags, opc };
            let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
            let bytes = encode_message(&header, &slices);
            let message = Message::decode(&bytes).unwrap();
            prop_assert_eq!(message.header, header);
            prop_assert_eq!(message.buffers().collect::<Vec<_>>(), slices);
        }

        #[test]
        fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..120), count in 0u32..40) {
            let mut bytes = data;
            if bytes.len() >= 12 {
                bytes[..4].copy_from_slice(&count.to_le_bytes());
                bytes[8..12].copy_from_slice(&MAGIC.to_le_bytes());
            }
            crate::ptlrpc::fuzz_message(&bytes);
        }
    }
}
