//! Which log says a tunable to the nodes.
//!
//! One that `lctl conf_param` has a name for goes to the logs of its file system, so that nobody else's nodes take it;
//! any other one to the log `params`, as by `lctl set_param -P`. Names: [`lustre_plan::naming`].

use std::collections::BTreeSet;

use lustre_plan::naming;
use lustre_types::{FsName, SvName};

use crate::configlog::param::Device;
use crate::key::ParamKey;

/// Where a tunable is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tunable {
    /// As by `lctl conf_param <device>.<key>=<value>`, in the logs of those concerned.
    Conf {
        /// Whom it concerns.
        device: Device,
        /// Its name there.
        key: String,
    },
    /// As by `lctl set_param -P <path>=<value>`, in `params`.
    Path {
        /// What its section is about: a file system in the path, or `general`.
        target: String,
        /// Its path.
        path: String,
    },
}

impl Tunable {
    /// Where the tunable goes. `filesystems` are all that exist.
    pub fn of(key: &ParamKey, filesystems: &BTreeSet<&FsName>) -> Self {
        let filesystem = key.filesystem.as_ref();
        let conf = naming::conf_param(filesystem, &key.scope, &key.name).and_then(|name| conf(&name));
        conf.unwrap_or_else(|| {
            let path = naming::set_param(filesystem, &key.scope, &key.name);
            Self::Path { target: subject(&path, filesystems), path }
        })
    }
}

/// `scratch-OST0001.osc.max_dirty_mb`, taken apart.
fn conf(name: &str) -> Option<Tunable> {
    let (owner, key) = name.split_once('.')?;
    let device = match owner.parse::<SvName>() {
        Ok(svname) => Device::Target(svname),
        Err(_) => Device::Filesystem(owner.parse().ok()?),
    };
    Some(Tunable::Conf { device, key: key.to_owned() })
}

/// The file system that is named in the second part of a path.
fn subject(path: &str, filesystems: &BTreeSet<&FsName>) -> String {
    let devices = path.split('.').nth(1).unwrap_or("");
    let named = filesystems.iter().find(|fsname| devices.contains(fsname.as_str()));
    named.map_or_else(|| "general".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filesystem: &str, scope: &str, name: &str) -> Tunable {
        let gold: FsName = "gold".parse().unwrap();
        let filesystem = (filesystem != "*").then(|| filesystem.parse().unwrap());
        let key = ParamKey { filesystem, scope: scope.parse().unwrap(), name: name.parse().unwrap() };
        Tunable::of(&key, &BTreeSet::from([&gold]))
    }

    fn conf(device: Device, key: &str) -> Tunable {
        Tunable::Conf { device, key: key.into() }
    }

    fn path(target: &str, path: &str) -> Tunable {
        Tunable::Path { target: target.into(), path: path.into() }
    }

    #[test]
    fn what_a_file_systems_logs_can_say_is_said_there() {
        let gold = || Device::Filesystem("gold".parse().unwrap());
        let ost = || Device::Target("gold-OST0001".parse().unwrap());
        assert_eq!(of("gold", "filesystem", "timeout"), conf(gold(), "sys.timeout"));
        assert_eq!(of("gold", "filesystem", "quota.ost"), conf(gold(), "quota.ost"));
        assert_eq!(of("gold", "gold-OST0001", "osc.*.active"), conf(ost(), "osc.active"));
        assert_eq!(of("gold", "gold-OST0001", "obdfilter.*.brw_size"), conf(ost(), "ost.brw_size"));
        assert_eq!(of("gold", "mdts", "mdt.*.identity_upcall"), conf(gold(), "mdt.identity_upcall"));
    }

    #[test]
    fn everything_else_goes_to_params_under_its_path() {
        assert_eq!(of("*", "filesystem", "timeout"), path("general", "timeout"));
        assert_eq!(of("gold", "filesystem", "osc.*.max_dirty_mb"), path("gold", "osc.gold-OST*-osc-*.max_dirty_mb"));
        assert_eq!(of("gold", "osts", "obdfilter.*.brw_size"), path("gold", "obdfilter.gold-OST*.brw_size"));
        assert_eq!(of("*", "filesystem", "osc.*.max_dirty_mb"), path("general", "osc.*.max_dirty_mb"));
        assert_eq!(of("silver", "filesystem", "jobid_name"), path("general", "jobid_name"));
    }
}
