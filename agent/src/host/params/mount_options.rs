//! Options that Lustre is mounted with and that set a tunable.

use lustre_api::node_param::MountOption;

/// Options, the tunable that each sets, and the value. Source: mount.lustre(8); for `dynamic_nids` the tunables specification.
const OPTIONS: [(&str, &str, &str); 7] = [
    ("checksum", "llite.FS-*.checksums", "1"),
    ("nochecksum", "llite.FS-*.checksums", "0"),
    ("lazystatfs", "llite.FS-*.lazystatfs", "1"),
    ("nolazystatfs", "llite.FS-*.lazystatfs", "0"),
    ("statfs_project", "llite.FS-*.statfs_project", "1"),
    ("nostatfs_project", "llite.FS-*.statfs_project", "0"),
    ("dynamic_nids", "mgc.*.dynamic_nids", "1"),
];

/// The options in `/proc/self/mountinfo` of mounted Lustre clients; what can't be read says nothing.
pub fn mount_options(mountinfo: &str) -> Vec<MountOption> {
    mountinfo.lines().filter_map(of_line).flatten().collect()
}

fn of_line(line: &str) -> Option<Vec<MountOption>> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(4);
    let (mountpoint, own) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (fstype, source, options) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    // `10.0.0.1@tcp:/scratch`; below it a directory that is mounted alone. A server's source is its device.
    let fsname = source.rsplit_once(":/")?.1.split('/').next()?;
    if fstype != "lustre" || fsname.is_empty() {
        return None;
    }
    let given = own.split(',').chain(options.split(','));
    let known = given.filter_map(|given| OPTIONS.iter().find(|(option, ..)| *option == given));
    let option = |(option, name, value): &(&str, &str, &str)| MountOption {
        mountpoint: mountpoint.to_owned(),
        option: (*option).to_owned(),
        name: name.replace("FS", fsname),
        value: (*value).to_owned(),
    };
    Some(known.map(option).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_clients_are_the_tunables_that_they_set() {
        let text = "36 35 0:50 / /mnt/scratch rw,relatime shared:1 - lustre 10.0.0.1@tcp:/scratch rw,nochecksum,flock,lazystatfs\n\
                    37 35 0:51 / /mnt/ost0 ro - lustre /dev/sdb ro,nochecksum\n\
                    38 35 0:52 / /home rw - ext4 /dev/sda1 rw,nochecksum\n\
                    39 35 0:53 / /mnt/part rw - lustre 10.0.0.1@tcp:/home/users rw,checksum,dynamic_nids\nrubbish - x\n";
        let found = mount_options(text);
        let shown: Vec<_> =
            found.iter().map(|one| (one.mountpoint.as_str(), one.name.as_str(), one.value.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("/mnt/scratch", "llite.scratch-*.checksums", "0"),
                ("/mnt/scratch", "llite.scratch-*.lazystatfs", "1"),
                ("/mnt/part", "llite.home-*.checksums", "1"),
                ("/mnt/part", "mgc.*.dynamic_nids", "1"),
            ]
        );
    }
}
