//! Config logs: headers, records, `lustre_cfg`, markers, and what they say.
//!
//! A log is a file: one header of 8 KiB, then records, none across a border of 8 KiB ([`LogFile`]). A config log's record
//! holds a [`LustreCfg`]: a command with up to eight buffers; [`Marker`]s around them say whom a section concerns and
//! whether it is still valid.
//! The layers keep what they don't understand: a record of any type, a command of any number, a buffer with any bytes.
//!
//! ```
//! use lustre_wire::llog::{LogFile, LustreCfg, command};
//! let mut log = LogFile::new(1_700_000_000);
//! log.append(&LustreCfg::texts(command::ATTACH, &["scratch-clilov", "lov", "scratch-clilov_UUID"]))?;
//! assert_eq!(LogFile::decode(&log.encode())?, log);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cfg;
mod file;
mod header;
mod marker;
mod nid;
mod print;
mod record;
#[cfg(test)]
mod tests;

pub use cfg::{LustreCfg, MAX_BUFFERS, command};
pub use file::{AppendError, LogFile, fuzz_log_file, padding_before};
pub use header::{BITMAP_LEN, Bitmap, LogHeader, MAX_INDEX};
pub use marker::{Marker, MarkerFlags, fuzz_lustre_cfg};
pub use nid::{nid8, nid8_text};
pub use print::{print, print_raw};
pub use record::{MAX_RECORD_LEN, Record, RecordKind};

/// Bytes of a header and of the blocks that records never cross.
pub const CHUNK: usize = 8192;
