//! Starting and stopping a target through the kernel: `mount -t lustre` and `umount`.

use super::{Device, Host, HostError, Sysroot, Tools, Usage, chain, tool};
use lustre_wire::mountdata::{Flags, Label, LabelState, MountType, Mountdata, Params, ParamsError};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use std::{ffi::OsString, fs, path::Path, process::ExitCode};

/// Where Lustre's own mount program is.
const HELPERS: [&str; 2] = ["/sbin/mount.lustre", "/usr/sbin/mount.lustre"];

/// The first argument of this program where it is to mount a target and nothing else.
const MOUNT_AS_TOLD: &str = "mount-as-told";

/// Options for the kernel as `mount.lustre` builds them from what is on the disk.
///
/// Order: stored mount options, `osd=`, `mgs` or `mgsnode=`, states, one `param=` per stored parameter but `mgsnode`,
/// `svname=` last. Errors: the stored parameters can't be read. Source: mountdata specification, section 5.
pub fn kernel_options(label: &Label, file: &Mountdata) -> Result<String, ParamsError> {
    let params = Params::parse(&file.params.to_string_lossy())?;
    let mut options: Vec<String> = file
        .mount_opts
        .to_string_lossy()
        .split(',')
        // 2.9 and 2.10 stored a leading comma.
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    options.push(if file.mount_type == MountType::ZFS { "osd=osd-zfs" } else { "osd=osd-ldiskfs" }.to_owned());
    if file.flags.contains(Flags::MGS) {
        options.push("mgs".to_owned());
    }
    let nodes: Vec<&str> = params.values("mgsnode").collect();
    if !nodes.is_empty() {
        options.push(format!("mgsnode={}", nodes.join(":")));
    }
    match label.state() {
        Some(LabelState::Virgin) => options.push("virgin".to_owned()),
        Some(LabelState::Writeconf) => options.push("writeconf".to_owned()),
        Some(LabelState::NoLocalLogs) => options.push("nolocallogs".to_owned()),
        Some(LabelState::Registered) | None => {}
    }
    if file.flags.contains(Flags::UPDATE) {
        options.push("update".to_owned());
    }
    if file.flags.contains(Flags::NO_PRIMNODE) {
        options.push("noprimnode".to_owned());
    }
    options.extend(
        params
            .0
            .iter()
            .filter(|entry| entry.key != "mgsnode")
            .map(|entry| format!("param={}={}", entry.key, entry.value)),
    );
    options.push(format!("svname={}", label.svname()));
    Ok(options.join(","))
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountCommand {
    /// These.
    pub words: Vec<OsString>,
}

/// Mounts what the arguments of this process say, where they are those of a [`MountCommand`] of its own; else none.
///
/// A system call that hangs must not hang the agent, nor keep the next one from its journal: so a process does it of which
/// nothing else depends.
pub fn mount_as_told(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    args.next().filter(|word| word == MOUNT_AS_TOLD)?;
    let words: Vec<String> = args.map(|word| word.to_string_lossy().into_owned()).collect();
    let [device, mountpoint, label, options, tune2fs] = words.as_slice() else {
        eprintln!("{MOUNT_AS_TOLD} is for this program's own use; mount targets by mount -t lustre");
        return Some(ExitCode::from(2));
    };
    let tools = Tools { tune2fs: tune2fs.clone(), ..Tools::from_dir(None) };
    let host = Host::new(Sysroot::default(), tools);
    let mounted = || -> Result<(), String> {
        let label = label.parse::<Label>().map_err(|error| chain(&error))?;
        let device = host.device(Path::new(device)).map_err(|error| chain(&error))?;
        host.mount_target(&device, Path::new(mountpoint), &label, options).map_err(|error| chain(&error))
    };
    Some(match mounted() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(32)
        }
    })
}

impl Host {
    /// Where a device is mounted, as a target or as anything else.
    pub fn mountpoints(&self, device: &Device) -> Result<Vec<String>, HostError> {
        let usages = self.usages(device)?;
        Ok(usages
            .into_iter()
            .filter_map(|usage| match usage {
                Usage::Mounted { mountpoint, .. } => Some(mountpoint),
                _ => None,
            })
            .collect())
    }

