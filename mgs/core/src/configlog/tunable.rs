//! Which log says a tunable to the nodes.
//!
//! A tunable is named as `lctl set_param` names it and goes to the log `params`, but for those that a file system's own
//! logs say better: settings of all its nodes, quota, a target that is inactive.

use std::collections::BTreeSet;

use lustre_types::{FsName, ParamScope, TargetKind};

use crate::configlog::param::Device;
use crate::key::ParamKey;

/// Settings of whole nodes that a file system's logs have as `sys.<name>`.
const SYS: [&str; 8] =
    ["timeout", "ldlm_timeout", "at_min", "at_max", "at_extra", "at_early_margin", "at_history", "jobid_var"];
/// Layers that `lctl conf_param` knows.
const LAYERS: [&str; 12] = ["sys", "quota", "llite", "osc", "mdc", "lov", "lod", "mdt", "mdd", "ost", "osd", "srpc"];
/// Layers whose devices have the name of the target and more behind it, as in `scratch-OST0001-osc-MDT0000`.
const SUFFIXED: [&str; 5] = ["osc", "osp", "mdc", "lod", "lov"];

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
        match conf(key) {
            Some((device, key)) => Self::Conf { device, key },
            None => {
                let path = path(key);
                Self::Path { target: subject(&path, filesystems), path }
            }
        }
    }
}

fn conf(key: &ParamKey) -> Option<(Device, String)> {
    let fsname = key.filesystem.clone()?;
    let name = key.name.as_str();
    let device = match &key.scope {
        ParamScope::Filesystem | ParamScope::Mdts => Device::Filesystem(fsname),
        ParamScope::Target(svname) => Device::Target(svname.clone()),
        ParamScope::Osts | ParamScope::Clients => return None,
    };
    let is_whole = key.scope == ParamScope::Filesystem;
    match (name, &key.scope) {
        ("osc.*.active", ParamScope::Target(ost)) if ost.kind() == TargetKind::Ost => {
            Some((device, "osc.active".into()))
        }
        ("mdc.*.active", ParamScope::Target(mdt)) if mdt.kind() == TargetKind::Mdt => {
            Some((device, "mdc.active".into()))
        }
        (name, _) if is_whole && SYS.contains(&name) => Some((device, format!("sys.{name}"))),
        (name, scope) => {
            let (layer, rest) = name.split_once('.')?;
            // `mdt.X` of all MDTs is that of the file system; nothing else is said of a kind of targets.
            let is_said = *scope != ParamScope::Mdts || layer == "mdt";
            let is_form = LAYERS.contains(&layer) && !rest.contains('*') && (!rest.contains('.') || layer == "srpc");
            (is_form && is_said).then(|| (device, name.to_owned()))
        }
    }
}

/// The tunable's path with its devices in the place of the first part that is `*`: what `lctl set_param` calls it.
pub fn path(key: &ParamKey) -> String {
    let name = key.name.as_str();
    let layer = name.split('.').next().unwrap_or(name);
    let mut devices = key.scope.device_pattern(key.filesystem.as_ref());
    if matches!(key.scope, ParamScope::Target(_)) && SUFFIXED.contains(&layer) {
        devices.push_str("-*");
    }
    let mut parts: Vec<&str> = name.split('.').collect();
    if let Some(part) = parts.iter_mut().find(|part| **part == "*") {
        *part = &devices;
    }
    parts.join(".")
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
        assert_eq!(
            of("gold", "gold-OST0001", "ost.writethrough_cache_enable"),
            conf(ost(), "ost.writethrough_cache_enable")
        );
        assert_eq!(of("gold", "mdts", "mdt.identity_upcall"), conf(gold(), "mdt.identity_upcall"));
    }

    #[test]
    fn everything_else_goes_to_params_under_its_path() {
        assert_eq!(of("*", "filesystem", "timeout"), path("general", "timeout"));
        assert_eq!(of("gold", "filesystem", "osc.*.max_dirty_mb"), path("gold", "osc.gold-*.max_dirty_mb"));
        assert_eq!(of("gold", "gold-OST0001", "osc.*.max_dirty_mb"), path("gold", "osc.gold-OST0001-*.max_dirty_mb"));
        assert_eq!(of("gold", "gold-OST0001", "obdfilter.*.brw_size"), path("gold", "obdfilter.gold-OST0001.brw_size"));
        assert_eq!(of("gold", "osts", "obdfilter.*.brw_size"), path("gold", "obdfilter.gold-OST*.brw_size"));
        let quota = "osd-*.*.quota_slave.enabled";
        assert_eq!(of("gold", "osts", quota), path("gold", "osd-*.gold-OST*.quota_slave.enabled"));
        assert_eq!(of("*", "filesystem", "osc.*.max_dirty_mb"), path("general", "osc.*.max_dirty_mb"));
        assert_eq!(of("silver", "filesystem", "llite.*.x"), path("general", "llite.silver-*.x"));
    }
}
