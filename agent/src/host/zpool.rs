//! Pools of ZFS that come and go: `zpool import` and `zpool export`, and by what ZFS tells one node from another.

use super::{Host, HostError, tool};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

/// How an import ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Import {
    /// The pool is imported.
    Done,
    /// No device of this node has a part of it.
    NoSuchPool,
    /// Another node has used it last and has not exported it.
    UsedElsewhere {
        /// The host id of that node, where `zpool` says it.
        hostid: Option<u32>,
        /// What `zpool` says.
        said: String,
    },
}

impl Host {
    /// Whether this node has imported a pool.
    pub fn has_pool(&self, pool: &str) -> Result<bool, HostError> {
        Ok(self.pools()?.iter().any(|found| found.name == pool))
    }

    /// The host id that ZFS writes into pools: the module's, else that of `/etc/hostid`. None where none is set.
    pub fn hostid(&self) -> Option<u32> {
        let of_module = fs::read_to_string(self.root.sys.join("module/spl/parameters/spl_hostid"));
        let of_module = of_module.ok().and_then(|text| text.trim().parse::<u32>().ok()).filter(|id| *id != 0);
        let of_file = || fs::read(self.root.etc.join("hostid")).ok().and_then(|bytes| bytes.first_chunk().copied());
        of_module.or_else(|| of_file().map(u32::from_ne_bytes)).filter(|id| *id != 0)
    }

    /// Imports a pool without mounting anything of it, and not to be imported again when the node starts: another node may
    /// have it by then. `force` takes it although another node has used it last; one that ZFS sees in use is refused even
    /// so.
    ///
    /// Looked for where ZFS itself looks, then among image files, where those may be devices.
    pub fn import_pool(&self, pool: &str, force: bool) -> Result<Import, HostError> {
        let mut places = vec![None];
        places.extend(self.root.image_dirs.iter().map(Some));
        for place in places {
            let output = self.import_from(pool, place, force)?;
            match outcome(&output) {
                Some(Import::NoSuchPool) => {}
                Some(end) => return Ok(end),
                None => return Err(tool::failed(&self.tools.zpool, Path::new(pool), &output)),
            }
        }
        Ok(Import::NoSuchPool)
    }

    fn import_from(&self, pool: &str, place: Option<&PathBuf>, force: bool) -> Result<Output, HostError> {
        let place = place.map(|dir| dir.to_string_lossy().into_owned());
        let import = |without_mounts: bool| {
            let mut args = vec!["import"];
            args.extend(without_mounts.then_some("-N"));
            args.extend(force.then_some("-f"));
            args.extend(["-o", "cachefile=none"]);
            args.extend(place.iter().flat_map(|dir| ["-d", dir]));
            args.push(pool);
            self.zpool(&args)
        };
        let output = import(true)?;
        // zfs-fuse has no such option, and mounts what is to be mounted: targets never are.
        let is_unknown = String::from_utf8_lossy(&output.stderr).contains("invalid option 'N'");
        if is_unknown { import(false) } else { Ok(output) }
    }

    /// Exports a pool; whether that was possible: false while somebody on this node uses it. Errors: anything else.
    pub fn export_pool(&self, pool: &str) -> Result<bool, HostError> {
        let output = self.zpool(&["export", pool])?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.success() || said.contains("no such pool") {
            true => Ok(true),
            false if said.contains("busy") => Ok(false),
            false => Err(tool::failed(&self.tools.zpool, Path::new(pool), &output)),
        }
    }
}

/// What `zpool import` means; none where it is something that only a person can judge.
fn outcome(output: &Output) -> Option<Import> {
    if output.status.success() {
        return Some(Import::Done);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // "may be in use from other system" of zfs-fuse and the first OpenZFS, then "previously in use", "imported on".
    if ["in use from", "last accessed by", "is imported on"].iter().any(|words| said.contains(words)) {
        return Some(Import::UsedElsewhere { hostid: hostid_in(&said), said: tool::complaint(&output.stderr) });
    }
    said.contains("no such pool available").then_some(Import::NoSuchPool)
}

/// The host id in a refusal: `(hostid: 0xa01)` or `(hostid=a01)`.
fn hostid_in(said: &str) -> Option<u32> {
    let behind = &said[said.find("hostid")? + "hostid".len()..];
    let digits = behind.trim_start_matches([':', '=', ' ']);
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u32::from_str_radix(&digits[..end], 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Sysroot, Tools};
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    fn refusal(said: &str) -> Option<Import> {
        outcome(&Output { status: ExitStatus::from_raw(256), stdout: Vec::new(), stderr: said.into() })
    }

    #[test]
    fn a_pool_of_another_node_is_told_from_one_that_is_not_there() {
        // The first is recorded from zfs-fuse 0.7.0; the others are as zpool-import(8) of OpenZFS 2.1 shows them.
        for (said, hostid) in [
            (
                "cannot import 'tk': pool may be in use from other system, it was last accessed by vm (hostid: 0xa01) on \
                 Tue Nov 24 01:53:47 2026\nuse '-f' to import anyway\n",
                Some(0xa01),
            ),
            (
                "cannot import 'tk': pool was previously in use from another system.\nLast accessed by oss1 \
                 (hostid=7f0100ff) at Tue Nov 24 01:53:47 2026\nThe pool can be imported, use 'zpool import -f' to import \
                 the pool.\n",
                Some(0x7f01_00ff),
            ),
            (
                "cannot import 'tk': pool is imported on oss1 (hostid: 0xa01)\nExport the pool on the other system, then \
                 run 'zpool import'.\n",
                Some(0xa01),
            ),
            ("cannot import 'tk': pool was previously in use from another system.\n", None),
        ] {
            let Some(Import::UsedElsewhere { hostid: found, said: told }) = refusal(said) else { panic!("{said}") };
            assert_eq!(found, hostid, "{said}");
            assert!(told.starts_with("cannot import 'tk'"));
        }
        assert_eq!(refusal("cannot import 'nope': no such pool available\n"), Some(Import::NoSuchPool));
        assert_eq!(refusal("cannot import 'ss': one or more devices is currently unavailable\n"), None);
        assert_eq!(hostid_in("(hostid: 0xfffffffff)"), None);
        assert_eq!(hostid_in("hostid"), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_zpool_says_is_read_without_a_panic(said in "(in use from|hostid|[:=( ]|0x|[0-9a-f]{0,12}|\\PC){0,8}") {
            refusal(&said);
            hostid_in(&said);
        }
    }

    #[test]
    fn the_host_id_is_the_modules_and_else_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = Sysroot { sys: dir.path().join("sys"), etc: dir.path().join("etc"), ..Sysroot::default() };
        let host = Host::new(root, Tools::from_dir(None));
        assert_eq!(host.hostid(), None);
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        for (bytes, expected) in [(vec![1, 2], None), (vec![0; 4], None), (0xa01_u32.to_ne_bytes().into(), Some(0xa01))]
        {
            fs::write(dir.path().join("etc/hostid"), bytes).unwrap();
            assert_eq!(host.hostid(), expected);
        }
        let parameters = dir.path().join("sys/module/spl/parameters");
        fs::create_dir_all(&parameters).unwrap();
        for (text, expected) in [("0\n", 0xa01), ("2817\n", 0xb01)] {
            fs::write(parameters.join("spl_hostid"), text).unwrap();
            assert_eq!(host.hostid(), Some(expected));
        }
    }
}
