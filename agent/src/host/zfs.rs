//! `zpool` and `zfs`: pools, datasets, and the properties in which a target on ZFS says what it is.
//!
//! Only what every implementation of the two programs takes: no `-p` but with `zfs get`, one property with a `zfs set`.
//! What an older one lacks is found out by its refusal.

use super::{Device, DeviceKind, Host, HostError, chain, tool};
use lustre_api::agent::{ZfsPool, ZfsState};
use lustre_types::Dataset;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
};

const PACKAGE: &str = "zfsutils-linux (zfs with RPM)";
/// What a dataset says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Set on the dataset itself; what it has from above is not its own.
    pub own: BTreeMap<String, String>,
    /// ZFS's own statistics and settings, wherever they come from.
    pub native: BTreeMap<String, String>,
}

impl Properties {
    /// Reads what `zfs get -Hp -o property,value,source all` answers. Errors: in words, which line is none.
    pub fn parse(answer: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(answer).map_err(|_| "no UTF-8".to_owned())?;
        let mut properties = Self::default();
        for line in text.lines() {
            // The value may hold anything but a line break.
            let fields = line.split_once('\t').and_then(|(name, rest)| Some((name, rest.rsplit_once('\t')?)));
            let Some((name, (value, source))) = fields else { return Err(format!("{line:?} is no property")) };
            let is_own = matches!(source, "local" | "received");
            if is_own {
                properties.own.insert(name.to_owned(), value.to_owned());
            }
            // A user property has a colon in its name.
            if !name.contains(':') {
                properties.native.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(properties)
    }

    /// Bytes that are in it or can be.
    pub fn size_bytes(&self) -> u64 {
        let bytes = |name: &str| self.native.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        bytes("used").saturating_add(bytes("available"))
    }

    /// Whether it is a file system, not a volume or a snapshot.
    pub fn is_filesystem(&self) -> bool {
        self.native.get("type").is_some_and(|kind| kind == "filesystem")
    }
}

impl Device {
    /// A dataset as a device, `size_bytes` large.
    pub fn of_dataset(dataset: &Dataset, size_bytes: u64) -> Self {
        Self::plain(PathBuf::from(dataset.as_str()), dataset.as_str(), DeviceKind::Dataset, size_bytes)
    }
}

impl Host {
    /// The imported pools, by name.
    pub fn pools(&self) -> Result<Vec<ZfsPool>, HostError> {
        let output = self.zpool(&["list", "-H", "-o", "name,health"])?;
        if !output.status.success() {
            return Err(tool::failed("zpool", Path::new("this node"), &output));
        }
        // Some say in words that there is none.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pools = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pools.map(|(name, health)| ZfsPool { name: name.to_owned(), health: health.to_owned() }).collect())
    }

    /// What this node has of ZFS; none where it isn't installed.
    pub fn zfs_state(&self) -> Option<ZfsState> {
        match self.pools() {
            Ok(pools) => Some(ZfsState { pools, problem: None }),
            Err(error) if is_not_installed(&error) => None,
            Err(error) => Some(ZfsState { pools: Vec::new(), problem: Some(chain(&error)) }),
        }
    }

    /// Every dataset below a pool that could hold a target, or is in its place: file systems and volumes. None where ZFS
    /// isn't installed.
    pub fn datasets(&self) -> Result<Vec<Dataset>, HostError> {
        let output = match self.zfs(&["list", "-H", "-o", "name", "-t", "filesystem,volume"]) {
            Err(error) if is_not_installed(&error) => return Ok(Vec::new()),
            output => output?,
        };
        if !output.status.success() {
            return Err(tool::failed("zfs", Path::new("this node"), &output));
        }
        // The pools themselves are none, nor are the words that some say where there is none.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|name| name.parse().ok()).collect())
    }

    /// What a dataset says of itself; none where there is no such dataset or pool.
    pub fn properties(&self, dataset: &Dataset) -> Result<Option<Properties>, HostError> {
        let output = self.zfs(&["get", "-Hp", "-o", "property,value,source", "all", dataset.as_str()])?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let is_absent = said.contains("dataset does not exist") || said.contains("no such pool");
            return if is_absent { Ok(None) } else { Err(tool::failed("zfs", Path::new(dataset.as_str()), &output)) };
        }
        Properties::parse(&output.stdout).map(Some).map_err(|detail| HostError::ToolAnswer {
            tool: "zfs".to_owned(),
            device: PathBuf::from(dataset.as_str()),
            detail,
        })
    }

    /// Datasets with `property` set on themselves; none where ZFS isn't installed.
    pub fn datasets_with(&self, property: &str) -> Result<Vec<Dataset>, HostError> {
        let output = match self.zfs(&["get", "-H", "-o", "name,source", property]) {
            Err(error) if is_not_installed(&error) => return Ok(Vec::new()),
            output => output?,
        };
        if !output.status.success() {
            return Err(tool::failed("zfs", Path::new("this node"), &output));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let own = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(_, source)| matches!(*source, "local" | "received"));
        Ok(own.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    /// Makes a pool of `vdevs`, in the words of zpool-create(8). Without `force`, `zpool` looks for itself whether somebody
    /// uses them. A pool that is `shared` with other nodes is not imported again when this node starts.
    pub fn create_pool(&self, pool: &str, vdevs: &[String], force: bool, shared: bool) -> Result<(), HostError> {
        let args = pool_arguments(pool, vdevs, force, shared);
        done("zpool", Path::new(pool), &self.zpool(&args.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Makes a dataset that is never mounted as a plain file system, with these properties.
    pub fn create_dataset(&self, dataset: &Dataset, properties: &[(String, String)]) -> Result<(), HostError> {
        let args = dataset_arguments(dataset, properties);
        done("zfs", Path::new(dataset.as_str()), &self.zfs(&args.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Sets a property; on the medium when this returns.
    pub fn set_property(&self, dataset: &Dataset, name: &str, value: &str) -> Result<(), HostError> {
        done("zfs", Path::new(dataset.as_str()), &self.zfs(&["set", &format!("{name}={value}"), dataset.as_str()])?)
    }

    /// Sets a property of ZFS's own where the installed one knows it; whether it does.
    pub fn set_if_known(&self, dataset: &Dataset, name: &str, value: &str) -> Result<bool, HostError> {
        is_known(dataset.as_str(), &self.zfs(&["set", &format!("{name}={value}"), dataset.as_str()])?)
    }

    /// The same of a pool.
    pub fn set_pool_if_known(&self, pool: &str, name: &str, value: &str) -> Result<bool, HostError> {
        is_known(pool, &self.zpool(&["set", &format!("{name}={value}"), pool])?)
    }

    /// Removes what was set on the dataset itself.
    pub fn unset_property(&self, dataset: &Dataset, name: &str) -> Result<(), HostError> {
        done("zfs", Path::new(dataset.as_str()), &self.zfs(&["inherit", name, dataset.as_str()])?)
    }

    fn zfs(&self, args: &[&str]) -> Result<Output, HostError> {
        tool::run(&self.tools.zfs, PACKAGE, args)
    }

    pub(super) fn zpool(&self, args: &[&str]) -> Result<Output, HostError> {
        tool::run(&self.tools.zpool, PACKAGE, args)
    }
}

/// The arguments of `zpool` that make a pool.
fn pool_arguments(pool: &str, vdevs: &[String], force: bool, shared: bool) -> Vec<String> {
    let mut args = vec!["create".to_owned()];
    args.extend(force.then(|| "-f".to_owned()));
    args.extend(["-o", "cachefile=none"].into_iter().filter(|_| shared).map(str::to_owned));
    args.extend(["-O", "canmount=off", pool].map(str::to_owned));
    args.extend(vdevs.iter().cloned());
    args
}

/// The arguments of `zfs` that make a dataset.
pub fn dataset_arguments(dataset: &Dataset, properties: &[(String, String)]) -> Vec<String> {
    let mut args = ["create", "-o", "canmount=off"].map(str::to_owned).to_vec();
    for (name, value) in properties {
        args.extend(["-o".to_owned(), format!("{name}={value}")]);
    }
    args.push(dataset.to_string());
    args
}

fn is_not_installed(error: &HostError) -> bool {
    matches!(error, HostError::ToolMissing { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn done(tool: &str, on: &Path, output: &Output) -> Result<(), HostError> {
    if output.status.success() { Ok(()) } else { Err(tool::failed(tool, on, output)) }
}

/// Tells "there is no such property, or value of it" from everything else that can go wrong.
fn is_known(on: &str, output: &Output) -> Result<bool, HostError> {
    if output.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if ["invalid property", "must be", "not supported", "must be upgraded"].iter().any(|words| said.contains(words)) {
        return Ok(false);
    }
    Err(tool::failed("zfs", Path::new(on), output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_on_a_dataset_is_told_from_what_it_has_from_above() {
        let answer = b"type\tfilesystem\t-\nused\t114688\t-\navailable\t494391296\t-\ncanmount\toff\tlocal\n\
            lustre:version\t1\tlocal\nlustre:userdata\ta\tb\treceived\nlustre:svname\tgold:OST0001\tinherited from tank\n";
        let properties = Properties::parse(answer).unwrap();
        assert_eq!(properties.own["lustre:version"], "1");
        assert_eq!(properties.own["lustre:userdata"], "a\tb");
        assert!(!properties.own.contains_key("lustre:svname"));
        assert!(properties.is_filesystem());
        assert_eq!(properties.size_bytes(), 494_505_984);
        for bad in [&b"type filesystem -\n"[..], b"\xff\t\t\n", b"one\ttwo\n"] {
            assert!(Properties::parse(bad).is_err());
        }
        assert_eq!(Properties::parse(b"").unwrap(), Properties::default());
    }
}
