//! Locks: resource names, enqueue, cancel and callbacks of plain locks.
//!
//! Source: ptlrpc specification, section 9. An enqueue, a cancel and the callbacks all carry a [`LockRequest`].

mod lock;
mod reply;
mod request;
mod resource;

pub use lock::{LockDesc, LockMode, PLAIN, lock_flag};
pub use reply::LockReply;
pub use request::LockRequest;
pub use resource::{ResourceId, ResourceIdError, ResourceKind};

/// Decodes whatever comes as a lock request.
pub fn fuzz_lock_request(data: &[u8]) {
    if let Ok(request) = LockRequest::decode(data) {
        let _ = request.cancelled();
        let again = LockRequest::decode(&request.encode()).expect("what was encoded can be decoded");
        // Fewer than two handles are sent as two.
        assert_eq!(again.handles[..request.handles.len()], request.handles);
        assert_eq!((again.flags, again.count, again.desc), (request.flags, request.count, request.desc));
    }
}

/// Decodes whatever comes as the reply to an enqueue.
pub fn fuzz_lock_reply(data: &[u8]) {
    crate::fixed::fuzz::<LockReply>(data);
}
