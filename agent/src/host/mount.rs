//! Starting and stopping a target through the kernel: `mount -t lustre` and `umount`.

use super::{Device, Host, HostError, Usage, tool};
use lustre_wire::mountdata::{Flags, Label, LabelState, MountType, Mountdata, Params, ParamsError};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use std::{fs, path::Path};

/// Where Lustre's own mount program is.
const HELPERS: [&str; 2] = ["/sbin/mount.lustre", "/usr/sbin/mount.lustre"];

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

    /// Mounts a target with the kernel's Lustre. Blocks for as long as the target needs to register and recover.
    ///
    /// By `mount.lustre` where it is installed: it knows its release's options and brings label and mountdata up to date.
    /// Else by the system call, with our own options; then the label is set here, as nobody else would, and a target whose
    /// label still said "never registered" would be refused by its MGS the next time.
    pub fn mount_target(
        &self,
        device: &Device,
        mountpoint: &Path,
        label: &Label,
        options: &str,
    ) -> Result<(), HostError> {
        fs::create_dir_all(mountpoint).map_err(HostError::io("create", mountpoint))?;
        if HELPERS.iter().any(|helper| Path::new(helper).exists()) {
            let args = ["-t".as_ref(), "lustre".as_ref(), device.path.as_os_str(), mountpoint.as_os_str()];
            let output = tool::run("mount", "mount", args)?;
            return if output.status.success() { Ok(()) } else { Err(tool::failed("mount", &device.path, &output)) };
        }
        self.mount_directly(device, mountpoint, options)?;
        match label.state() {
            None | Some(LabelState::Registered) => Ok(()),
            Some(_) => {
                let registered = Label::with_state(label.svname(), LabelState::Registered).to_string();
                match device.dataset() {
                    Some(dataset) => self.set_property(&dataset, "lustre:svname", &registered),
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
