//! The kinds of holes that an audit of Lustre's own parsers found in 2019, as seeds of the fuzz targets.
//!
//! Each seed is a recording in which one field lies. It stands in `fuzz/corpus/<target>/audit-<name>`, where the fuzzer begins,
//! and what the decoder says to it is tested here. `UPDATE_SEEDS=1 cargo test -p lustre-wire audit` writes the files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bytes::WireError;
use crate::fixed::Fixed;
use crate::fixed::testing::recorded;
use crate::ldlm::LockRequest;
use crate::mgs::{ConfigRead, Registration, TargetInfo};
use crate::ptlrpc::{BUFFERS_MAX, Body, Message, encode_message};

const CONNECT: &str = include_str!("../testdata/ptlrpc/connect-request.hex");
const CANCEL: &str = include_str!("../testdata/ldlm/cancel-request.hex");
const OPEN: &str = include_str!("../testdata/mgs/llog-open-request.hex");
const REGISTER: &str = include_str!("../testdata/mgs/target-reg-request.hex");
const READ: &str = include_str!("../testdata/mgs/config-read-request.hex");

/// Where the lengths of a message's buffers stand.
const LENS_AT: usize = 32;

struct Seed {
    /// The fuzz target.
    target: &'static str,
    name: &'static str,
    bytes: Vec<u8>,
    /// The field that the refusal names; `None` where nothing is wrong with what is read.
    refused: Option<&'static str>,
}

fn seed(target: &'static str, name: &'static str, bytes: Vec<u8>, refused: impl Into<Option<&'static str>>) -> Seed {
    Seed { target, name, bytes, refused: refused.into() }
}

