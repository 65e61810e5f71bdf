//! The command that makes the file system, and what it copies into it.

use super::{Format, Wanted};
use crate::host::{Device, Host, HostError};
use crate::observe::UNFINISHED_LABEL;
use lustre_wire::mountdata;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// The whole command line for `wanted` on `device`.
pub(super) fn command(
    host: &Host,
    wanted: &Wanted,
    device: &Device,
    uuid: Uuid,
    root: &Path,
) -> Result<Vec<String>, HostError> {
    let backing = wanted.backing(device);
    let mut command = vec![host.tools.mke2fs.clone(), "-j".into(), "-b".into(), backing.block_bytes().to_string()];
    command.extend(["-L".into(), UNFINISHED_LABEL.into(), "-U".into(), uuid.to_string()]);
    command.extend(["-d".into(), root.to_string_lossy().into_owned()]);
    command.extend(backing.options(&host.mke2fs()?.missing));
    command.push(device.path.to_string_lossy().into_owned());
    Ok(command)
}

impl Format<'_> {
    /// The command that a format would run now, its UUID and directory not yet chosen.
    pub fn preview(host: &Host, wanted: &Wanted, device: &Device) -> Result<Vec<String>, HostError> {
        if let Some(dataset) = device.dataset() {
            return Ok(super::zfs::command(&dataset, wanted, Uuid::nil()));
        }
        command(host, wanted, device, Uuid::nil(), &PathBuf::from("root"))
    }

    /// The new file system's contents: `CONFIGS/mountdata`, with the modes that `mkfs.lustre` leaves.
    pub(super) fn write_contents(&self) -> Result<(), HostError> {
        let root = self.dir.join("root");
        let file = root.join(mountdata::PATH);
        let configs = file.parent().expect("mountdata is in a directory");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| HostError::Io { what: "write", path, source }
        };
        fs::create_dir_all(configs).map_err(io(configs))?;
        fs::write(&file, self.wanted.mountdata.encode()).map_err(io(&file))?;
        for (path, mode) in [(root.as_path(), 0o755), (configs, 0o755), (&file, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io(path))?;
        }
        Ok(())
    }
}
