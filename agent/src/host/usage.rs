//! Who is using a device right now: what no flag may override.

use super::devices::{self, Device, DeviceKind};
use super::{HostError, Sysroot, exclusive};
use lustre_types::SvName;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// One reason why a device is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// A file system on it is mounted.
    Mounted {
        /// Where.
        mountpoint: String,
        /// As what.
        fstype: String,
    },
    /// The kernel swaps to it.
    Swap,
    /// It is one path of a multipath device.
    MultipathPath {
        /// The device to use instead.
        mapper: PathBuf,
    },
    /// Another device is built on it.
    Holder {
        /// Kernel name, with the name in `/dev/mapper` where there is one.
        name: String,
    },
    /// It has partitions.
    Partitioned {
        /// Their kernel names.
        names: Vec<String>,
    },
    /// A loop device is made of this file.
    LoopDevice {
        /// The device to use instead.
        device: PathBuf,
    },
    /// The userspace driver has started the target on it.
    Served {
        /// The target.
        svname: SvName,
    },
    /// The kernel refuses writes.
    ReadOnly,
    /// Somebody has it open for himself alone; who, the kernel doesn't say.
    OpenedExclusively,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { mountpoint, fstype } => write!(f, "mounted at {mountpoint} as {fstype}"),
            Self::Swap => f.write_str("in use as swap"),
            Self::MultipathPath { mapper } => {
                write!(f, "a path of a multipath device; use {} instead", mapper.display())
            }
            Self::Holder { name } => write!(f, "in use by {name}"),
            Self::Partitioned { names } => {
                write!(f, "partitioned into {}; use a partition, or remove them first", names.join(", "))
            }
            Self::LoopDevice { device } => write!(f, "the file behind {}; use that device", device.display()),
            Self::Served { svname } => write!(f, "started as {svname} by the userspace driver"),
            Self::ReadOnly => f.write_str("read-only"),
            Self::OpenedExclusively => f.write_str("opened exclusively by another program"),
        }
    }
}

/// Everything that uses `device` as far as the kernel's tables say; [`probe_exclusive`] finds the rest.
pub fn usages(root: &Sysroot, device: &Device) -> Result<Vec<Usage>, HostError> {
    let mut found = Vec::new();
    if device.is_read_only {
        found.push(Usage::ReadOnly);
    }
    for holder in &device.holders {
        found.push(holder_usage(root, holder));
    }
    if !device.partitions.is_empty() {
        found.push(Usage::Partitioned { names: device.partitions.clone() });
    }
    if device.kind == DeviceKind::Image {
        found.extend(loops_on(root, &device.path)?.into_iter().map(|device| Usage::LoopDevice { device }));
    }
    found.extend(mounts(root, device)?);
    if is_swap(root, &device.path)? {
        found.push(Usage::Swap);
    }
    Ok(found)
}

