//! The body of requests for config logs. Source: `struct llogd_body`; MGS specification, section 4.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;

/// Size of a log's header and of each of its blocks.
pub const LOG_BLOCK_LEN: usize = 8192;

/// Which log, and what of it: 48 bytes, in requests and in replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LlogBody {
    /// The log's id: two numbers that a client only gives back. Zeros: the log is opened by name.
    pub log_id: [u64; 2],
    /// Generation of the id.
    pub log_generation: u32,
    /// Which of the server's log contexts: 0, config logs.
    pub context: u32,
    /// Flags of the log's header.
    pub flags: u32,
    /// The record that is wanted.
    pub index: u32,
    /// Request: last record before `offset`. Reply: last record in the block.
    pub saved_index: u32,
    /// Bytes wanted: 8192.
    pub len: u32,
    /// Request: where reading starts. Reply: just behind what was read.
    pub offset: u64,
}

impl Fixed for LlogBody {
    const WHAT: &'static str = "llogd_body";
    const LEN: usize = 48;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            log_id: [r.u64("lgd_logid.oi_id")?, r.u64("lgd_logid.oi_seq")?],
            log_generation: r.u32("lgd_logid.ogen")?,
            context: r.u32("lgd_ctxt_idx")?,
            flags: r.u32("lgd_llh_flags")?,
            index: r.u32("lgd_index")?,
            saved_index: r.u32("lgd_saved_index")?,
            len: r.u32("lgd_len")?,
            offset: r.u64("lgd_cur_offset")?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.log_id[0]);
        out.put_u64(self.log_id[1]);
        out.put_u32(self.log_generation);
        out.put_u32(self.context);
        out.put_u32(self.flags);
        out.put_u32(self.index);
        out.put_u32(self.saved_index);
        out.put_u32(self.len);
        out.put_u64(self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, holds, recorded};
    use crate::ptlrpc::Message;
    use proptest::prelude::*;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<LlogBody>;
        at("lgd_logid.oi", 0, 16, |b| b.log_id = [!0; 2]);
        at("lgd_logid.ogen", 16, 4, |b| b.log_generation = !0);
        at("lgd_ctxt_idx", 20, 4, |b| b.context = !0);
        at("lgd_llh_flags", 24, 4, |b| b.flags = !0);
        at("lgd_index", 28, 4, |b| b.index = !0);
        at("lgd_saved_index", 32, 4, |b| b.saved_index = !0);
        at("lgd_len", 36, 4, |b| b.len = !0);
        at("lgd_cur_offset", 40, 8, |b| b.offset = !0);
    }

    #[test]
    fn a_recorded_walk_says_what_the_capture_shows() {
        let of = |text| {
            let bytes = recorded(text);
            let message = Message::decode(&bytes).unwrap();
            (holds::<LlogBody>(message.buffer(1).unwrap()), message.text(2, "name").ok().map(str::to_owned))
        };
        let (open, name) = of(include_str!("../../testdata/mgs/llog-open-request.hex"));
        assert_eq!((open, name.as_deref()), (LlogBody::default(), Some("gold-client")));
        let (opened, _) = of(include_str!("../../testdata/mgs/llog-open-reply.hex"));
        assert_eq!(opened, LlogBody { log_id: [3, 10], ..LlogBody::default() });
        let (header, _) = of(include_str!("../../testdata/mgs/llog-header-request.hex"));
        assert_eq!(header, LlogBody { flags: 4, ..opened });
        let (next, _) = of(include_str!("../../testdata/mgs/llog-next-block-request.hex"));
        assert_eq!(next, LlogBody { index: 1, len: 8192, offset: 8192, ..header });
        let (block, _) = of(include_str!("../../testdata/mgs/llog-next-block-reply.hex"));
        let (again, _) = of(include_str!("../../testdata/mgs/llog-next-block-reread.hex"));
        assert_eq!((again.index, again.saved_index, again.offset), (block.saved_index, block.saved_index, 8192));
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 48)) {
            crate::mgs::fuzz_llog_body(&data);
        }
    }
}
