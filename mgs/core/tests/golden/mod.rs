//! Logs that a 2.17.57 MGS wrote, as the codec's tests have them.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use lustre_wire::llog::{LogFile, Marker, RecordKind};

/// A recorded log, as `82-gold-client`: the step after which it was taken, and its name.
pub(crate) fn recorded(name: &str) -> LogFile {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crates/lustre-wire/testdata/llog").join(name);
    let text = std::fs::read_to_string(path.with_extension("hex")).unwrap_or_else(|err| panic!("{name}: {err}"));
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
    LogFile::decode(&bytes).unwrap()
}

/// The records of a log, one line each, without what depends on when it happened: times are only shown as set or not.
pub(crate) fn lines(log: &LogFile, with_steps: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for record in &log.records {
        let live = if log.header.bitmap.is_set(record.index) { ' ' } else { '!' };
        let text = match record.config() {
            None => {
                assert_eq!(record.kind, RecordKind::PADDING);
                format!("padding {}", record.data.len())
            }
            Some(cfg) => {
                let cfg = cfg.unwrap();
                match Marker::of(&cfg) {
                    Some(marker) => {
                        let m = marker.unwrap();
                        let step = if with_steps { m.step } else { 0 };
                        let (flags, target, comment) = (m.flags.0, m.target(), m.comment());
                        let canceled = m.canceled != 0;
                        format!("marker {step} {flags:#x} {:#x} [{target} | {comment}] canceled: {canceled}", m.version)
                    }
                    None => {
                        let bufs: Vec<String> = cfg.bufs.iter().map(|buf| buf.escape_ascii().to_string()).collect();
                        format!("{:#x} num {} nid {:#x} {bufs:?}", cfg.command, cfg.num, cfg.nid)
                    }
                }
            }
        };
        lines.push(format!("{live}{:3} {text}", record.index));
    }
    let header = &log.header;
    lines
        .push(format!("count {} size {} flags {} last {}", header.count, header.size, header.flags, header.last_index));
    lines
}
