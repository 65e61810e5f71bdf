//! Bodies of requests from anywhere, for fuzzers.

use crate::{
    agent::{AgentOp, FormatOp},
    filesystem::FilesystemSpec,
    node::{Announcement, NodeSettings},
    param::ParamSpec,
    plan::Desired,
    pool::PoolSpec,
    proxy::ProxySpec,
    target::{EnsureTarget, Register, Reserve},
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// What is understood is written as JSON that is understood the same.
fn round<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(json: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(json) {
        let again = serde_json::to_vec(&value).expect("what was read from JSON can be written as JSON");
        let again = serde_json::from_slice::<T>(&again);
        assert_eq!(again.ok().as_ref(), Some(&value));
    }
}

/// Reads bytes as the body of every request that has one.
pub fn fuzz_request(data: &[u8]) {
    round::<AgentOp>(data);
    round::<Announcement>(data);
    round::<Desired>(data);
    round::<EnsureTarget>(data);
    round::<FilesystemSpec>(data);
    round::<FormatOp>(data);
    round::<NodeSettings>(data);
    round::<ParamSpec>(data);
    round::<PoolSpec>(data);
    round::<ProxySpec>(data);
    round::<Register>(data);
    round::<Reserve>(data);
}
