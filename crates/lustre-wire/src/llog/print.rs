//! The text of `lctl llog_print`: one YAML flow mapping a record.
//!
//! Source: output of `lctl llog_print` 2.17.57; see `testdata/llog/*.print` and `*.raw`.

use super::cfg::command as c;
use super::nid::nid8_text;
use super::{LogFile, LustreCfg, Marker, MarkerFlags};
use core::fmt::Write;

/// What counts: no markers, and no sections that are marked as skipped.
pub fn print(log: &LogFile) -> String {
    let mut text = String::new();
    let mut skipping = false;
    for record in log.live() {
        let Some(Ok(cfg)) = record.config() else { continue };
        if let Some(marker) = Marker::of(&cfg) {
            if let Ok(marker) = marker {
                let starts = marker.flags.contains(MarkerFlags::START);
                skipping = starts && marker.flags.contains(MarkerFlags::SKIP);
            }
            continue;
        }
        if !skipping {
            line(&mut text, record.index, &cfg);
        }
    }
    text
}

/// Every live record, markers and skipped sections too, as `lctl llog_print --raw`.
pub fn print_raw(log: &LogFile) -> String {
    let mut text = String::new();
    for record in log.live() {
        if let Some(Ok(cfg)) = record.config() {
            line(&mut text, record.index, &cfg);
        }
    }
    text
}

/// The names of a command's buffers from 1 on.
fn fields(command: u32) -> &'static [&'static str] {
    match command {
        c::ATTACH => &["type", "UUID"],
        c::SETUP => &["UUID", "node", "options", "failout"],
        c::ADD_UUID | c::DEL_UUID | c::ADD_CONN | c::DEL_CONN => &["node"],
        c::MOUNTOPT | c::DEL_MOUNTOPT => &["name", "lov", "lmv"],
        c::LOV_ADD_OBD | c::LOV_DEL_OBD | c::LOV_ADD_INA => &["ost", "index", "gen"],
        c::ADD_MDC | c::DEL_MDC => &["mdt", "index", "gen", "UUID"],
        c::POOL_NEW | c::POOL_DEL | c::POOL_ADD | c::POOL_REM => &["fsname", "pool", "ost"],
        c::PARAM | c::SET_PARAM | c::SPTLRPC_CONF | c::SET_TIMEOUT | c::SET_LDLM_TIMEOUT => &["parameter"],
        _ => &[],
    }
}

fn line(text: &mut String, index: u32, cfg: &LustreCfg) {
    let put = |text: &mut String, name: &str, value: &dyn core::fmt::Display| {
        // Writing to a String does not fail.
        let _ = write!(text, ", {name}: {value}");
    };
    let _ = write!(text, "- {{ index: {index}");
    match c::name(cfg.command) {
        Some(name) => put(text, "event", &name),
        None => put(text, "event", &format_args!("{:#x}", cfg.command)),
    }
    if let Some(Ok(marker)) = Marker::of(cfg) {
        put(text, "flags", &format_args!("{:#04x}", marker.flags.0));
        let [major, minor, patch, fix] = marker.version.to_be_bytes();
        put(text, "version", &format_args!("{major}.{minor}.{patch}.{fix}"));
        put(text, "createtime", &marker.created);
        put(text, "canceltime", &marker.canceled);
        text.push_str(" }\n");
        return;
    }
    if cfg.command == c::ADD_UUID {
        match cfg.nid {
            0 => put(text, "nid", &cfg.text(2)),
            nid => put(text, "nid", &format_args!("{}({nid:#x})", nid8_text(nid))),
        }
    }
    if matches!(cfg.command, c::SET_TIMEOUT | c::SET_LDLM_TIMEOUT) {
        put(text, "num", &format_args!("{:#08x}", cfg.num));
    } else if cfg.bufs.first().is_some_and(|device| !device.is_empty()) {
        put(text, "device", &cfg.text(0));
    }
    let named = fields(cfg.command).iter().copied().chain(core::iter::repeat("buffer"));
    for (at, name) in (1..cfg.bufs.len()).zip(named) {
        // The large NID of `add_uuid` and the `lctl` of `set_param` are said already.
        let is_said = name == "buffer" && matches!(cfg.command, c::ADD_UUID | c::SET_PARAM | c::PARAM);
        if !is_said {
            put(text, name, &cfg.text(at));
        }
    }
    text.push_str(" }\n");
}
