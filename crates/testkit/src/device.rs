//! Block devices, and what holds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A loop device; detached when dropped.
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// A loop device on a file. Needs root.
    pub fn on(file: &Path) -> anyhow::Result<Self> {
        let text = run(Command::new("losetup").args(["--find", "--show"]).arg(file))?;
        Ok(Self { path: text.trim().into() })
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it on a directory, which is made.
    pub fn mount(&self, on: &Path) -> anyhow::Result<Mounted> {
        std::fs::create_dir_all(on)?;
        run(Command::new("mount").arg(&self.path).arg(on))?;
        Ok(Mounted { on: on.to_owned() })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}

/// A mounted file system; unmounted when dropped.
pub struct Mounted {
    on: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.on).status();
    }
}

/// The `mke2fs` that works on a device, stopped in the middle of it; killed when dropped, unless it goes on before.
///
/// So a test has as long a format as it wants, whatever the machine's speed.
pub struct HaltedFormat {
    pid: Pid,
    uuid: String,
    goes_on: bool,
}

impl HaltedFormat {
    /// Waits until a format of `device` runs, and stops it. The device has to be large enough for it to be found at work.
    pub fn of(device: &Path) -> anyhow::Result<Self> {
        let mut found = None;
        crate::wait_for(&format!("a mke2fs on {}", device.display()), || {
            found = formats_of(device).into_iter().next();
            Ok(found.is_some())
        })?;
        let (pid, uuid) = found.context("that was waited for")?;
        kill(pid, Signal::SIGSTOP).context("it ended too soon; take a larger device")?;
        Ok(Self { pid, uuid, goes_on: false })
    }

    /// The UUID that it was told to give the file system.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Lets it do the rest.
    pub fn go_on(mut self) {
        self.goes_on = true;
        let _ = kill(self.pid, Signal::SIGCONT);
    }
}

impl Drop for HaltedFormat {
    fn drop(&mut self) {
        if !self.goes_on {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

/// The processes of `mke2fs` that have a device among their arguments, with the UUID that they give.
fn formats_of(device: &Path) -> Vec<(Pid, String)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let formats = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = String::from_utf8(std::fs::read(entry.path().join("cmdline")).ok()?).ok()?;
        let words: Vec<_> = command.split('\0').collect();
        let uuid = words.iter().skip_while(|word| **word != "-U").nth(1)?;
        let is_it = words[0].ends_with("mke2fs") && words.iter().any(|word| Path::new(word) == device);
        is_it.then(|| (Pid::from_raw(pid), (*uuid).to_owned()))
    });
    formats.collect()
}

/// Runs a command that must succeed, and gives what it prints.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
