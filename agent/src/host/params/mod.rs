//! The node's tunables, read and set through the kernel's file trees as `lctl` does.
//!
//! A name is a path below one of the trees with dots for slashes: `osc.X.max_dirty_mb` is `osc/X/max_dirty_mb` in
//! `/sys/fs/lustre`, `/sys/kernel/debug/lustre`, `/proc/fs/lustre` or one of LNet's. Where those trees are is up to
//! [`Sysroot`](super::Sysroot), so that tests, and a target that runs in userspace, have trees of their own.

mod file;
mod mount_options;
mod tree;

pub use file::files;
pub use mount_options::mount_options;
pub use tree::{Found, MAX_FOUND};

use super::Host;
use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The most of a value that is read, bytes: some statistics are longer than anybody wants to see here.
const MAX_VALUE: u64 = 1 << 20;

/// A tunable that does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ParamError {
    /// It is there, and can't be read.
    #[error("can't be read: {}", plain(.0))]
    Read(io::Error),
    /// The node refused the value.
    #[error("the node refuses the value: {}", plain(.0))]
    Refused(io::Error),
    /// It can only be read.
    #[error("can only be read")]
    ReadOnly,
}

/// The system's answer without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl Host {
    /// Where the trees are, in the order in which `lctl` looks.
    fn param_trees(&self) -> Vec<PathBuf> {
        let (sys, proc) = (self.root.param_root.join("sys"), self.root.param_root.join("proc"));
        vec![
            sys.join("fs/lustre"),
            sys.join("kernel/debug/lustre"),
            proc.join("fs/lustre"),
            sys.join("fs/lnet"),
            sys.join("kernel/debug/lnet"),
            proc.join("sys/lnet"),
            proc.join("sys/lustre"),
        ]
    }

    /// The tunables that a name or pattern stands for, by name; with `recursive` also all below.
    pub fn params(&self, pattern: &str, recursive: bool) -> Vec<Found> {
        let mut found = Vec::new();
        for tree in self.param_trees() {
            tree::find(&tree, pattern, recursive, &mut found);
        }
        // The same name in two trees is one tunable: the first is the one that lctl sets.
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|later, first| later.name == first.name);
        found
    }
}

/// What a node prints, without the last line break. Errors: [`ParamError::Read`].
pub fn read(path: &Path) -> Result<String, ParamError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(ParamError::Read)?;
    file.take(MAX_VALUE).read_to_end(&mut bytes).map_err(ParamError::Read)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.strip_suffix('\n').map_or(text.len(), str::len));
    Ok(text)
}

/// Sets a tunable. Errors: it is read-only; the node refuses the value.
pub fn set(found: &Found, value: &str) -> Result<(), ParamError> {
    if !found.is_writable {
        return Err(ParamError::ReadOnly);
    }
    // The kernel's files are no longer or shorter for it; files of a tree in a directory are.
    let mut file = OpenOptions::new().write(true).truncate(true).open(&found.path).map_err(ParamError::Refused)?;
    file.write_all(value.as_bytes()).map_err(ParamError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Sysroot, Tools};

    /// A tree as a listing of `lctl list_param -RF` describes it.
    fn tree_of(listing: &str) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("sys/fs/lustre");
        fs::create_dir_all(&root).unwrap();
        let mut dirs = std::collections::HashMap::from([(String::new(), root)]);
        for line in listing.lines().filter(|line| !line.starts_with('#')) {
            let name = line.trim_end_matches(['/', '=']);
            // The longest directory that the name begins with: names of devices may have dots.
            let cuts = name.match_indices('.').map(|(at, _)| at).rev();
            let (parent, own) = cuts
                .map(|at| (&name[..at], &name[at + 1..]))
                .find(|(parent, _)| dirs.contains_key(*parent))
                .unwrap_or(("", name));
            let path = dirs[parent].join(own);
            if line.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
                dirs.insert(name.to_owned(), path);
            } else {
                use std::os::unix::fs::PermissionsExt;
                fs::write(&path, "0\n").unwrap();
                let mode = if line.ends_with('=') { 0o644 } else { 0o444 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let root = Sysroot { param_root: dir.path().to_owned(), ..Sysroot::default() };
        (dir, Host::new(root, Tools::from_dir(None)))
    }

    const CLIENT: &str = include_str!("../../../testdata/params/client.list");
    const SERVER: &str = include_str!("../../../testdata/params/server.list");

    #[test]
    fn recorded_listings_of_real_nodes_come_back_name_by_name() {
        for listing in [CLIENT, SERVER] {
            let (_dir, host) = tree_of(listing);
            let found = host.params("*", true);
            let mark = |found: &Found| match (found.is_dir, found.is_writable) {
                (true, _) => format!("{}/", found.name),
                (false, true) => format!("{}=", found.name),
                (false, false) => found.name.clone(),
            };
            let mut listed: Vec<String> = found.iter().map(mark).collect();
            let mut wanted: Vec<&str> = listing.lines().filter(|line| !line.starts_with('#')).collect();
            listed.sort();
            wanted.sort_unstable();
            assert_eq!(listed, wanted);
        }
    }

    #[test]
    fn patterns_find_what_lctl_finds() {
        let (_dir, host) = tree_of(CLIENT);
        let names = |pattern: &str| host.params(pattern, false).into_iter().map(|found| found.name).collect::<Vec<_>>();
        assert_eq!(names("timeout"), ["timeout"]);
        assert_eq!(names("osc.*.max_dirty_mb").len(), 2);
        assert_eq!(names("osc.gold-OST0001*.max_dirty_mb").len(), 1);
        // Dots within a device's name, given and covered by a star.
        assert_eq!(names("mgc.*.at_min"), ["mgc.MGC10.9.0.1@tcp.at_min"]);
        assert_eq!(names("mgc.MGC10.9.0.1@tcp.at_min"), ["mgc.MGC10.9.0.1@tcp.at_min"]);
        assert_eq!(names("mgc.MGC10.9.*.at_min"), ["mgc.MGC10.9.0.1@tcp.at_min"]);
        assert_eq!(names("osc/*/max_dirty_mb").len(), 2);
        for nothing in ["", "osc.*.nothing", "..", "../../etc/passwd", "osc.*.max_dirty_mb.more", "/etc/passwd"] {
            assert!(names(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn a_value_is_set_and_read_back_and_refusals_have_reasons() {
        let (dir, host) = tree_of(CLIENT);
        let one = |pattern: &str| host.params(pattern, false).into_iter().next().unwrap();
        let timeout = one("timeout");
        set(&timeout, "40").unwrap();
        assert_eq!(read(&timeout.path).unwrap(), "40");
        set(&timeout, "5").unwrap();
        assert_eq!(read(&timeout.path).unwrap(), "5", "a shorter value leaves nothing of the one before");
        assert!(matches!(set(&one("version"), "1"), Err(ParamError::ReadOnly)));
        // What the kernel says to a value that it doesn't take.
        let full = Found { path: "/dev/full".into(), name: "full".into(), is_dir: false, is_writable: true };
        let refused = set(&full, "1").unwrap_err().to_string();
        assert_eq!(refused, "the node refuses the value: no space left on device");
        drop(dir);
        assert_eq!(read(&timeout.path).unwrap_err().to_string(), "can't be read: no such file or directory");
    }
}
