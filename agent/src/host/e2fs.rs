//! A backing file system from outside: by our own hand where it is as targets usually are, else by `debugfs`, `tune2fs`
//! and `e2mmpstatus`.

use super::ext4::{self, Ext4, Ext4Error, Superblock};
use super::{Device, Host, HostError, exclusive, lock::DeviceLock, tool};
use lustre_wire::mountdata::{self, Mountdata};
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    process::{Command, Stdio},
};

/// Lets `tune2fs` write without waiting out multi-mount protection, 11 seconds each time: nobody else can have mounted a
/// file system that isn't a target yet, or that this node has just mounted itself.
const NO_MMP_WAIT: &str = "-f";

impl Host {
    /// The ext4 superblock of a device, if there is one. Anything else at its place is none.
    pub fn superblock(&self, device: &Device) -> Result<Option<Superblock>, HostError> {
        if device.size_bytes < ext4::OFFSET + ext4::LEN as u64 {
            return Ok(None);
        }
        let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
        let mut bytes = [0; ext4::LEN];
        file.read_exact_at(&mut bytes, ext4::OFFSET).map_err(HostError::io("read", &device.path))?;
        Ok(Superblock::decode(&bytes).ok())
    }

    /// The bytes of `CONFIGS/mountdata` on an ext4 device, read without mounting; none if there is no such file.
    ///
    /// At most one byte more than the format has, however large the file claims to be.
    /// Errors: neither this agent nor `debugfs` can read the file system.
    pub fn mountdata(&self, device: &Device) -> Result<Option<Vec<u8>>, HostError> {
        let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
        let read = Ext4::open(&file).and_then(|fs| fs.read_path(mountdata::PATH, mountdata::LEN + 1));
        match read {
            Ok(found) => Ok(found),
            Err(Ext4Error::Io(source)) => Err(HostError::Io { what: "read", path: device.path.clone(), source }),
            // Unusual, or damaged: whoever knows ext4 best has the last word, and the words for the message.
            Err(_) => self.mountdata_by_debugfs(device),
        }
    }

    fn mountdata_by_debugfs(&self, device: &Device) -> Result<Option<Vec<u8>>, HostError> {
        let tool = &self.tools.debugfs;
        // -c leaves the bitmaps alone: they are gigabytes on a large target, and may be changing under a mounted one.
        let mut command = Command::new(tool);
        command
            .args(["-c", "-R", &format!("cat {}", mountdata::PATH)])
            .arg(&device.path)
            .env("LC_ALL", "C")
            .env("DEBUGFS_PAGER", "__none__")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = exclusive::starting(|| command.spawn()).map_err(|source| HostError::ToolMissing {
            tool: tool.clone(),
            package: "e2fsprogs",
            source,
        })?;
        let mut bytes = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout
                .take(mountdata::LEN as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(HostError::io("read mountdata of", &device.path))?;
        }
        let output = child.wait_with_output().map_err(HostError::io("read mountdata of", &device.path))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // debugfs ends with status 0 whatever happened; its complaints tell.
        if said.contains("File not found by ext2_lookup") || said.contains("Not a directory") {
            return Ok(None);
        }
        if bytes.is_empty() && said.lines().any(|line| !line.starts_with("debugfs ")) {
            return Err(tool::failed(tool, &device.path, &output));
        }
        Ok(Some(bytes))
    }

    /// Writes `ldd_flags` in `CONFIGS/mountdata` of a file system that nobody uses, where they are on the device.
    /// Durable only after [`sync`](Self::sync). Errors: the file system is not one that this agent reads by itself.
    pub fn set_mountdata_flags(&self, device: &Device, flags: mountdata::Flags) -> Result<(), HostError> {
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        let place = Ext4::open(&*file).and_then(|fs| fs.place_of(mountdata::PATH)).map_err(|error| match error {
            Ext4Error::Io(source) => HostError::Io { what: "read", path: device.path.clone(), source },
            other => HostError::ToolAnswer {
                tool: "ext4 reader".to_owned(),
                device: device.path.clone(),
                detail: other.to_string(),
            },
        })?;
        let place = place.ok_or_else(|| HostError::Missing { path: device.path.join(mountdata::PATH) })?;
        file.write_all_at(&flags.0.to_le_bytes(), place + mountdata::FLAGS_OFFSET)
            .map_err(HostError::io("write mountdata of", &device.path))
    }

    /// Writes `CONFIGS/mountdata` of a file system that nobody uses, in place. Durable only after [`sync`](Self::sync), and
    /// not in one piece: who was interrupted writes it again.
    ///
    /// Errors: the file system is not one that this agent reads by itself.
    pub fn write_mountdata(&self, device: &Device, content: &Mountdata) -> Result<(), HostError> {
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        let unusual = |error: Ext4Error| match error {
            Ext4Error::Io(source) => HostError::Io { what: "read", path: device.path.clone(), source },
            other => HostError::ToolAnswer {
                tool: "ext4 reader".to_owned(),
                device: device.path.clone(),
                detail: format!("{other}; tunefs.lustre can change this target"),
            },
        };
        let bytes = content.encode();
        let fs = Ext4::open(&*file).map_err(unusual)?;
        let block = usize::try_from(fs.superblock.block_bytes).expect("64 KiB at most: checked when decoded");
        let most = u32::try_from(bytes.len().div_ceil(block)).expect("a dozen blocks");
        let places = fs.places_of(mountdata::PATH, most).map_err(unusual)?;
        let missing = || HostError::Missing { path: device.path.join(mountdata::PATH) };
        let places = places.filter(|places| places.len() == bytes.chunks(block).len()).ok_or_else(missing)?;
        for (place, chunk) in places.into_iter().zip(bytes.chunks(block)) {
            file.write_all_at(chunk, place).map_err(HostError::io("write mountdata of", &device.path))?;
        }
        Ok(())
    }

