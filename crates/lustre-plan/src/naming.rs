//! The two names of a tunable: as `lctl set_param` writes it, and as `lctl conf_param` does.
//!
//! The first is the canonical one. Which devices a layer has, and what they are called, decides what stands in place of the
//! `*`. Source: tunables specification, section 1.1; device names as recorded from nodes of Lustre 2.17.57.

use lustre_api::param::ParamSpec;
use lustre_types::{FsName, ParamName, ParamScope, SvName, TargetKind};

use crate::catalogue::{self, pattern};

/// Whose devices a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Devices {
    /// One for each OST, with this behind its name.
    Ost(&'static str),
    /// One for each MDT, with this behind its name.
    Mdt(&'static str),
    /// One for each target, with this behind its name.
    Target(&'static str),
    /// One for each mount of the file system.
    Client,
    /// One for each target or client, with anything before and behind.
    Namespace,
    /// None: nodes have it once, whatever file systems they serve.
    Node,
    /// None: it is of a file system or a target, and only `conf_param` knows it.
    Log,
}

/// What names before the first dot belong to, and the tunables at the top level.
fn devices(name: &str) -> Devices {
    let layer = name.split('.').next().unwrap_or_default();
    match layer {
        "obdfilter" => Devices::Ost(""),
        "osc" => Devices::Ost("-osc-*"),
        "mdt" | "mdd" => Devices::Mdt(""),
        "lod" => Devices::Mdt("-mdtlov"),
        "mdc" => Devices::Mdt("-mdc-*"),
        "osp" => Devices::Target("-*"),
        "llite" | "lov" | "lmv" => Devices::Client,
        "ldlm" if name.starts_with("ldlm.namespaces.") => Devices::Namespace,
        "ldlm" | "mds" | "ost" | "mgs" | "mgc" | "nodemap" => Devices::Node,
        "failover" | "quota" | "srpc" | "network" | "mgsnode" => Devices::Log,
        _ if layer.starts_with("osd-") => Devices::Target(""),
        _ if !name.contains('.') => Devices::Node,
        // What is not known here is taken to have devices like most.
        _ => Devices::Target("*"),
    }
}

/// Why no device of a tunable's layer is in a scope; none where there are some.
pub(crate) fn misses(name: &str, scope: &ParamScope) -> Option<String> {
    let layer = name.split('.').next().unwrap_or_default();
    let kind = match scope {
        ParamScope::Mdts => Some(TargetKind::Mdt),
        ParamScope::Osts => Some(TargetKind::Ost),
        ParamScope::Target(svname) => Some(svname.kind()),
        ParamScope::Filesystem | ParamScope::Clients => None,
    };
    let of = match devices(name) {
        Devices::Ost(_) if kind.is_some_and(|kind| kind != TargetKind::Ost) => "OSTs",
        Devices::Mdt(_) if kind.is_some_and(|kind| kind != TargetKind::Mdt) => "MDTs",
        Devices::Client if layer == "lov" && kind == Some(TargetKind::Mdt) => return None,
        Devices::Client if kind.is_some() => "clients",
        Devices::Node if kind.is_some() || *scope == ParamScope::Clients => {
            return Some(format!("{name} is of a node, not of a target or client; every node has it"));
        }
        _ if *scope == ParamScope::Clients && ["obdfilter", "mdt", "mdd", "lod", "osp"].contains(&layer) => "servers",
        _ => return None,
    };
    Some(format!("{layer} devices are of {of}"))
}

/// What `lctl set_param` on a node calls it: `osc.scratch-OST*-osc-*.max_dirty_mb`.
///
/// A name whose device is given is left as it is. The name of what only `conf_param` knows is the same in both.
pub fn set_param(filesystem: Option<&FsName>, scope: &ParamScope, name: &ParamName) -> String {
    let name = name.as_str();
    let pattern = match devices(name) {
        Devices::Node | Devices::Log => return name.to_owned(),
        _ if filesystem.is_none() && !matches!(scope, ParamScope::Target(_)) && *scope == ParamScope::Filesystem => {
            return name.to_owned();
        }
        Devices::Client => filesystem.map_or_else(|| "*".to_owned(), |fsname| format!("{fsname}-*")),
        Devices::Namespace => format!("*{}*", of_scope(filesystem, scope, "")),
        Devices::Ost(behind) => format!("{}{behind}", of_scope(filesystem, scope, "OST*")),
        Devices::Mdt(behind) => format!("{}{behind}", of_scope(filesystem, scope, "MDT*")),
        Devices::Target(behind) => format!("{}{behind}", of_scope(filesystem, scope, "*")),
    };
    let mut parts: Vec<&str> = name.split('.').collect();
    let pattern = pattern.replace("**", "*");
    match parts.get_mut(device_place(name)) {
        Some(device) if *device == "*" => *device = &pattern,
        // The person has named the device.
        _ => {}
    }
    parts.join(".")
}

/// Which part of a name is its device.
fn device_place(name: &str) -> usize {
    if name.starts_with("ldlm.namespaces.") { 2 } else { 1 }
}

/// The targets of a scope: `scratch-OST*`; `of_all` is behind the file system where the scope doesn't say.
fn of_scope(filesystem: Option<&FsName>, scope: &ParamScope, of_all: &str) -> String {
    let fsname = filesystem.map_or("*", FsName::as_str);
    match scope {
        ParamScope::Target(svname) => svname.to_string(),
        ParamScope::Mdts => format!("{fsname}-MDT*"),
        ParamScope::Osts => format!("{fsname}-OST*"),
        ParamScope::Filesystem | ParamScope::Clients => format!("{fsname}-{of_all}"),
    }
}

/// Tunables of every node that `conf_param` calls `<fsname>.sys.<name>`.
const SYS: [&str; 8] =
    ["timeout", "ldlm_timeout", "at_min", "at_max", "at_extra", "at_early_margin", "at_history", "jobid_var"];

/// What `lctl conf_param` calls it: `scratch-OST0001.osc.max_dirty_mb`. None where it has no such name, or needs one for each
/// target.
pub fn conf_param(filesystem: Option<&FsName>, scope: &ParamScope, name: &ParamName) -> Option<String> {
    let name = name.as_str();
    let (fsname, target) = match scope {
        ParamScope::Target(svname) => (svname.fsname()?, Some(svname)),
        _ => (filesystem?, None),
    };
    if devices(name) == Devices::Log {
        return Some(target.map_or_else(|| format!("{fsname}.{name}"), |svname| format!("{svname}.{name}")));
    }
    if SYS.contains(&name) {
        return target.is_none().then(|| format!("{fsname}.sys.{name}"));
    }
    let mut parts = name.splitn(3, '.');
    let (layer, device, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if device != "*" {
        return None;
    }
    match (layer, target) {
        ("llite", None) if matches!(scope, ParamScope::Filesystem | ParamScope::Clients) => {
            Some(format!("{fsname}.llite.{rest}"))
        }
        ("mdt", None) if matches!(scope, ParamScope::Filesystem | ParamScope::Mdts) => {
            Some(format!("{fsname}.mdt.{rest}"))
        }
        ("osc" | "mdc" | "mdt" | "mdd" | "lod" | "lov", Some(svname)) => Some(format!("{svname}.{layer}.{rest}")),
        ("obdfilter", Some(svname)) => Some(format!("{svname}.ost.{rest}")),
        (osd, Some(svname)) if osd.starts_with("osd-") => Some(format!("{svname}.osd.{rest}")),
        _ => None,
    }
}

/// Which nodes should have a tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// Those with an OST of the scope.
    Osts,
    /// Those with an MDT of the scope.
    Mdts,
    /// Those with a target of the scope.
    Targets,
    /// Every node.
    EveryNode,
    /// Clients, and whoever else has mounted the file system: not known from here.
    Clients,
}

/// Which nodes should have a tunable.
pub fn concerned(name: &ParamName) -> Concerned {
    match devices(name.as_str()) {
        Devices::Ost("") => Concerned::Osts,
        Devices::Mdt("" | "-mdtlov") => Concerned::Mdts,
        Devices::Target(_) => Concerned::Targets,
        Devices::Node if name.as_str().starts_with("ost.") => Concerned::Osts,
        Devices::Node if name.as_str().starts_with("mds.") => Concerned::Mdts,
        Devices::Node if name.as_str().starts_with("mgs.") => Concerned::Clients,
        Devices::Node => Concerned::EveryNode,
        Devices::Log if name.as_str() == "quota.ost" => Concerned::Osts,
        Devices::Log if name.as_str() == "quota.mdt" => Concerned::Mdts,
        Devices::Log => Concerned::Targets,
        Devices::Ost(_) | Devices::Mdt(_) | Devices::Client | Devices::Namespace => Concerned::Clients,
    }
}

/// The pattern under which nodes show what a tunable is; none where they don't.
pub fn read_back(filesystem: Option<&FsName>, scope: &ParamScope, name: &ParamName) -> Option<String> {
    let fsname = filesystem.map_or("*", FsName::as_str);
    match name.as_str() {
        "quota.ost" => Some(format!("osd-*.{fsname}-OST*.quota_slave.enabled")),
        "quota.mdt" => Some(format!("osd-*.{fsname}-MDT*.quota_slave.enabled")),
        _ if devices(name.as_str()) == Devices::Log => None,
        _ => Some(set_param(filesystem, scope, name)),
    }
}

/// A tunable as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its file system; every one where there is none.
    pub filesystem: Option<FsName>,
    /// Whom it concerns.
    pub scope: ParamScope,
    /// Its canonical name.
    pub name: ParamName,
}

/// A name that `conf_param` would not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No target or file system stands before the first dot.
    #[error(
        "\"{0}\" names neither a file system nor a target before its first dot, as in scratch-OST0001.osc.max_dirty_mb"
    )]
    Target(String),
    /// `conf_param` has no such layer.
    #[error(
        "\"{name}\": \"{layer}\" is none of sys, llite, osc, mdc, mdt, mdd, lod, lov, ost, osd, quota, failover, srpc"
    )]
    Layer {
        /// The name.
        name: String,
        /// What stands where a layer should.
        layer: String,
    },
    /// The rest is no name.
    #[error(transparent)]
    Name(#[from] lustre_types::ParamNameError),
}