/// A recorded message with other words at these offsets.
fn with_words(text: &str, words: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = recorded(text);
    for (at, word) in words {
        bytes[*at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A recorded message with another buffer; `None` leaves out this one and all behind it.
fn with_buffer(text: &str, index: usize, buffer: Option<&[u8]>) -> Vec<u8> {
    let bytes = recorded(text);
    let message = Message::decode(&bytes).unwrap();
    let mut buffers: Vec<&[u8]> = message.buffers().collect();
    match buffer {
        Some(buffer) => buffers[index] = buffer,
        None => buffers.truncate(index),
    }
    encode_message(&message.header, &buffers)
}

/// Buffer of a recorded message, with bytes from `at` on replaced.
fn buffer(text: &str, index: usize, at: usize, other: &[u8]) -> Vec<u8> {
    let bytes = recorded(text);
    let mut buffer = Message::decode(&bytes).unwrap().buffer(index).unwrap().to_vec();
    buffer[at..at + other.len()].copy_from_slice(other);
    buffer
}

/// Counts and lengths of buffers that the bytes don't bear out (LU-12590).
fn headers() -> Vec<Seed> {
    let count = |name, count, refused| seed("message", name, with_words(CONNECT, &[(0, count)]), refused);
    let wrapping: Vec<(usize, u32)> = (0..6).map(|index| (LENS_AT + 4 * index, 0xFFFF_FFF8)).collect();
    vec![
        count("no-buffers", 0, "lm_bufcount"),
        count("one-buffer-too-many", BUFFERS_MAX + 1, "lm_bufcount"),
        count("all-the-buffers-there-are", u32::MAX, "lm_bufcount"),
        count("negative-number-of-buffers", 1 << 31, "lm_bufcount"),
        count("more-buffers-than-bytes", BUFFERS_MAX, "buffers"),
        seed("message", "lengths-that-wrap-around", with_words(CONNECT, &wrapping), "buffers"),
        seed("message", "buffer-of-4-gib", with_words(CONNECT, &[(LENS_AT + 16, u32::MAX)]), "buffers"),
        seed("message", "buffer-one-word-too-long", with_words(CONNECT, &[(LENS_AT + 20, 8)]), "buffers"),
        seed("message", "no-body", with_buffer(CONNECT, 0, Some(&[])), "pb_handle"),
    ]
}

/// Texts without an end (LU-12613).
fn texts() -> Vec<Seed> {
    let endless = [b'x'; 64];
    vec![
        seed("message", "target-uuid-without-end", with_buffer(CONNECT, 1, Some(&endless[..40])), "tgtuuid"),
        seed("message", "client-uuid-without-end", with_buffer(CONNECT, 2, Some(&endless[..40])), "cluuid"),
        seed("message", "log-name-without-end", with_buffer(OPEN, 2, Some(&endless)), "name"),
        seed("message", "log-name-of-no-bytes", with_buffer(OPEN, 2, Some(&[])), "name"),
        seed("target_info", "fsname-without-end", buffer(REGISTER, 1, 24, &endless), "mti_fsname"),
        seed("target_info", "params-without-end", buffer(REGISTER, 1, 448, &[b'x'; 4096]), "mti_params"),
        seed("config_read", "name-without-end", buffer(READ, 1, 0, &endless), "mcb_name"),
    ]
}

/// Connect data of another size than its structure (LU-12605).
fn connect_data() -> Vec<Seed> {
    let sized = |len: usize| with_buffer(CONNECT, 4, Some(&vec![0; len]));
    vec![
        seed("message", "connect-data-missing", with_buffer(CONNECT, 4, None), "connect_data"),
        seed("message", "connect-data-empty", sized(0), "connect_data"),
        seed("message", "connect-data-short", sized(71), "connect_data"),
        seed("message", "connect-data-between-old-and-new", sized(80), "ocd_connect_flags2"),
        seed("message", "connect-data-too-long", sized(4096), None),
        seed("connect_data", "empty", Vec::new(), "ocd_connect_flags"),
    ]
}

/// Cancels that count more locks than they have (LU-12603, LU-12614), and buffers that are not there at all.
fn counts() -> Vec<Seed> {
    let count =
        |name, count: u32, refused| seed("lock_request", name, buffer(CANCEL, 1, 4, &count.to_le_bytes()), refused);
    let list = |count: u32| with_buffer(REGISTER, 2, Some(&[[0; 4], count.to_le_bytes()].concat()));
    vec![
        count("cancel-of-one-lock-too-many", 3, "lock_count"),
        count("cancel-of-all-there-are", u32::MAX, "lock_count"),
        count("cancel-of-a-negative-number", 1 << 31, "lock_count"),
        seed("lock_request", "cancel-without-handles", buffer(CANCEL, 1, 0, &[])[..88].to_vec(), "lock_count"),
        seed("message", "cancel-without-a-lock", with_buffer(CANCEL, 1, None), "ldlm_request"),
        seed("registration", "without-a-target", with_buffer(REGISTER, 1, None), "mgs_target_info"),
        seed("registration", "target-cut", with_buffer(REGISTER, 1, Some(&[0; 64])), "mgs_target_info"),
        seed("registration", "without-nids", with_buffer(REGISTER, 2, None), "mgs_target_nidlist"),
        seed("registration", "one-nid-that-is-not-there", list(1), "mtn_nidlist"),
        seed("registration", "more-nids-than-memory", list(u32::MAX), "mtn_nidlist"),
    ]
}

fn seeds() -> Vec<Seed> {
    [headers(), texts(), connect_data(), counts()].into_iter().flatten().collect()
}

/// Reads a seed as the fuzzer does.
fn fuzz(target: &str, bytes: &[u8]) {
    match target {
        "connect_data" => crate::ptlrpc::fuzz_connect_data(bytes),
        "target_info" => crate::mgs::fuzz_target_info(bytes),
        "config_read" => crate::mgs::fuzz_config_read(bytes),
        "lock_request" => crate::ldlm::fuzz_lock_request(bytes),
        "registration" => crate::mgs::fuzz_registration(bytes),
        _ => crate::ptlrpc::fuzz_message(bytes),
    }
}

/// Reads a seed as the MGS reads it.
fn read(target: &str, bytes: &[u8]) -> Result<(), WireError> {
    match target {
        "connect_data" => crate::ptlrpc::ConnectData::decode(bytes).map(drop),
        "target_info" => TargetInfo::decode(bytes).map(drop),
        "config_read" => ConfigRead::decode(bytes).map(drop),
        "lock_request" => LockRequest::decode(bytes)?.cancelled().map(drop),
        "registration" => Registration::decode(&Message::decode(bytes)?, true).map(drop),
        _ => {
            let message = Message::decode(bytes)?;
            let body = Body::decode(message.need(0, "pb_handle", 0)?)?;
            match body.opc {
                crate::ptlrpc::Opcode::MGS_CONNECT => crate::ptlrpc::decode_connect(&message).map(drop),
                crate::ptlrpc::Opcode::LLOG_OPEN => message.text(2, "name").map(drop),
                _ => message.need(1, "ldlm_request", 88).map(drop),
            }
        }
    }
}

fn corpus(seed: &Seed) -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    corpus.join(seed.target).join(format!("audit-{}", seed.name))
}

#[test]
fn every_hole_of_the_2019_audit_is_closed_and_is_a_seed_of_the_fuzzer() {
    let is_update = std::env::var_os("UPDATE_SEEDS").is_some();
    let mut wrong = Vec::new();
    for seed in seeds() {
        fuzz(seed.target, &seed.bytes);
        let said = read(seed.target, &seed.bytes);
        let field = said.as_ref().err().map(|error| match error {
            WireError::Short { field, .. } | WireError::Value { field, .. } => *field,
        });
        if field != seed.refused {
            wrong.push(format!("{} {}: {said:?}, not because of {:?}", seed.target, seed.name, seed.refused));
        }
        let path = corpus(&seed);
        if is_update {
            fs::write(&path, &seed.bytes).unwrap();
        }
        if fs::read(&path).ok().as_ref() != Some(&seed.bytes) {
            wrong.push(format!("{} is not there or another one; UPDATE_SEEDS=1 writes it", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
