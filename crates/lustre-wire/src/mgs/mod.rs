//! Requests that the MGS answers: targets, config reads, the NID table, set_info, config logs over the wire.
//!
//! Source: MGS specification, sections 1 to 4.

mod config_read;
mod llog_body;
mod nid_table;
mod registration;
mod set_info;
mod target_info;

pub use config_read::{ConfigRead, ConfigReadKind, ConfigResult, NODEMAP_END};
pub use llog_body::{LOG_BLOCK_LEN, LlogBody};
pub use nid_table::{NidTableEntry, RawNids, pack_nid_table, unpack_nid_table};
pub use registration::{NidEncoding, Registration, RegistrationNids, TargetNidList, nidlist_flag};
pub use set_info::{SET_INFO_LEN, decode_set_info, encode_set_info};
pub use target_info::{TARGET_INFO_LEN, TARGET_NIDS_MAX, TargetInfo, TargetOp, target_flag};

/// Decodes whatever comes as a registration, in each of its forms.
pub fn fuzz_registration(data: &[u8]) {
    let Ok(message) = crate::ptlrpc::Message::decode(data) else { return };
    for nidlist in [false, true] {
        if let Ok(registration) = Registration::decode(&message, nidlist) {
            let buffers = registration.encode();
            let mut slices: Vec<&[u8]> = vec![&[]];
            slices.extend(buffers.iter().map(Vec::as_slice));
            let bytes = crate::ptlrpc::encode_message(&message.header, &slices);
            let again = crate::ptlrpc::Message::decode(&bytes).and_then(|again| Registration::decode(&again, nidlist));
            assert_eq!(again.as_ref(), Ok(&registration));
        }
    }
}

/// Decodes whatever comes as a target's description.
pub fn fuzz_target_info(data: &[u8]) {
    crate::fixed::fuzz::<TargetInfo>(data);
}

/// Decodes whatever comes as a config read and as its result.
pub fn fuzz_config_read(data: &[u8]) {
    crate::fixed::fuzz::<ConfigRead>(data);
    crate::fixed::fuzz::<ConfigResult>(data);
}

/// Decodes whatever comes as the body of a log request.
pub fn fuzz_llog_body(data: &[u8]) {
    crate::fixed::fuzz::<LlogBody>(data);
}

/// Decodes whatever comes as a NID table.
pub fn fuzz_nid_table(data: &[u8]) {
    if let Ok(entries) = unpack_nid_table(data) {
        assert!(entries.len() <= data.len() / 24 + 1);
    }
}
