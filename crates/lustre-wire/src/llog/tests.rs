//! Logs against files that a 2.17.57 MGS wrote.

use super::*;
use crate::bytes::WireError;
use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/llog")
}

/// Bytes of a recorded file: after the lines of origin and length, ranges that aren't zero as `offset: hex`.
fn recorded(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(testdata().join(format!("{name}.hex"))).unwrap();
    let mut lines = text.lines();
    let size = lines.nth(1).unwrap().trim_start_matches("# ").split(' ').next().unwrap().parse().unwrap();
    let mut bytes = vec![0; size];
    for line in lines {
        let (offset, hex) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
            bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    bytes
}

fn names(extension: &str) -> Vec<String> {
    let paths = fs::read_dir(testdata()).unwrap().map(|entry| entry.unwrap().path());
    let with = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    with.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn logs() -> Vec<(String, Vec<u8>)> {
    let logs: Vec<_> = names("hex").into_iter().map(|name| (name.clone(), recorded(&name))).collect();
    assert!(logs.len() >= 80, "recorded logs are missing: {}", logs.len());
    logs
}

#[test]
fn every_recorded_log_decodes_and_encodes_to_the_same_bytes() {
    for (name, bytes) in logs() {
        match LogFile::decode_or_empty(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")) {
            Some(log) => assert!(log.encode() == bytes, "{name}"),
            None => assert_eq!(name, "01-params"),
        }
    }
}

#[test]
fn every_recorded_command_and_marker_encodes_to_the_same_bytes() {
    let mut commands = 0;
    for (name, bytes) in logs() {
        let Some(log) = LogFile::decode_or_empty(&bytes).unwrap() else { continue };
        for record in &log.records {
            let Some(cfg) = record.config() else {
                assert_eq!(record.kind, RecordKind::PADDING);
                continue;
            };
            let cfg = cfg.unwrap_or_else(|error| panic!("{name} {}: {error}", record.index));
            assert!(command::name(cfg.command).is_some(), "{name} {}: {:#x}", record.index, cfg.command);
            assert_eq!(cfg.encode(), record.data, "{name} {}", record.index);
            if let Some(marker) = Marker::of(&cfg) {
                assert_eq!(marker.unwrap().cfg(), cfg, "{name} {}", record.index);
            }
            commands += 1;
        }
    }
    assert!(commands > 3000, "{commands}");
}

/// The append rule, the header's counters and the smallest length, all at once: a log that is written again is the same.
#[test]
fn a_recorded_log_appended_again_record_by_record_has_the_same_bytes() {
    for (name, bytes) in logs() {
        let Some(log) = LogFile::decode_or_empty(&bytes).unwrap() else { continue };
        let mut again = LogFile::new(log.header.timestamp);
        for record in &log.records {
            if let Some(cfg) = record.config() {
                assert_eq!(again.append(&cfg.unwrap()), Ok(record.index), "{name}");
            }
        }
        // What `lctl del_ost` cleared is all that an append doesn't bring back.
        again.header.bitmap = log.header.bitmap.clone();
        again.header.count = again.header.bitmap.count();
        assert!(again.encode() == bytes, "{name}");
    }
}

#[test]
fn the_printed_text_is_that_of_lctl_llog_print() {
    let text = |name: &str, extension: &str| {
        let text = fs::read_to_string(testdata().join(format!("{name}.{extension}"))).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    let (printed, raw) = (names("print"), names("raw"));
    assert!(printed.len() >= 20 && raw.len() == printed.len());
    for name in printed {
        let log = LogFile::decode(&recorded(&name)).unwrap();
        similar(&name, &print(&log), &text(&name, "print"));
        similar(&name, &print_raw(&log), &text(&name, "raw"));
    }
}

fn similar(name: &str, ours: &str, theirs: &str) {
    for (at, (our, their)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(our, their, "{name} line {at}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{name}");
}

#[test]
fn a_log_cut_anywhere_is_refused_or_ends_at_a_record() {
    let bytes = recorded("06-gold-client");
    let log = LogFile::decode(&bytes).unwrap();
    let mut ends = vec![CHUNK];
    for record in &log.records {
        ends.push(ends.last().unwrap() + record.encoded_len());
    }
    for len in 0..bytes.len() {
        match LogFile::decode(&bytes[..len]) {
            Ok(cut) => assert!(ends.contains(&len) && cut.records.len() < log.records.len()),
            Err(error) => assert!(matches!(error, WireError::Short { .. }), "{len}: {error}"),
        }
    }
}

#[test]
fn a_command_cut_anywhere_is_short() {
    let log = LogFile::decode(&recorded("82-gold-MDT0001")).unwrap();
    for record in &log.records {
        for len in 0..record.data.len().min(220) {
            let Some(Ok(whole)) = record.config() else { continue };
            if let Ok(cut) = LustreCfg::decode(&record.data[..len]) {
                assert_eq!(cut, whole, "only what pads the data may be missing");
            }
        }
    }
    assert!(matches!(Marker::decode(&[0; 159]), Err(WireError::Short { field: "cm_comment", .. })));
}

#[test]
fn lengths_and_counts_that_lie_are_named() {
    let mut bytes = recorded("03-gold-client");
    let refused = |bytes: &[u8]| match LogFile::decode(bytes) {
        Err(WireError::Value { field, .. } | WireError::Short { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    bytes[8192..8196].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refused(&bytes), "lrh_len");
    bytes[8192..8196].copy_from_slice(&16u32.to_le_bytes());
    assert_eq!(refused(&bytes), "lrh_len");
    bytes[8192..8196].copy_from_slice(&224u32.to_le_bytes());
    bytes[8200..8204].copy_from_slice(&7u32.to_le_bytes());
    assert_eq!(refused(&bytes), "lrh_type");
    bytes[8188..8192].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refused(&bytes), "lrt_index");
    let mut many = LustreCfg::texts(command::PARAM, &["a", "b"]).encode();
    many[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(LustreCfg::decode(&many), Err(WireError::Value { field: "lcfg_bufcount", .. })));
    many[28..32].copy_from_slice(&2u32.to_le_bytes());
    many[32..36].copy_from_slice(&(u32::MAX - 2).to_le_bytes());
    assert!(matches!(LustreCfg::decode(&many), Err(WireError::Value { field: "lcfg_buflens", .. })));
}

#[test]
fn a_record_of_an_unknown_type_or_command_survives() {
    let mut log = LogFile::decode(&recorded("03-gold-client")).unwrap();
    log.records[1].kind = RecordKind(0x1068_1234);
    let mut unknown = LustreCfg::texts(0x00DE_AD00, &["a", "", "ccc"]);
    unknown.bufs.push(vec![0xFF; 13]);
    log.append(&unknown).unwrap();
    let again = LogFile::decode(&log.encode()).unwrap();
    assert_eq!(again, log);
    assert_eq!(again.records.last().unwrap().config(), Some(Ok(unknown)));
    assert!(print_raw(&again).contains("event: 0xdead00, device: a"));
}

#[test]
fn skipped_sections_are_not_effective() {
    let log = LogFile::decode(&recorded("49-gold-client")).unwrap();
    let effective: Vec<String> = log.effective().iter().map(|(_, _, cfg)| cfg.text(1).into_owned()).collect();
    assert!(!effective.iter().any(|text| text.contains("max_read_ahead_mb")), "{effective:?}");
    assert!(effective.iter().any(|text| text == "osc.max_dirty_mb=64"));
}

#[test]
fn a_full_log_and_a_too_large_command_are_refused() {
    let mut log = LogFile::new(0);
    log.header.last_index = MAX_INDEX;
    let small = LustreCfg::texts(command::PARAM, &["a"]);
    assert_eq!(log.append(&small), Err(AppendError::Full));
    let large = LustreCfg { bufs: vec![vec![1; 9000]], ..small };
    assert!(matches!(log.append(&large), Err(AppendError::TooLarge(_))));
}

#[test]
fn nids_of_eight_bytes_print_as_lustre_prints_them() {
    for (text, number) in
        [("10.9.0.2@tcp", 0x0002_0000_0a09_0002), ("10.8.0.2@tcp1", 0x0002_0001_0a08_0002), ("0@lo", 9 << 48)]
    {
        assert_eq!(nid8(&text.parse().unwrap()), Some(number));
        assert_eq!(nid8_text(number), text);
    }
    assert_eq!(nid8(&"fd00::1@tcp".parse().unwrap()), None);
    assert_eq!(nid8_text(u64::MAX), "<?>");
}

fn any_cfg() -> impl Strategy<Value = LustreCfg> {
    let bufs = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..=MAX_BUFFERS);
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u32>(), bufs)
        .prop_map(|(command, num, flags, nid, nal, bufs)| LustreCfg { command, num, flags, nid, nal, bufs })
}

proptest! {
    #[test]
    fn any_command_is_read_as_written(cfg in any_cfg()) {
        prop_assert_eq!(LustreCfg::decode(&cfg.encode()), Ok(cfg));
    }

    #[test]
    fn any_log_is_read_as_written_and_no_record_crosses_a_block(cfgs in prop::collection::vec(any_cfg(), 0..40)) {
        let mut log = LogFile::new(1);
        for cfg in &cfgs {
            log.append(cfg).unwrap();
        }
        let bytes = log.encode();
        prop_assert_eq!(bytes.len(), log.size());
        let read = LogFile::decode(&bytes).unwrap();
        prop_assert_eq!(read.header.count as usize, cfgs.len() + 1);
        prop_assert_eq!(read.live().count(), cfgs.len());
        prop_assert_eq!(read, log);
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..12000, to: u8) {
        fuzz_lustre_cfg(&data);
        let mut log = recorded("06-gold-MDT0000");
        let at = at % log.len();
        log[at] = to;
        fuzz_log_file(&log);
    }
}
