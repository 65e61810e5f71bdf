//! An enqueue, a cancel or a callback. Source: `struct ldlm_request`; ptlrpc specification, sections 9.1, 9.3 and 9.4.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;
use crate::ldlm::LockDesc;

const WHAT: &str = "ldlm_request";
/// Bytes before the handles.
const FIXED_LEN: usize = 88;
/// Handles that are always sent.
const HANDLES_MIN: usize = 2;
/// Most handles that are read: what fits the largest request that an MGS accepts.
const HANDLES_MAX: usize = 896;

/// A request about a lock: 88 bytes and its handles, of which two at least are sent.
///
/// | message | handles |
/// |---|---|
/// | enqueue | the client's |
/// | cancel | the server's, as many as `count` says |
/// | callback | the client's, then the server's |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockRequest {
    /// See [`crate::ldlm::lock_flag`]. Only the lower half goes over the wire.
    pub flags: u32,
    /// How many locks a cancel gives back; 0 counts as 1.
    pub count: u32,
    /// The lock.
    pub desc: LockDesc,
    /// As many as the buffer has.
    pub handles: Vec<u64>,
}

impl LockRequest {
    /// Reads a whole buffer: its length says how many handles there are. Errors: cut, more handles than a request can have.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(WHAT, bytes);
        let flags = r.u32("lock_flags")?;
        let count = r.u32("lock_count")?;
        let desc = LockDesc::read(&mut r)?;
        if r.rest().len() > 8 * HANDLES_MAX + 7 {
            let len = u64::try_from(r.rest().len()).unwrap_or(u64::MAX);
            return Err(r.refuse("lock_handle", len, "bytes is more than a request can hold"));
        }
        let handles = r.rest().as_chunks::<8>().0.iter().map(|handle| u64::from_le_bytes(*handle)).collect();
        Ok(Self { flags, count, desc, handles })
    }

    /// The buffer: two handles at least.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + 8 * self.handles.len().max(HANDLES_MIN));
        out.put_u32(self.flags);
        out.put_u32(self.count);
        self.desc.write(&mut out);
        for handle in &self.handles {
            out.put_u64(*handle);
        }
        out.put_zeros(8 * HANDLES_MIN.saturating_sub(self.handles.len()));
        out
    }

    /// The handle that stands at `index`. Errors when the buffer ends before it.
    pub fn handle(&self, index: usize) -> Result<u64, WireError> {
        let missing =
            WireError::Short { what: WHAT, field: "lock_handle", need: 8 * (index + 1), got: 8 * self.handles.len() };
        self.handles.get(index).copied().ok_or(missing)
    }

    /// The handles that a cancel names. Errors when it counts more than it has.
    pub fn cancelled(&self) -> Result<&[u64], WireError> {
        let count = usize::try_from(self.count.max(1)).unwrap_or(usize::MAX);
        let lies = WireError::Value {
            what: WHAT,
            field: "lock_count",
            value: u64::from(self.count),
            why: "is more than the handles that follow",
        };
        self.handles.get(..count).ok_or(lies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::recorded;
    use crate::ldlm::{LockMode, ResourceId, ResourceKind};
    use crate::ptlrpc::Message;
    use proptest::prelude::*;

    fn of(text: &str) -> LockRequest {
        let bytes = recorded(text);
        let buffer = Message::decode(&bytes).unwrap().buffer(1).unwrap().to_vec();
        let request = LockRequest::decode(&buffer).unwrap();
        assert_eq!(request.encode(), buffer);
        for cut in 0..FIXED_LEN {
            assert!(matches!(LockRequest::decode(&buffer[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
        request
    }

    #[test]
    fn recorded_requests_say_what_the_capture_shows() {
        let config = ResourceId::new("gold", ResourceKind::Config).unwrap();
        let enqueue = of(include_str!("../../testdata/ldlm/enqueue-request.hex"));
        assert_eq!(enqueue.desc, LockDesc::plain(config, LockMode::CR, LockMode::NONE));
        assert_ne!(enqueue.handle(0), Ok(0));

        let blocking = of(include_str!("../../testdata/ldlm/blocking-callback.hex"));
        let recover = ResourceId::new("gold", ResourceKind::Recover).unwrap();
        assert_eq!(blocking.desc, LockDesc::plain(recover, LockMode::EX, LockMode::NONE));

        let cancel = of(include_str!("../../testdata/ldlm/cancel-request.hex"));
        assert_eq!((cancel.count, cancel.desc.clone()), (1, LockDesc::default()));
        assert_eq!(cancel.cancelled().unwrap(), [blocking.handle(1).unwrap()]);
    }

    /// One of the holes that an audit of Lustre's own parsers found in 2019.
    #[test]
    fn a_cancel_that_counts_more_locks_than_it_has_is_refused() {
        let cancel = LockRequest { count: 3, handles: vec![1, 2], ..LockRequest::default() };
        assert!(matches!(cancel.cancelled(), Err(WireError::Value { field: "lock_count", .. })));
        let cancel = LockRequest { count: u32::MAX, ..cancel };
        assert!(cancel.cancelled().is_err());
        let cancel = LockRequest { count: 0, ..cancel };
        assert_eq!(cancel.cancelled().unwrap(), [1]);
        assert!(LockRequest::default().cancelled().is_err());
        assert!(LockRequest::decode(&vec![0; FIXED_LEN + 8 * HANDLES_MAX + 8]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 80..140)) {
            crate::ldlm::fuzz_lock_request(&data);
        }
    }
}
