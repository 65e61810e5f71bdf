//! `zpool` and `zfs`: pools, datasets, and the properties in which a target on ZFS says what it is.
//!
//! Only what every implementation of the two programs takes: no `-p` but with `zfs get`, one property with a `zfs set`.
//! What an older one lacks is found out by its refusal.

use super::{Device, DeviceKind, Host, HostError, tool};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    process::Output,
    str::FromStr,
};
use thiserror::Error;

const PACKAGE: &str = "zfsutils-linux (zfs with RPM)";
/// The longest name of a dataset, bytes.
const NAME_MAX: usize = 255;
/// Words with which the name of a pool can't begin: `zpool create` has other uses for them.
const RESERVED: [&str; 4] = ["mirror", "raidz", "draid", "spare"];

/// A dataset, `pool/dataset`: what a target on ZFS has where others have the path of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset(String);

/// Why a name is none of a dataset.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("ZFS dataset {name:?}: {why}")]
pub struct DatasetError {
    name: String,
    why: &'static str,
}

impl FromStr for Dataset {
    type Err = DatasetError;

    /// Parses `pool/dataset`, also with further parts. Letters, digits and `_-.:` in each, no snapshot.
    fn from_str(name: &str) -> Result<Self, DatasetError> {
        let wrong = |why| Err(DatasetError { name: name.to_owned(), why });
        if name.len() > NAME_MAX {
            return wrong("is longer than 255 bytes");
        }
        let is_part = |part: &str| {
            let is_plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
            is_plain && part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        };
        let Some((pool, rest)) = name.split_once('/') else {
            return wrong("needs a pool and a dataset in it, as in tank/ost0");
        };
        if !is_part(pool) || !rest.split('/').all(is_part) {
            return wrong("has a part that is empty, or with other characters than letters, digits and _-.:");
        }
        if !pool.starts_with(|c: char| c.is_ascii_alphabetic())
            || RESERVED.iter().any(|word| pool.starts_with(word))
            || pool == "log"
        {
            return wrong("no pool can have that name");
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Dataset {
    /// Whether a device is meant to be a dataset: it is no path, and has parts.
    pub fn is_meant(device: &str) -> bool {
        !device.starts_with('/') && device.contains('/')
    }

    /// Its pool.
    pub fn pool(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// As a device, `size_bytes` large.
    pub fn device(&self, size_bytes: u64) -> Device {
        Device::plain(PathBuf::from(&self.0), &self.0, DeviceKind::Dataset, size_bytes)
    }
}

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

impl Host {
    /// The imported pools.
    pub fn pools(&self) -> Result<Vec<String>, HostError> {
        let output = self.zpool(&["list", "-H", "-o", "name"])?;
        if !output.status.success() {
            return Err(tool::failed("zpool", Path::new("this node"), &output));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Some say in words that there is none.
        Ok(text.lines().filter(|line| !line.is_empty() && !line.contains(' ')).map(str::to_owned).collect())
    }

    /// What a dataset says of itself; none where there is no such dataset or pool.
    pub fn properties(&self, dataset: &Dataset) -> Result<Option<Properties>, HostError> {
        let output = self.zfs(&["get", "-Hp", "-o", "property,value,source", "all", &dataset.0])?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let is_absent = said.contains("dataset does not exist") || said.contains("no such pool");
            return if is_absent { Ok(None) } else { Err(tool::failed("zfs", Path::new(&dataset.0), &output)) };
        }
        Properties::parse(&output.stdout).map(Some).map_err(|detail| HostError::ToolAnswer {
            tool: "zfs".to_owned(),
            device: PathBuf::from(&dataset.0),
            detail,
        })
    }

    /// Datasets with `property` set on themselves; none where ZFS isn't installed.
    pub fn datasets_with(&self, property: &str) -> Result<Vec<Dataset>, HostError> {
        let output = match self.zfs(&["get", "-H", "-o", "name,source", property]) {
            Err(HostError::ToolMissing { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
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
    /// uses them.
    pub fn create_pool(&self, pool: &str, vdevs: &[String], force: bool) -> Result<(), HostError> {
        let args = pool_arguments(pool, vdevs, force);
        done("zpool", Path::new(pool), &self.zpool(&args.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Makes a dataset that is never mounted as a plain file system, with these properties.
    pub fn create_dataset(&self, dataset: &Dataset, properties: &[(String, String)]) -> Result<(), HostError> {
        let args = dataset_arguments(dataset, properties);
        done("zfs", Path::new(&dataset.0), &self.zfs(&args.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Sets a property; on the medium when this returns.
    pub fn set_property(&self, dataset: &Dataset, name: &str, value: &str) -> Result<(), HostError> {
        done("zfs", Path::new(&dataset.0), &self.zfs(&["set", &format!("{name}={value}"), &dataset.0])?)
    }

    /// Sets a property of ZFS's own where the installed one knows it; whether it does.
    pub fn set_if_known(&self, dataset: &Dataset, name: &str, value: &str) -> Result<bool, HostError> {
        is_known(&dataset.0, &self.zfs(&["set", &format!("{name}={value}"), &dataset.0])?)
    }

    /// The same of a pool.
    pub fn set_pool_if_known(&self, pool: &str, name: &str, value: &str) -> Result<bool, HostError> {
        is_known(pool, &self.zpool(&["set", &format!("{name}={value}"), pool])?)
    }

    /// Removes what was set on the dataset itself.
    pub fn unset_property(&self, dataset: &Dataset, name: &str) -> Result<(), HostError> {
        done("zfs", Path::new(&dataset.0), &self.zfs(&["inherit", name, &dataset.0])?)
    }

    fn zfs(&self, args: &[&str]) -> Result<Output, HostError> {
        tool::run(&self.tools.zfs, PACKAGE, args)
    }

    fn zpool(&self, args: &[&str]) -> Result<Output, HostError> {
        tool::run(&self.tools.zpool, PACKAGE, args)
    }
}

/// The arguments of `zpool` that make a pool.
pub fn pool_arguments(pool: &str, vdevs: &[String], force: bool) -> Vec<String> {
    let mut args = vec!["create".to_owned()];
    args.extend(force.then(|| "-f".to_owned()));
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
    args.push(dataset.0.clone());
    args
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
    fn a_dataset_has_a_pool_and_plain_parts_and_a_path_is_none() {
        for good in ["tank/ost0", "ost-pool_1/a/b:c.d"] {
            assert_eq!(good.parse::<Dataset>().unwrap().to_string(), good);
        }
        assert_eq!("tank/a/b".parse::<Dataset>().unwrap().pool(), "tank");
        let long = format!("tank/{}", "x".repeat(300));
        for bad in [
            "tank",
            "tank/",
            "/dev/sda",
            "tank//a",
            "tank/../a",
            "tank/a@b",
            "tank/a b",
            "mirror1/a",
            "log/a",
            "1tank/a",
            "tank/-o",
            &long,
        ] {
            assert!(bad.parse::<Dataset>().is_err(), "{bad}");
        }
        assert!(Dataset::is_meant("tank/ost0") && !Dataset::is_meant("/dev/sda") && !Dataset::is_meant("sda"));
    }

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
