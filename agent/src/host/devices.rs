//! Block devices and image files of this node, from sysfs.

use super::{
    HostError, Sysroot,
    exclusive::{self, ExclusiveFile},
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Bytes in the sectors that the kernel counts sizes in, whatever the device's own are.
const KERNEL_SECTOR: u64 = 512;
/// Names of devices that no target belongs on: memory, floppies, optical drives.
const NEVER_TARGETS: [&str; 4] = ["ram", "zram", "fd", "sr"];

/// What kind of thing a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKind {
    /// A whole disk.
    Disk,
    /// A part of a disk.
    Partition {
        /// Kernel name of the disk.
        of: String,
    },
    /// A file seen as a disk.
    Loop {
        /// The file.
        backing_file: PathBuf,
    },
    /// Device mapper: LVM, multipath, crypt.
    Mapper {
        /// Name in `/dev/mapper`.
        name: String,
        /// Its UUID, whose prefix says which kind: `LVM-`, `mpath-`, `CRYPT-`.
        uuid: String,
    },
    /// Software RAID.
    Md,
    /// A plain file in a directory that the agent's configuration allows.
    Image,
    /// A ZFS dataset, `pool/dataset`; there may be none of that name yet.
    Dataset,
}

/// A device that could hold a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Canonical path: `/dev/sda`, or the image file.
    pub path: PathBuf,
    /// Kernel name, such as `sda`; the file name of an image.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// `(major, minor)`; none for an image.
    pub number: Option<(u64, u64)>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub sector_bytes: u64,
    /// Model, as the device says.
    pub model: Option<String>,
    /// Serial number, as the device says.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// True if the kernel refuses writes.
    pub is_read_only: bool,
    /// True if it turns.
    pub is_rotational: bool,
    /// True if it is written zone by zone.
    pub is_zoned: bool,
    /// Other names: links in `/dev/disk/by-id`, `by-path` and `by-partuuid`, and `/dev/mapper`.
    pub links: Vec<PathBuf>,
    /// Kernel names of its partitions.
    pub partitions: Vec<String>,
    /// Kernel names of devices built on it.
    pub holders: Vec<String>,
    /// Kernel names of devices that it is built on.
    pub slaves: Vec<String>,
}

impl Device {
    /// A device of which nothing is known but this.
    pub fn plain(path: PathBuf, name: &str, kind: DeviceKind, size_bytes: u64) -> Self {
        Self {
            path,
            name: name.to_owned(),
            kind,
            number: None,
            size_bytes,
            sector_bytes: 512,
            model: None,
            serial: None,
            wwn: None,
            is_read_only: false,
            is_rotational: false,
            is_zoned: false,
            links: Vec::new(),
            partitions: Vec::new(),
            holders: Vec::new(),
            slaves: Vec::new(),
        }
    }

    /// The dataset that it is, where it is one.
    pub fn dataset(&self) -> Option<lustre_types::Dataset> {
        if self.kind == DeviceKind::Dataset { self.name.parse().ok() } else { None }
    }

    /// Opens it to read and write, and for us alone: the kernel's own guard, at the very moment of writing.
    pub fn open_for_writing(&self) -> io::Result<ExclusiveFile> {
        self.open_with(0)
    }

    /// As [`open_for_writing`](Self::open_for_writing); each write is on the medium when it returns, and waits for nothing
    /// else that was written to the device.
    pub fn open_for_durable_writing(&self) -> io::Result<ExclusiveFile> {
        self.open_with(nix::libc::O_DSYNC)
    }

    // On a plain file O_EXCL without O_CREAT says nothing.
    fn open_with(&self, flags: i32) -> io::Result<ExclusiveFile> {
        exclusive::open(fs::File::options().read(true).write(true), flags, &self.path)
    }

    /// The device whose lock stands for this one: the whole disk of a partition, else itself.
    pub fn lock_path(&self, root: &Sysroot) -> PathBuf {
        match &self.kind {
            DeviceKind::Partition { of } => root.dev.join(of),
            _ => self.path.clone(),
        }
    }
}

/// Every device of this node that could hold a target, images included, in the order of their names.
pub fn list(root: &Sysroot) -> Result<Vec<Device>, HostError> {
    let links = links(root, None);
    let mut devices = Vec::new();
    for disk in names_in(&root.sys.join("block"))? {
        if NEVER_TARGETS.iter().any(|kind| is_numbered(&disk, kind)) {
            continue;
        }
        let dir = root.sys.join("block").join(&disk);
        let Some(device) = from_sysfs(root, &dir, &disk, None, &links) else { continue };
        let partitions = device.partitions.clone();
        // A loop device without a file, a card reader without a card.
        if device.size_bytes > 0 {
            devices.push(device);
        }
        for partition in partitions {
            devices.extend(from_sysfs(root, &dir.join(&partition), &partition, Some(&disk), &links));
        }
    }
    for dir in &root.image_dirs {
        for name in names_in(dir)? {
            // Gone since the listing, or not ours to read: it is no device for us then.
            if let Ok(Some(device)) = image(&dir.join(name)) {
                devices.push(device);
            }
        }
    }
    Ok(devices)
}

