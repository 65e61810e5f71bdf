//! Runs a program to its end and takes its answer.

use super::{HostError, exclusive, lock::DeviceLock};
use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// The most of a program's complaint that goes into a message, bytes.
const COMPLAINT_MAX: usize = 2000;

/// Runs `tool` with `args` and gives its output whatever the exit status; `package` is named when it isn't there.
///
/// `LC_ALL=C`, because answers are parsed. Nothing to read on standard input.
pub(crate) fn run<I, S>(tool: &str, package: &'static str, args: I) -> Result<Output, HostError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    end(tool, package, start(tool, package, args)?)
}

/// As [`run`], for a program that writes to the device whose `lock` this is: it holds the lock too, so that where the agent
/// is killed meanwhile, the next one waits for the program's end.
pub(crate) fn run_under<I, S>(
    lock: &DeviceLock,
    tool: &str,
    package: &'static str,
    args: I,
) -> Result<Output, HostError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    end(tool, package, start_with(lock.at_end()?.into(), tool, package, args)?)
}

/// Starts `tool`; whoever started it takes its answer by `wait_with_output`. Else like [`run`].
pub(crate) fn start<I, S>(tool: &str, package: &'static str, args: I) -> Result<Child, HostError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    start_with(Stdio::null(), tool, package, args)
}

fn start_with<I, S>(stdin: Stdio, tool: &str, package: &'static str, args: I) -> Result<Child, HostError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(tool);
    command.args(args).env("LC_ALL", "C").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    exclusive::starting(|| command.spawn()).map_err(|source| HostError::ToolMissing {
        tool: tool.to_owned(),
        package,
        source,
    })
}

fn end(tool: &str, package: &'static str, child: Child) -> Result<Output, HostError> {
    child.wait_with_output().map_err(|source| HostError::ToolMissing { tool: tool.to_owned(), package, source })
}

/// The error of a program that ended badly while working on `device`.
pub(crate) fn failed(tool: &str, device: &Path, output: &Output) -> HostError {
    HostError::ToolFailed {
        tool: tool.to_owned(),
        device: device.to_owned(),
        status: output.status.to_string(),
        stderr: complaint(&output.stderr),
    }
}

/// Inode, size and modification time of a program's file: others once it is another version.
pub(crate) type Fingerprint = (u64, u64, i64);

/// The fingerprint of a program, which is found in the `PATH` as the system would; none where it isn't there.
pub(crate) fn fingerprint(tool: &str) -> Option<Fingerprint> {
    let path = if tool.contains('/') {
        tool.into()
    } else {
        std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(tool)).find(|path| path.exists())?
    };
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime()))
}

/// The last part of what a program said, on one line.
pub(crate) fn complaint(bytes: &[u8]) -> String {
    let tail = &bytes[bytes.len().saturating_sub(COMPLAINT_MAX)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}