/// Translates a name of `conf_param`: `scratch.llite.max_read_ahead_mb`, `scratch-OST0001.osc.max_dirty_mb`.
///
/// Device names of clients and MDTs are taken for the target that they are of, as `lctl` does. Errors: [`NameError`].
pub fn parse_conf_param(text: &str) -> Result<Named, NameError> {
    let target = || NameError::Target(text.to_owned());
    let (owner, rest) = text.split_once('.').ok_or_else(target)?;
    let owner = ["-osc", "-mdc", "-mdtlov", "-client", "-clilov"]
        .iter()
        .find_map(|behind| owner.strip_suffix(behind))
        .unwrap_or(owner);
    let svname = owner.parse::<SvName>().ok().filter(|svname| svname.fsname().is_some());
    let filesystem = match &svname {
        Some(svname) => svname.fsname().cloned(),
        None => Some(owner.parse::<FsName>().map_err(|_| target())?),
    };
    let (layer, tail) = rest.split_once('.').unwrap_or((rest, ""));
    let name = match layer {
        "sys" => tail.to_owned(),
        "llite" | "osc" | "mdc" | "mdt" | "mdd" | "lod" | "lov" => format!("{layer}.*.{tail}"),
        "ost" => format!("obdfilter.*.{tail}"),
        "osd" => format!("osd-*.*.{tail}"),
        "quota" | "failover" | "srpc" | "network" | "mgsnode" => rest.to_owned(),
        _ => return Err(NameError::Layer { name: text.to_owned(), layer: layer.to_owned() }),
    };
    let scope = svname.map_or(ParamScope::Filesystem, ParamScope::Target);
    Ok(Named { filesystem, scope, name: name.parse()? })
}

