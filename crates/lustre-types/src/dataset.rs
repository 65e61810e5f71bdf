use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name of a dataset, bytes. Source: zfs(8).
const NAME_MAX: usize = 255;
/// Words with which the name of a pool can't begin: `zpool create` has other uses for them. Source: zpool-create(8).
const RESERVED: [&str; 4] = ["mirror", "raidz", "draid", "spare"];
/// Words of zpool-create(8) that stand between devices.
const VDEV_WORDS: [&str; 7] = ["mirror", "raidz", "spare", "log", "cache", "special", "dedup"];

/// A ZFS dataset, `pool/dataset`: what a target on ZFS has where others have the path of a device.
///
/// A pool and one or more parts, of letters, digits and `_-.:` each, at most 255 bytes; no snapshot. Source: zfs(8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    fn from_str(name: &str) -> Result<Self, DatasetError> {
        let wrong = |why| {
            let name = name.chars().take(NAME_MAX).collect();
            Err(DatasetError { name, why })
        };
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

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its pool.
    pub fn pool(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Whether a new pool may be made of this word: an absolute path, or a word of zpool-create(8) as in `mirror`.
    pub fn is_vdev(word: &str) -> bool {
        let is_kind = || {
            let plain = word.trim_end_matches(|c: char| c.is_ascii_digit());
            VDEV_WORDS.contains(&plain) || word.starts_with("draid")
        };
        (word.starts_with('/') || is_kind()) && !word.chars().any(|c| c.is_whitespace() || c.is_control())
    }
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
    fn a_pool_is_made_of_paths_and_the_words_between_them() {
        assert!(["mirror", "raidz2", "/dev/sda", "spare", "draid2:4d:1s"].iter().all(|word| Dataset::is_vdev(word)));
        assert!(!["sda", "-f", "mirrors", "--", "/dev/a b", "/dev/a\n"].iter().any(|word| Dataset::is_vdev(word)));
    }
}
