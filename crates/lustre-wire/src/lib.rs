//! Sans-IO codecs of Lustre's bytes on the wire and on disk.
//!
//! Every codec takes bytes and gives values, or the other way round: no socket, clock, log or runtime in here.
//! Input is a stranger's: decoding never panics and never allocates on the word of a length field; values that this
//! code doesn't know survive a round trip.

#[cfg(test)]
mod audit;
pub mod bytes;
pub mod fixed;
pub mod ldlm;
pub mod llog;
pub mod lnet;
pub mod mgs;
pub mod mountdata;
pub mod ptlrpc;