    /// What mounts a target with the kernel's Lustre, and takes as long as the target needs to register and recover.
    ///
    /// `mount.lustre` where it is installed: it knows its release's options and brings label and mountdata up to date. Else
    /// this program itself ([`mount_as_told`]). Errors: there can be no such directory.
    pub fn mount_command(
        &self,
        device: &Device,
        mountpoint: &Path,
        label: &Label,
        options: &str,
    ) -> Result<MountCommand, HostError> {
        fs::create_dir_all(mountpoint).map_err(HostError::io("create", mountpoint))?;
        let has_helper =
            HELPERS.iter().any(|helper| Path::new(helper).exists()) || tool::fingerprint("mount.lustre").is_some();
        let (device, mountpoint) = (device.path.clone().into_os_string(), mountpoint.as_os_str().to_owned());
        let words = if has_helper {
            vec!["mount".into(), "-t".into(), "lustre".into(), device, mountpoint]
        } else {
            let label = label.to_string().into();
            vec![
                self.tools.own.clone().into(),
                MOUNT_AS_TOLD.into(),
                device,
                mountpoint,
                label,
                options.into(),
                self.tools.tune2fs.clone().into(),
            ]
        };
        Ok(MountCommand { words })
    }

    /// By the system call, with our own options; then the label is set here, as nobody else would, and a target whose
    /// label still said "never registered" would be refused by its MGS the next time.
    fn mount_target(&self, device: &Device, mountpoint: &Path, label: &Label, options: &str) -> Result<(), HostError> {
        self.mount_directly(device, mountpoint, options)?;
        match label.state() {
            None | Some(LabelState::Registered) => Ok(()),
            Some(_) => {
                let registered = Label::with_state(label.svname(), LabelState::Registered).to_string();
                match device.dataset() {
                    Some(dataset) => self.set_property(&dataset, crate::observe::zfs::SVNAME, &registered),
                    None => self.set_label(device, None, &registered),
                }
            }
        }
    }

    fn mount_directly(&self, device: &Device, mountpoint: &Path, options: &str) -> Result<(), HostError> {
        // Servers are their own file system type since 2.16; before, one type had both.
        let try_as = |fstype| mount(Some(&device.path), mountpoint, Some(fstype), MsFlags::empty(), Some(options));
        let result = match try_as("lustre_tgt") {
            Err(Errno::ENODEV) => try_as("lustre"),
            other => other,
        };
        result.map_err(|errno| HostError::io("mount", &device.path)(errno.into()))
    }

    /// Unmounts. Blocks until the last user has let go, or for ever.
    pub fn unmount(&self, mountpoint: &Path, flags: MntFlags) -> Result<(), HostError> {
        match umount2(mountpoint, flags) {
            // Not mounted (any more): that is what was wanted.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => Err(HostError::io("unmount", mountpoint)(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::mountdata::{Failover, Mkfs};

    #[test]
    fn options_for_the_kernel_are_those_of_mount_lustre() {
        let nids = |text: &str| text.parse().unwrap();
        let mut mkfs = Mkfs::new("gold-OST0006".parse().unwrap(), Some(nids("10.9.0.1@tcp")));
        mkfs.failover = Some(Failover::ServiceNode(nids("10.9.0.2@tcp:10.9.0.3@tcp")));
        mkfs.params.push("sys.timeout", "40");
        let file = mkfs.mountdata().unwrap();
        assert_eq!(
            kernel_options(&mkfs.label(), &file).unwrap(),
            "errors=remount-ro,osd=osd-ldiskfs,mgsnode=10.9.0.1@tcp,virgin,update,noprimnode,\
             param=failover.node=10.9.0.2@tcp:10.9.0.3@tcp,param=sys.timeout=40,svname=gold-OST0006"
        );
        let registered = "gold-OST0006".parse::<Label>().unwrap();
        assert!(!kernel_options(&registered, &file).unwrap().contains("virgin"));
        let mgs = Mkfs::new(lustre_types::SvName::mgs(), None);
        assert_eq!(
            kernel_options(&mgs.label(), &mgs.mountdata().unwrap()).unwrap(),
            "user_xattr,errors=remount-ro,osd=osd-ldiskfs,mgs,update,svname=MGS"
        );
    }
}
