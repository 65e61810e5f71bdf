//! Every `pub fn fuzz_*` of the project behind libFuzzer: `LUSTRE_FUZZ_TARGET` says which one runs.
//!
//! One program for all, so that instrumenting and linking happen once. The node agent and the plugin protocol are taken in
//! by file, not as crates: TLS, gRPC and a database would be instrumented for nothing.
#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "of the files taken in, only a part is used")]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

mod host;

#[path = "../../crates/tfplugin-proto/src/fuzz.rs"]
mod tfplugin;
#[path = "../../crates/tfplugin-proto/src/ty.rs"]
mod ty;
#[path = "../../crates/tfplugin-proto/src/value/mod.rs"]
mod value;

#[path = "../../agent/src/host/crm_mon.rs"]
mod crm_mon;
#[path = "../../agent/src/observe/marker.rs"]
mod marker;
#[path = "../../crates/kproxy/src/frame.rs"]
mod proxy_frame;

type Target = fn(&[u8]);

/// Name of each target, which is its function's without `fuzz_`. `cargo xtask fuzz` reads this table.
const TARGETS: &[(&str, Target)] = &[
    ("acceptor", lustre_wire::lnet::fuzz_acceptor),
    ("body", lustre_wire::ptlrpc::fuzz_body),
    ("config_read", lustre_wire::mgs::fuzz_config_read),
    ("connect_data", lustre_wire::ptlrpc::fuzz_connect_data),
    ("crm_mon", crm_mon::fuzz_crm_mon),
    ("ext4", host::ext4::fuzz_ext4),
    ("frame", lustre_wire::lnet::fuzz_frame),
    ("header", lustre_wire::lnet::fuzz_header),
    ("hello", lustre_wire::lnet::fuzz_hello),
    ("llog_body", lustre_wire::mgs::fuzz_llog_body),
    ("lock_reply", lustre_wire::ldlm::fuzz_lock_reply),
    ("lock_request", lustre_wire::ldlm::fuzz_lock_request),
    ("log_file", lustre_wire::llog::fuzz_log_file),
    ("lustre_cfg", lustre_wire::llog::fuzz_lustre_cfg),
    ("marker", marker::fuzz_marker),
    ("message", lustre_wire::ptlrpc::fuzz_message),
    ("mountdata", lustre_wire::mountdata::fuzz_mountdata),
    ("names", lustre_types::fuzz_names),
    ("nid", lustre_wire::lnet::fuzz_nid),
    ("nid_table", lustre_wire::mgs::fuzz_nid_table),
    ("ping", lustre_wire::lnet::fuzz_ping),
    ("proxy_frame", proxy_frame::fuzz_proxy_frame),
    ("registration", lustre_wire::mgs::fuzz_registration),
    ("request", lustre_api::fuzz_request),
    ("signatures", host::magic::fuzz_signatures),
    ("target_info", lustre_wire::mgs::fuzz_target_info),
    ("value", tfplugin::fuzz_value),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("LUSTRE_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let names = || TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.unwrap_or_else(|| panic!("LUSTRE_FUZZ_TARGET is {wanted:?}, not one of {}", names())).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