/// The device that `path` (any link to it) names.
///
/// Errors: it doesn't exist; it is neither a block device nor a file in a directory for images.
pub fn resolve(root: &Sysroot, path: &Path) -> Result<Device, HostError> {
    if !path.is_absolute() {
        return Err(HostError::Relative { path: path.to_owned() });
    }
    let canonical = fs::canonicalize(path).map_err(HostError::io("resolve", path))?;
    let meta = fs::metadata(&canonical).map_err(HostError::io("look at", &canonical))?;
    if meta.is_file() {
        let allowed = canonical.parent().is_some_and(|dir| root.image_dirs.iter().any(|own| own == dir));
        if !allowed {
            let hint = format!(
                "; to use a plain file as a device, start the agent with --image-dir {}",
                canonical.parent().unwrap_or(&canonical).display()
            );
            return Err(HostError::NoDevice { path: path.to_owned(), hint });
        }
        return image(&canonical)?.ok_or(HostError::Missing { path: canonical });
    }
    if !meta.file_type().is_block_device() {
        return Err(HostError::NoDevice { path: path.to_owned(), hint: String::new() });
    }
    let (major, minor) = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
    let dir = fs::canonicalize(root.sys.join("dev/block").join(format!("{major}:{minor}")))
        .map_err(HostError::io("find in sysfs", &canonical))?;
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = dir.join("partition").exists().then(|| dir.parent().and_then(Path::file_name)).flatten();
    let parent = parent.map(|name| name.to_string_lossy().into_owned());
    from_sysfs(root, &dir, &name, parent.as_deref(), &links(root, canonical.file_name()))
        .ok_or_else(|| HostError::NoDevice { path: path.to_owned(), hint: String::new() })
}

fn from_sysfs(
    root: &Sysroot,
    dir: &Path,
    name: &str,
    disk: Option<&str>,
    links: &BTreeMap<PathBuf, Vec<PathBuf>>,
) -> Option<Device> {
    // sysfs writes '!' for the '/' of names like cciss/c0d0.
    let path = root.dev.join(name.replace('!', "/"));
    let size_bytes = attribute(dir, "size")?.parse::<u64>().ok()?.checked_mul(KERNEL_SECTOR)?;
    let number = attribute(dir, "dev").and_then(|text| {
        let (major, minor) = text.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    // A partition's disk knows what they share.
    let disk_dir = if disk.is_some() { dir.parent().unwrap_or(dir) } else { dir };
    let kind = if let Some(of) = disk {
        DeviceKind::Partition { of: of.to_owned() }
    } else if let Some(file) = attribute(dir, "loop/backing_file") {
        DeviceKind::Loop { backing_file: file.into() }
    } else if let Some(mapper) = attribute(dir, "dm/name") {
        DeviceKind::Mapper { name: mapper, uuid: attribute(dir, "dm/uuid").unwrap_or_default() }
    } else if dir.join("md").exists() {
        DeviceKind::Md
    } else {
        DeviceKind::Disk
    };
    Some(Device {
        links: links.get(&path).cloned().unwrap_or_default(),
        path,
        name: name.to_owned(),
        kind,
        number,
        size_bytes,
        sector_bytes: attribute(disk_dir, "queue/logical_block_size").and_then(|text| text.parse().ok()).unwrap_or(512),
        model: attribute(disk_dir, "device/model"),
        serial: attribute(disk_dir, "serial")
            .or_else(|| attribute(disk_dir, "device/serial"))
            .or_else(|| scsi_serial(&disk_dir.join("device/vpd_pg80"))),
        wwn: attribute(disk_dir, "wwid").or_else(|| attribute(disk_dir, "device/wwid")),
        is_read_only: attribute(dir, "ro").is_some_and(|text| text == "1"),
        is_rotational: attribute(disk_dir, "queue/rotational").is_some_and(|text| text == "1"),
        is_zoned: attribute(disk_dir, "queue/zoned").is_some_and(|text| text != "none"),
        partitions: names_in(dir)
            .unwrap_or_default()
            .into_iter()
            .filter(|child| dir.join(child).join("partition").exists())
            .collect(),
        holders: names_in(&dir.join("holders")).unwrap_or_default(),
        slaves: names_in(&dir.join("slaves")).unwrap_or_default(),
    })
}

fn image(path: &Path) -> Result<Option<Device>, HostError> {
    let meta = fs::metadata(path).map_err(HostError::io("look at", path))?;
    if !meta.is_file() {
        return Ok(None);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Some(Device {
        // A file's place is its only identity: it changes when another file takes the name.
        wwn: Some(format!("inode.{}.{}", meta.dev(), meta.ino())),
        is_read_only: meta.permissions().readonly(),
        ..Device::plain(path.to_owned(), &name, DeviceKind::Image, meta.len())
    }))
}

/// What paths in `/dev` lead to, each with all links that lead there; of only those to one name, where one is given: there
/// may be a thousand.
fn links(root: &Sysroot, only: Option<&OsStr>) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for dir in ["disk/by-id", "disk/by-path", "disk/by-partuuid", "mapper"] {
        let dir = root.dev.join(dir);
        for name in names_in(&dir).unwrap_or_default() {
            let link = dir.join(name);
            // udev's links lead straight to the device.
            let Ok(target) = fs::read_link(&link) else { continue };
            if only.is_none_or(|only| target.file_name() == Some(only))
                && let Ok(target) = fs::canonicalize(&link)
            {
                found.entry(target).or_default().push(link);
            }
        }
    }
    found
}

/// Sorted names in a directory; none if there is no such directory.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>, HostError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(HostError::Io { what: "list", path: dir.to_owned(), source }),
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn attribute(dir: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(dir.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// SCSI vital product data page 0x80: 4 bytes of header, then the serial number in ASCII.
fn scsi_serial(page: &Path) -> Option<String> {
    let bytes = fs::read(page).ok()?;
    let text = String::from_utf8_lossy(bytes.get(4..)?).trim().trim_matches('\0').to_owned();
    (!text.is_empty()).then_some(text)
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