/// Whether a name is written as `conf_param` writes them.
pub fn is_conf_param(text: &str) -> bool {
    catalogue::lookup(text).is_none() && parse_conf_param(text).is_ok()
}

/// Those of the MGS's file systems that nodes would apply a permanent tunable to, besides the one that it is for.
pub fn others_hit<'a>(spec: &ParamSpec, all: impl Iterator<Item = &'a FsName>) -> Vec<&'a FsName> {
    let canonical = set_param(spec.filesystem.as_ref(), &spec.scope, &spec.name);
    let is_bound = conf_param(spec.filesystem.as_ref(), &spec.scope, &spec.name).is_some();
    let device = canonical.split('.').nth(device_place(&canonical));
    let hits = |fsname: &FsName| match (devices(&canonical), device) {
        (Devices::Log, _) => false,
        (Devices::Node, _) => !is_bound,
        (_, Some(device)) => is_pattern_of(device, fsname),
        (_, None) => false,
    };
    all.filter(|fsname| Some(*fsname) != spec.filesystem.as_ref() && hits(fsname)).collect()
}

/// Whether a person has named the device of a tunable, or a part of its name.
pub fn names_device(name: &ParamName) -> bool {
    let name = name.as_str();
    let has_devices = !matches!(devices(name), Devices::Node | Devices::Log);
    has_devices && name.split('.').nth(device_place(name)).is_some_and(|device| device != "*")
}

