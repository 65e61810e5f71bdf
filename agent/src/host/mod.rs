//! The host that the agent works on: one file per tool or kernel interface.
//!
//! All of it is blocking and does what it is asked at once; what may be done, and when, is decided elsewhere. The seam for
//! tests is below: [`Sysroot`] says where `/sys`, `/proc` and `/dev` are, so that a test can show a multipath device or a
//! swap partition that it doesn't have, and the programs are found in [`Tools`]. Everything else in tests is real.

pub mod blank;
pub mod crm_mon;
pub mod detached;
pub mod devices;
pub mod e2fs;
mod error;
mod exclusive;
pub mod ext4;
pub mod kproxy;
pub mod lctl;
pub mod lfs;
pub mod lfs_df;
pub mod libblkid;
pub mod lnet;
pub mod lock;
pub mod magic;
pub mod mke2fs;
pub mod mount;
mod nameless;
pub mod pacemaker;
pub mod params;
pub mod served;
mod session;
pub mod signatures;
mod tool;
pub mod usage;
pub mod versions;
pub mod zfs;
pub mod zpool;

pub use devices::{Device, DeviceKind};
pub use error::{HostError, chain};
pub use exclusive::ExclusiveFile;
pub use signatures::Signature;
pub use usage::Usage;

use crate::look::Looking;
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Where the kernel's tables and the devices are.
#[derive(Debug, Clone)]
pub struct Sysroot {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/etc`.
    pub etc: PathBuf,
    /// Directories whose plain files may serve as devices; canonical paths.
    pub image_dirs: Vec<PathBuf>,
    /// Where `sys`, `proc` and `etc/lustre` of tunables are: `/`, or a tree in a directory.
    pub param_root: PathBuf,
}

impl Default for Sysroot {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            etc: "/etc".into(),
            image_dirs: Vec::new(),
            param_root: "/".into(),
        }
    }
}

/// Programs: those of e2fsprogs, which may be Lustre's own in a directory, and others from the `PATH`.
#[derive(Debug, Clone)]
pub struct Tools {
    /// This agent's own program, which mounts where `mount.lustre` is not installed.
    pub own: String,
    /// `mke2fs`.
    pub mke2fs: String,
    /// `tune2fs`.
    pub tune2fs: String,
    /// `debugfs`.
    pub debugfs: String,
    /// `e2mmpstatus`.
    pub e2mmpstatus: String,
    /// `modinfo` of kmod.
    pub modinfo: String,
    /// `modprobe` of kmod.
    pub modprobe: String,
    /// `dkms`.
    pub dkms: String,
    /// `e2fsck`.
    pub e2fsck: String,
    /// `lctl`, where Lustre is.
    pub lctl: String,
    /// `lfs`, on clients.
    pub lfs: String,
    /// `crm_mon`, where Pacemaker is.
    pub crm_mon: String,
    /// `crm_resource`, where Pacemaker is.
    pub crm_resource: String,
    /// `zfs`, where ZFS is.
    pub zfs: String,
    /// `zpool`, where ZFS is.
    pub zpool: String,
}

impl Tools {
    /// From the `PATH`; those of e2fsprogs from `dir`, where Lustre's own are not in the `PATH`.
    pub fn from_dir(dir: Option<&Path>) -> Self {
        let place =
            |name: &str| dir.map_or_else(|| name.to_owned(), |dir| dir.join(name).to_string_lossy().into_owned());
        Self {
            // Of whoever is about to become it; also where the file was replaced since.
            own: "/proc/self/exe".to_owned(),
            mke2fs: place("mke2fs"),
            tune2fs: place("tune2fs"),
            debugfs: place("debugfs"),
            e2mmpstatus: place("e2mmpstatus"),
            modinfo: "modinfo".to_owned(),
            modprobe: "modprobe".to_owned(),
            dkms: "dkms".to_owned(),
            e2fsck: place("e2fsck"),
            lctl: "lctl".to_owned(),
            lfs: "lfs".to_owned(),
            crm_mon: "crm_mon".to_owned(),
            crm_resource: "crm_resource".to_owned(),
            zfs: "zfs".to_owned(),
            zpool: "zpool".to_owned(),
        }
    }
}

/// The host.
#[derive(Debug)]
pub struct Host {
    /// Where to look.
    pub root: Sysroot,
    /// What to run.
    pub tools: Tools,
    /// Targets that the userspace driver has started.
    pub served: served::Served,
    /// Looks at disks that have not answered yet.
    pub looking: Looking,
    /// Whose turn it is to make, import or export a pool of ZFS.
    pub pools_turn: Mutex<()>,
    /// Searches for files that go on from one batch to the next.
    pub scans: lfs::Scans,
    mke2fs: mke2fs::Mke2fsCache,
    libblkid: libblkid::LibblkidCache,
}

impl Host {
    /// A host that is looked at through `root` and worked on with `tools`.
    pub fn new(root: Sysroot, tools: Tools) -> Self {
        Self {
            root,
            tools,
            served: served::Served::default(),
            looking: Looking::default(),
            pools_turn: Mutex::default(),
            scans: lfs::Scans::default(),
            mke2fs: mke2fs::Mke2fsCache::default(),
            libblkid: libblkid::LibblkidCache::default(),
        }
    }

    /// Every device that could hold a target.
    pub fn devices(&self) -> Result<Vec<Device>, HostError> {
        devices::list(&self.root)
    }

    /// The device that a path names, or the ZFS dataset: that one also where it isn't there yet.
    pub fn device(&self, path: &Path) -> Result<Device, HostError> {
        match path.to_str().filter(|name| lustre_types::Dataset::is_meant(name)) {
            None => devices::resolve(&self.root, path),
            Some(name) => {
                let dataset: lustre_types::Dataset = name.parse().map_err(HostError::Dataset)?;
                let properties = self.properties(&dataset)?;
                Ok(Device::of_dataset(&dataset, properties.map_or(0, |properties| properties.size_bytes())))
            }
        }
    }

    /// Who uses a device, by the kernel's tables and by our own of started targets.
    pub fn usages(&self, device: &Device) -> Result<Vec<Usage>, HostError> {
        let mut usages = usage::usages(&self.root, device)?;
        usages.extend(self.served.on(device).map(|target| Usage::Served { svname: target.svname }));
        Ok(usages)
    }

    /// Whether a device is known to be blank without asking `wipefs`; false where that would have to be asked.
    pub fn is_blank(&self, device: &Device) -> Result<bool, HostError> {
        // Of a zoned device superblocks are looked for in its zones.
        Ok(!device.is_zoned && self.looks_by_itself() && blank::reads_as_zero(device)?)
    }

    /// Whether the installed libblkid looks for signatures nowhere but where this agent reads; it is asked once.
    pub fn looks_by_itself(&self) -> bool {
        self.libblkid.stays_within_windows()
    }

    /// The installed `mke2fs`, asked once for as long as the program stays the same.
    pub fn mke2fs(&self) -> Result<mke2fs::Mke2fs, HostError> {
        self.mke2fs.probe(&self.tools.mke2fs)
    }
}