fn holder_usage(root: &Sysroot, holder: &str) -> Usage {
    let dm = root.sys.join("block").join(holder).join("dm");
    let read = |name: &str| fs::read_to_string(dm.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (name, uuid) = (read("name"), read("uuid"));
    if uuid.starts_with("mpath-") {
        Usage::MultipathPath { mapper: root.dev.join("mapper").join(name) }
    } else if name.is_empty() {
        Usage::Holder { name: holder.to_owned() }
    } else {
        Usage::Holder { name: format!("{holder} ({name})") }
    }
}

/// Loop devices made of `file`.
fn loops_on(root: &Sysroot, file: &Path) -> Result<Vec<PathBuf>, HostError> {
    let block = root.sys.join("block");
    let names = devices::names_in(&block)?;
    Ok(names
        .into_iter()
        .filter(|name| {
            fs::read_to_string(block.join(name).join("loop/backing_file"))
                .is_ok_and(|backing| Path::new(backing.trim_end_matches('\n')) == file)
        })
        .map(|name| root.dev.join(name))
        .collect())
}

/// What of a ZFS pool is mounted: dataset and place.
pub fn mounted_of_pool(root: &Sysroot, pool: &str) -> Result<Vec<(String, String)>, HostError> {
    let is_in = |source: &str| source.strip_prefix(pool).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mounts = mount_lines(root)?.into_iter().filter(|mount| is_in(&mount.source));
    Ok(mounts.map(|mount| (mount.source, mount.mountpoint)).collect())
}

fn mount_lines(root: &Sysroot) -> Result<Vec<MountLine>, HostError> {
    let path = root.proc.join("self/mountinfo");
    let text = fs::read_to_string(&path).map_err(HostError::io("read", &path))?;
    Ok(text.lines().filter_map(MountLine::parse).collect())
}

fn mounts(root: &Sysroot, device: &Device) -> Result<Vec<Usage>, HostError> {
    let mut found = Vec::new();
    for mount in mount_lines(root)? {
        // Lustre, btrfs and others mount under a number of their own: for them the source says which device it is.
        let same_number = device.number.is_some() && device.number == mount.number;
        let same_source = Path::new(&mount.source) == device.path
            || device.links.iter().any(|link| Path::new(&mount.source) == link)
            // Others are names of file systems, such as tmpfs.
            || (mount.source.starts_with('/') && fs::canonicalize(&mount.source).is_ok_and(|source| source == device.path));
        if same_number || same_source {
            found.push(Usage::Mounted { mountpoint: mount.mountpoint, fstype: mount.fstype });
        }
    }
    Ok(found)
}

/// What this code reads of a line of `/proc/self/mountinfo`; proc(5).
struct MountLine {
    number: Option<(u64, u64)>,
    mountpoint: String,
    fstype: String,
    source: String,
}

impl MountLine {
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (major, minor) = before.next()?.split_once(':')?;
        let mountpoint = before.nth(1)?;
        let mut after = after.split(' ');
        let fstype = after.next()?.to_owned();
        let source = after.next()?;
        Some(Self {
            number: major.parse().ok().zip(minor.parse().ok()),
            mountpoint: unescape(mountpoint),
            fstype,
            source: unescape(source),
        })
    }
}

/// Octal escapes of blanks and backslashes, as the kernel writes them into its tables of mounts and swaps.
pub(super) fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if byte == b'\\' => {
                out.push(escaped);
                rest = &tail[3..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_swap(root: &Sysroot, device: &Path) -> Result<bool, HostError> {
    let path = root.proc.join("swaps");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // A kernel without swap.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(HostError::Io { what: "read", path, source }),
    };
    Ok(text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).any(|name| {
        let name = PathBuf::from(unescape(name));
        name == device || fs::canonicalize(&name).is_ok_and(|name| name == device)
    }))
}