/// The device that a person has named where none of these file systems has a device of such a name: nodes would never find any.
/// None where nobody has named one, or can tell.
pub(crate) fn matches_nothing<'a>(spec: &ParamSpec, mut all: impl Iterator<Item = &'a FsName>) -> Option<String> {
    let name = spec.name.as_str();
    // Only these are called after their file systems, whatever the release.
    if !matches!(devices(name), Devices::Ost(_) | Devices::Mdt(_) | Devices::Target(_) | Devices::Client) {
        return None;
    }
    let device = name.split('.').nth(device_place(name))?;
    let is_of = |fsname: &FsName| pattern::meet(device, &format!("{fsname}-*"));
    // A target of an MGS is called that.
    let is_known = catalogue::lookup(name).is_some() && !pattern::meet(device, "MGS*");
    (is_known && !all.any(is_of)).then(|| device.to_owned())
}

/// Whether some device of a file system can be called as the pattern says.
fn is_pattern_of(device: &str, fsname: &FsName) -> bool {
    let prefix = format!("{fsname}-");
    let fixed = device.split('*').find(|part| !part.is_empty()).unwrap_or_default();
    match fixed.split_once('-') {
        // `scr*` and `*ratch`: any file system whose name goes on like this.
        None => !device.contains('*') || device.starts_with('*') || prefix.starts_with(fixed),
        Some(("", _)) => device.starts_with('*'),
        Some(_) => fixed.starts_with(&prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(scope: &str, name: &str) -> (String, Option<String>) {
        let fsname: FsName = "scratch".parse().unwrap();
        let (scope, name) = (scope.parse().unwrap(), name.parse().unwrap());
        (set_param(Some(&fsname), &scope, &name), conf_param(Some(&fsname), &scope, &name))
    }

    #[test]
    fn a_tunable_has_both_names() {
        for (scope, name, set, conf) in [
            (
                "filesystem",
                "llite.*.max_read_ahead_mb",
                "llite.scratch-*.max_read_ahead_mb",
                Some("scratch.llite.max_read_ahead_mb"),
            ),
            ("filesystem", "osc.*.max_dirty_mb", "osc.scratch-OST*-osc-*.max_dirty_mb", None),
            (
                "scratch-OST0001",
                "osc.*.max_dirty_mb",
                "osc.scratch-OST0001-osc-*.max_dirty_mb",
                Some("scratch-OST0001.osc.max_dirty_mb"),
            ),
            (
                "scratch-MDT0000",
                "mdc.*.max_rpcs_in_flight",
                "mdc.scratch-MDT0000-mdc-*.max_rpcs_in_flight",
                Some("scratch-MDT0000.mdc.max_rpcs_in_flight"),
            ),
            ("mdts", "mdt.*.identity_upcall", "mdt.scratch-MDT*.identity_upcall", Some("scratch.mdt.identity_upcall")),
            (
                "scratch-MDT0000",
                "lod.*.stripecount",
                "lod.scratch-MDT0000-mdtlov.stripecount",
                Some("scratch-MDT0000.lod.stripecount"),
            ),
            ("osts", "obdfilter.*.brw_size", "obdfilter.scratch-OST*.brw_size", None),
            (
                "scratch-OST0001",
                "obdfilter.*.brw_size",
                "obdfilter.scratch-OST0001.brw_size",
                Some("scratch-OST0001.ost.brw_size"),
            ),
            (
                "scratch-OST0001",
                "osd-ldiskfs.*.pdo",
                "osd-ldiskfs.scratch-OST0001.pdo",
                Some("scratch-OST0001.osd.pdo"),
            ),
            ("osts", "osd-*.*.quota_slave.enabled", "osd-*.scratch-OST*.quota_slave.enabled", None),
            ("filesystem", "osc.home-OST*.active", "osc.home-OST*.active", None),
            ("filesystem", "timeout", "timeout", Some("scratch.sys.timeout")),
            ("filesystem", "jobid_name", "jobid_name", None),
            ("filesystem", "ost.OSS.*.threads_max", "ost.OSS.*.threads_max", None),
            ("filesystem", "ldlm.namespaces.*.lru_size", "ldlm.namespaces.*scratch-*.lru_size", None),
            ("filesystem", "quota.ost", "quota.ost", Some("scratch.quota.ost")),
            ("scratch-OST0001", "failover.node", "failover.node", Some("scratch-OST0001.failover.node")),
        ] {
            assert_eq!(named(scope, name), (set.to_owned(), conf.map(str::to_owned)), "{scope} {name}");
        }
    }

    #[test]
    fn names_of_conf_param_are_translated_and_come_back() {
        for text in [
            "scratch.llite.max_read_ahead_mb",
            "scratch-OST0001.osc.max_dirty_mb",
            "scratch-MDT0000.mdd.changelog_mask",
            "scratch-OST0001.ost.brw_size",
            "scratch.sys.at_max",
            "scratch.quota.ost",
            "scratch-OST0001.failover.node",
            "scratch.srpc.flavor.tcp.cli2mdt",
        ] {
            let named = parse_conf_param(text).unwrap();
            assert_eq!(conf_param(named.filesystem.as_ref(), &named.scope, &named.name).as_deref(), Some(text));
        }
        let device = parse_conf_param("scratch-OST0001-osc.osc.active").unwrap();
        assert_eq!(device.scope.to_string(), "scratch-OST0001");
        assert!(matches!(parse_conf_param("timeout"), Err(NameError::Target(_))));
        assert!(matches!(parse_conf_param("scratch.nonsense.x"), Err(NameError::Layer { .. })));
    }

    #[test]
    fn a_scope_without_devices_is_told() {
        let told = |name: &str, scope: &str| misses(name, &scope.parse().unwrap());
        assert_eq!(told("obdfilter.*.brw_size", "mdts").as_deref(), Some("obdfilter devices are of OSTs"));
        assert_eq!(told("mdt.*.readonly", "scratch-OST0000").as_deref(), Some("mdt devices are of MDTs"));
        assert_eq!(told("llite.*.checksums", "osts").as_deref(), Some("llite devices are of clients"));
        assert_eq!(told("obdfilter.*.brw_size", "clients").as_deref(), Some("obdfilter devices are of servers"));
        assert!(told("timeout", "mdts").is_some() && told("timeout", "filesystem").is_none());
        assert!(told("osc.*.active", "osts").is_none() && told("osp.*.active", "mdts").is_none());
    }

    #[test]
    fn other_file_systems_that_a_pattern_hits_are_told() {
        let all: Vec<FsName> = ["scratch", "scr", "home"].iter().map(|name| name.parse().unwrap()).collect();
        let hit = |filesystem: Option<&str>, name: &str| {
            let spec = ParamSpec {
                filesystem: filesystem.map(|name| name.parse().unwrap()),
                scope: ParamScope::Filesystem,
                name: name.parse().unwrap(),
                value: "1".into(),
                allow_unknown: false,
            };
            others_hit(&spec, all.iter()).into_iter().map(FsName::as_str).collect::<Vec<_>>()
        };
        assert!(hit(Some("scratch"), "osc.*.max_dirty_mb").is_empty());
        assert!(hit(Some("scratch"), "ldlm.namespaces.*.lru_size").is_empty());
        assert!(hit(Some("scratch"), "timeout").is_empty(), "conf_param binds it to the file system");
        assert_eq!(hit(Some("scratch"), "jobid_name"), ["scr", "home"]);
        assert_eq!(hit(Some("scratch"), "ost.OSS.*.threads_max"), ["scr", "home"]);
        assert_eq!(hit(Some("scratch"), "osc.home-OST*.max_dirty_mb"), ["home"]);
        assert_eq!(hit(None, "osc.scr*.max_dirty_mb"), ["scratch", "scr"]);
        assert_eq!(hit(None, "osc.home-OST*.max_dirty_mb"), ["home"]);
    }
}
