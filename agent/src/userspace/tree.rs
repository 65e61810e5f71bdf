//! What a userspace target has of tunables, in the tree form in which a kernel shows it: so that it is read back the same way.

use lustre_types::SvName;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Writes a target's tunables into the trees at `root`, those that its layers have.
///
/// Errors: a file that can't be written. Names with anything but letters, digits, `_` and `-` in a part are left out: they
/// come from the network, and name no file.
pub(super) fn expose(root: &Path, svname: &SvName, params: &BTreeMap<String, String>) -> io::Result<()> {
    for (key, value) in params {
        let Some(path) = path(svname, key) else { continue };
        let path = root.join("sys/fs/lustre").join(path);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, format!("{value}\n"))?;
    }
    Ok(())
}

/// Where a kernel shows what `conf_param` calls `key`; none for what it doesn't show.
fn path(svname: &SvName, key: &str) -> Option<PathBuf> {
    let (layer, name) = key.split_once('.')?;
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c));
    if !name.split('.').all(is_plain) {
        return None;
    }
    let name = name.replace('.', "/");
    let of = |tree: &str, device: String| Some(Path::new(tree).join(device).join(&name));
    match layer {
        "ost" => of("obdfilter", svname.to_string()),
        "mdt" | "mdd" => of(layer, svname.to_string()),
        "lod" | "lov" => of("lod", format!("{svname}-mdtlov")),
        "osd" => of("osd-ldiskfs", svname.to_string()),
        "sys" => Some(PathBuf::from(name)),
        "quota" if name == svname.kind().as_str() => {
            Some(Path::new("osd-ldiskfs").join(svname.to_string()).join("quota_slave/enabled"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunables_are_where_a_kernel_shows_them_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let params = [
            ("ost.brw_size", "4M"),
            ("sys.timeout", "40"),
            ("quota.ost", "ug"),
            ("quota.mdt", "u"),
            ("osd.read_cache_enable", "1"),
            ("ost.../../../../escape", "x"),
            ("ost.a/b", "x"),
            ("srpc.flavor.tcp", "null"),
        ];
        let params = params.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let root = dir.path().join("root");
        expose(&root, &"gold-OST0000".parse().unwrap(), &params).unwrap();
        let read = |path: &str| fs::read_to_string(root.join("sys/fs/lustre").join(path)).ok();
        assert_eq!(read("obdfilter/gold-OST0000/brw_size").as_deref(), Some("4M\n"));
        assert_eq!(read("timeout").as_deref(), Some("40\n"));
        assert_eq!(read("osd-ldiskfs/gold-OST0000/quota_slave/enabled").as_deref(), Some("ug\n"));
        assert_eq!(read("osd-ldiskfs/gold-OST0000/read_cache_enable").as_deref(), Some("1\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is written elsewhere");
        assert_eq!(fs::read_dir(root.join("sys/fs/lustre/obdfilter/gold-OST0000")).unwrap().count(), 1);
    }
}