/// How often a device is found in use before it counts as held, and the pause in between.
const PROBES: u32 = 5;
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// Opens a block device for us alone and lets go of it again: finds users that no table shows, such as a mount in
/// another namespace. `mke2fs` needs the same for itself, so it can't be held while it runs.
pub fn probe_exclusive(device: &Device) -> Result<Option<Usage>, HostError> {
    if matches!(device.kind, DeviceKind::Image | DeviceKind::Dataset) {
        return Ok(None);
    }
    for _ in 0..PROBES {
        match exclusive::open(fs::OpenOptions::new().read(true), 0, &device.path) {
            Ok(_released) => return Ok(None),
            // Who only looks, as here, holds it for a moment.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => std::thread::sleep(PROBE_PAUSE),
            Err(source) => return Err(HostError::Io { what: "open", path: device.path.clone(), source }),
        }
    }
    Ok(Some(Usage::OpenedExclusively))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_gives_number_place_type_and_source() {
        let line = r"42 27 7:0 / /mnt/with\040blank rw,relatime shared:1 - xfs /dev/loop0 rw,nouuid";
        let mount = MountLine::parse(line).unwrap();
        assert_eq!((mount.number, mount.mountpoint.as_str()), (Some((7, 0)), "/mnt/with blank"));
        assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("xfs", "/dev/loop0"));
        assert!(MountLine::parse("42 27 7:0 / /mnt").is_none());
        assert!(MountLine::parse("").is_none());
    }

    #[test]
    fn escapes_are_undone_and_broken_ones_stay() {
        assert_eq!(unescape(r"a\040b\134c"), r"a b\c");
        assert_eq!(unescape(r"a\04"), r"a\04");
        assert_eq!(unescape(r"\9zz"), r"\9zz");
    }

    /// A `/sys`, `/proc` and `/dev` of our own, for what this machine doesn't have.
    fn pretend(dir: &Path) -> Sysroot {
        let root = Sysroot { sys: dir.join("sys"), proc: dir.join("proc"), dev: dir.join("dev"), ..Sysroot::default() };
        for (file, text) in [
            ("sys/block/sda/size", "4194304"),
            ("sys/block/sda/dev", "8:0"),
            ("sys/block/sda/device/model", "HUGE DISK"),
            ("sys/block/sda/device/wwid", "naa.5000c500a1b2c3d4"),
            ("sys/block/sda/holders/dm-0/x", ""),
            ("sys/block/sdb/size", "4194304"),
            ("sys/block/sdb/dev", "8:16"),
            ("sys/block/sdb/holders/md0/x", ""),
            ("sys/block/sdc/size", "4194304"),
            ("sys/block/sdc/dev", "8:32"),
            ("sys/block/sdc/sdc1/partition", "1"),
            ("sys/block/sdc/sdc1/size", "2048"),
            ("sys/block/sdc/sdc1/dev", "8:33"),
            ("sys/block/dm-0/size", "4194304"),
            ("sys/block/dm-0/dev", "254:0"),
            ("sys/block/dm-0/dm/name", "mpatha"),
            ("sys/block/dm-0/dm/uuid", "mpath-35000c500a1b2c3d4"),
            ("sys/block/zram0/size", "4194304"),
            ("sys/block/loop7/size", "0"),
            (
                "proc/self/mountinfo",
                "50 1 0:51 / /mnt/ost rw - lustre /dev/dm-0 rw\n51 1 8:33 / /boot rw - ext4 /dev/root rw\n",
            ),
            ("proc/swaps", "Filename Type Size Used Priority\n/dev/sdc partition 1 0 -2\n"),
        ] {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn found(root: &Sysroot, name: &str) -> Vec<Usage> {
        let devices = devices::list(root).unwrap();
        let mut device = devices.into_iter().find(|device| device.name == name).unwrap();
        // The tables of the pretended machine name devices by their real paths.
        device.path = Path::new("/dev").join(name);
        usages(root, &device).unwrap()
    }

    #[test]
    fn paths_raid_members_swap_and_lustre_mounts_are_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let root = pretend(dir.path());
        let mapper = root.dev.join("mapper/mpatha");
        assert_eq!(found(&root, "sda"), [Usage::MultipathPath { mapper }]);
        assert_eq!(found(&root, "sdb"), [Usage::Holder { name: "md0".into() }]);
        assert_eq!(found(&root, "sdc"), [Usage::Partitioned { names: vec!["sdc1".into()] }, Usage::Swap]);
        assert_eq!(found(&root, "sdc1"), [Usage::Mounted { mountpoint: "/boot".into(), fstype: "ext4".into() }]);
        // Lustre mounts under a number that is no device's.
        assert_eq!(found(&root, "dm-0"), [Usage::Mounted { mountpoint: "/mnt/ost".into(), fstype: "lustre".into() }]);
    }

    #[test]
    fn what_is_mounted_of_a_pool_is_told_from_what_is_only_called_alike() {
        let dir = tempfile::tempdir().unwrap();
        let root = pretend(dir.path());
        let lines = "50 1 0:51 / /mnt/ost rw - lustre tank/ost1 rw\n51 1 0:52 / /tank2 rw - zfs tank2 rw\n\
            52 1 0:53 / /home rw - zfs tank rw\n53 1 8:1 / /x rw - ext4 /dev/tank rw\n";
        fs::write(root.proc.join("self/mountinfo"), lines).unwrap();
        let expected = [("tank/ost1", "/mnt/ost"), ("tank", "/home")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(mounted_of_pool(&root, "tank").unwrap(), expected);
    }

    #[test]
    fn memory_disks_and_empty_loop_devices_are_no_devices_and_disks_say_who_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let devices = devices::list(&pretend(dir.path())).unwrap();
        assert_eq!(
            devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(),
            ["dm-0", "sda", "sdb", "sdc", "sdc1"]
        );
        let sda = &devices[1];
        assert_eq!((sda.size_bytes, sda.model.as_deref()), (2 << 30, Some("HUGE DISK")));
        assert_eq!(sda.wwn.as_deref(), Some("naa.5000c500a1b2c3d4"));
    }
}