    /// Brings into the file system what its journal holds, as the next mount would; else it would do so over what is
    /// written here. Nothing is repaired. Errors: `e2fsck` says no.
    pub fn replay_journal(&self, device: &Device, lock: &DeviceLock) -> Result<(), HostError> {
        let tool = &self.tools.e2fsck;
        let args = ["-y".as_ref(), std::ffi::OsStr::new("-E"), "journal_only".as_ref(), device.path.as_os_str()];
        let output = tool::run_under(lock, tool, "e2fsprogs", args)?;
        // 1: the file system was modified.
        let is_done = output.status.code().is_some_and(|code| code <= 1);
        if is_done { Ok(()) } else { Err(tool::failed(tool, &device.path, &output)) }
    }

    /// Writes the volume label of a file system that nobody uses, in one piece; `lock` is its device's, where it is held.
    /// Durable only after [`sync`](Self::sync).
    pub fn set_label_at_rest(&self, device: &Device, lock: Option<&DeviceLock>, label: &str) -> Result<(), HostError> {
        let has_checksums = self.superblock(device)?.is_none_or(|superblock| superblock.has_checksums());
        let room = ext4::LABEL.len();
        if has_checksums || label.len() > room {
            return self.set_label(device, lock, label);
        }
        let mut bytes = label.as_bytes().to_vec();
        bytes.resize(room, 0);
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        file.write_all_at(&bytes, ext4::OFFSET + ext4::LABEL.start as u64)
            .map_err(HostError::io("write the label of", &device.path))
    }

    /// Writes the volume label, and nothing else, also of a mounted file system; `lock` is its device's, where it is held.
    /// Durable only after [`sync`](Self::sync).
    pub fn set_label(&self, device: &Device, lock: Option<&DeviceLock>, label: &str) -> Result<(), HostError> {
        let tool = &self.tools.tune2fs;
        let args = [NO_MMP_WAIT.as_ref(), std::ffi::OsStr::new("-L"), label.as_ref(), device.path.as_os_str()];
        let output = match lock {
            Some(lock) => tool::run_under(lock, tool, "e2fsprogs", args)?,
            None => tool::run(tool, "e2fsprogs", args)?,
        };
        if output.status.success() { Ok(()) } else { Err(tool::failed(tool, &device.path, &output)) }
    }

    /// Has the usage of every user, group and project of a fresh file system counted anew, for the quota `types` of
    /// `tune2fs -Q`. Why: [`ext4::patches`]. Durable only after [`sync`](Self::sync).
    pub fn recount_quota(&self, device: &Device, lock: &DeviceLock, types: &[&str]) -> Result<(), HostError> {
        if types.is_empty() {
            return Ok(());
        }
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        match Ext4::open(&*file).and_then(|fs| ext4::patches(&fs)) {
            Ok(patches) => patches.iter().try_for_each(|patch| {
                file.write_all_at(&patch.bytes, patch.offset)
                    .map_err(HostError::io("write the quotas of", &device.path))
            }),
            Err(Ext4Error::Io(source)) => Err(HostError::Io { what: "read", path: device.path.clone(), source }),
            Err(_) => {
                // It opens the device for itself alone.
                drop(file);
                self.recount_quota_by_tune2fs(device, lock, types)
            }
        }
    }

    /// Off and on again is idempotent.
    fn recount_quota_by_tune2fs(&self, device: &Device, lock: &DeviceLock, types: &[&str]) -> Result<(), HostError> {
        let off = types.iter().map(|one| format!("^{one}")).collect::<Vec<_>>().join(",");
        for words in [off, types.join(",")] {
            let tool = &self.tools.tune2fs;
            let args = [NO_MMP_WAIT.as_ref(), std::ffi::OsStr::new("-Q"), words.as_ref(), device.path.as_os_str()];
            let output = tool::run_under(lock, tool, "e2fsprogs", args)?;
            if !output.status.success() {
                return Err(tool::failed(tool, &device.path, &output));
            }
        }
        Ok(())
    }

    /// Whether another node has the file system mounted, by its multi-mount protection. Takes as long as that node's
    /// update interval, some 10 seconds, where it is in use or was not unmounted.
    ///
    /// Only for file systems that have MMP ([`Superblock::has_mmp`]).
    pub fn is_mounted_elsewhere(&self, device: &Device) -> Result<bool, HostError> {
        let output = tool::run(&self.tools.e2mmpstatus, "e2fsprogs", [&device.path])?;
        Ok(!output.status.success())
    }

    /// Brings everything written to a device onto its medium.
    pub fn sync(&self, device: &Device) -> Result<(), HostError> {
        let file = File::options().write(true).open(&device.path).map_err(HostError::io("open", &device.path))?;
        // The size of a device or image doesn't change; what else `sync_all` would bring is when it was written.
        file.sync_data().map_err(HostError::io("sync", &device.path))
    }
}
