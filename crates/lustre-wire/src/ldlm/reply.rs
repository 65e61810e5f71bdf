//! The reply to an enqueue. Source: `struct ldlm_reply`; ptlrpc specification, section 9.1.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;
use crate::ldlm::LockDesc;

/// What a server answers to an enqueue. 112 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockReply {
    /// See [`crate::ldlm::lock_flag`].
    pub flags: u32,
    /// The lock, with the mode that is granted.
    pub desc: LockDesc,
    /// The server's handle of it.
    pub handle: u64,
    /// Intent results; 0 here.
    pub policy_res: [u64; 2],
}

impl Fixed for LockReply {
    const WHAT: &'static str = "ldlm_reply";
    const LEN: usize = 112;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let flags = r.u32("lock_flags")?;
        r.u32("lock_padding")?;
        Ok(Self {
            flags,
            desc: LockDesc::read(r)?,
            handle: r.u64("lock_handle")?,
            policy_res: [r.u64("lock_policy_res1")?, r.u64("lock_policy_res2")?],
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.flags);
        out.put_u32(0);
        self.desc.write(out);
        out.put_u64(self.handle);
        out.put_u64(self.policy_res[0]);
        out.put_u64(self.policy_res[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, holds, recorded};
    use crate::ldlm::LockMode;
    use crate::ptlrpc::Message;
    use proptest::prelude::*;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<LockReply>;
        at("lock_flags", 0, 4, |r| r.flags = !0);
        at("lock_desc", 8, 4, |r| r.desc.kind = !0);
        at("lock_handle", 88, 8, |r| r.handle = !0);
        at("lock_policy_res1", 96, 8, |r| r.policy_res[0] = !0);
        at("lock_policy_res2", 104, 8, |r| r.policy_res[1] = !0);
    }

    #[test]
    fn a_recorded_reply_grants_what_was_asked() {
        let bytes = recorded(include_str!("../../testdata/ldlm/enqueue-reply.hex"));
        let message = Message::decode(&bytes).unwrap();
        let reply: LockReply = holds(message.buffer(1).unwrap());
        assert_eq!((reply.desc.requested, reply.desc.granted), (LockMode::CR, LockMode::CR));
        assert_ne!(reply.handle, 0);
        assert_eq!(message.buffer(2).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 112)) {
            crate::ldlm::fuzz_lock_reply(&data);
        }
    }
}
