//! Names of what is stored: one key per object, never a list in one value.

use std::fmt;
use std::str::FromStr;

use lustre_api::event::EventKind;
use lustre_api::job::{JobId, JobObject, Nodes};
use lustre_types::{FsName, NodeName, NodemapName, PoolName, SvName};
use thiserror::Error;

pub use lustre_types::ParamKey;

/// A key of the store.
///
/// | key | what |
/// |---|---|
/// | `mgs` | the MGS's UUID |
/// | `fs/<fsname>` | a file system |
/// | `retired/<fsname>` | names of its targets that were taken out of the configuration |
/// | `target/<fsname or *>/<svname>` | a target; its absence is what a new index is claimed by |
/// | `device/<node>/<device>` | which target a device belongs to |
/// | `param/<fsname or *>/<scope>/<name>` | a tunable |
/// | `nodemap/<name>` | a nodemap |
/// | `nodemap/` | whether nodemaps are in force |
/// | `temporary/<name>` | a value that nodes have for the time being, by what `lctl set_param` calls it |
/// | `pool/<fsname>/<pool>` | a pool |
/// | `node/<node>` | a node |
/// | `job/<id>` | a job |
/// | `hold/fs/<fsname>`, `hold/target/<fsname or *>/<svname>`, `hold/node/<node>`, `hold/param/<fsname or *>/<scope>/<name>` | the job that is at work on it |
/// | `owner/<duty>` | which instance does it; vanishes with that instance's lease |
/// | `webhook/<name>` | how far a receiver was told, now and then |
/// | `log/<fsname or *>/<number>` | a change of the config logs; `*` is the log `params` |
/// | `nidtbl/<fsname>` | version of the table of running targets |
/// | `nidrow/<fsname>/<svname>` | a running target in that table |
/// | `source` | what came of the source of wanted configuration |
/// | `removed/param/…`, `removed/nodemap/<name>` | an object that comes back unless its removal is confirmed |
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The MGS itself.
    Mgs,
    /// A file system.
    Filesystem(FsName),
    /// What a file system's targets left behind.
    Retired(FsName),
    /// A target.
    Target(SvName),
    /// A device of a node, by a path or a name that does not change.
    Device(NodeName, String),
    /// A tunable.
    Param(ParamKey),
    /// A nodemap.
    Nodemap(NodemapName),
    /// Whether nodemaps are in force.
    NodemapsActive,
    /// A value for the time being.
    Temporary(String),
    /// A pool.
    Pool(FsName, PoolName),
    /// A node.
    Node(NodeName),
    /// A job.
    Job(JobId),
    /// Which job is at work on an object: two jobs never are.
    Hold(JobObject),
    /// Which instance of the MGS does what must be done once.
    Owner(String),
    /// How far the receiver of this name was told.
    Webhook(String),
    /// A change of the config logs of a file system, or of `params`, by its number.
    Log(Option<FsName>, u64),
    /// The version of a file system's table of running targets.
    NidTable(FsName),
    /// A running target.
    NidRow(SvName),
    /// The source of wanted configuration.
    Source,
    /// An object that was removed, and comes back unless somebody confirms that.
    Removed(RemovedKey),
}

/// Names an object that was removed and may come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemovedKey {
    /// A tunable.
    Param(ParamKey),
    /// A nodemap.
    Nodemap(NodemapName),
}

impl RemovedKey {
    /// The key that the object had.
    pub fn key(&self) -> Key {
        match self {
            Self::Param(key) => Key::Param(key.clone()),
            Self::Nodemap(name) => Key::Nodemap(name.clone()),
        }
    }
}

/// A key of the store that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the store has the key {0:?}, which this version does not know")]
pub struct KeyError(String);

impl Key {
    /// What the keys of all targets of a file system begin with.
    pub fn targets_of(fsname: &FsName) -> String {
        format!("target/{fsname}/")
    }

    /// What the keys of all pools of a file system begin with.
    pub fn pools_of(fsname: &FsName) -> String {
        format!("pool/{fsname}/")
    }

    /// What the keys of all tunables of a file system begin with.
    pub fn params_of(fsname: &FsName) -> String {
        format!("param/{fsname}/")
    }

    /// What the keys of all running targets of a file system begin with.
    pub fn nid_rows_of(fsname: &FsName) -> String {
        format!("nidrow/{fsname}/")
    }

    /// What the keys of all holds of targets of a file system begin with.
    pub fn holds_of(fsname: &FsName) -> String {
        format!("hold/target/{fsname}/")
    }

    /// What the keys of all nodemaps begin with, and of whether they are in force.
    pub const NODEMAPS: &'static str = "nodemap/";

    /// What the keys of all holds of tunables begin with.
    pub const PARAM_HOLDS: &'static str = "hold/param/";

    /// What the keys of all duties begin with.
    pub const OWNERS: &'static str = "owner/";

    /// What the keys of all targets begin with.
    pub const TARGETS: &'static str = "target/";

    /// The object for people, as in `target scratch-OST0001`: names it in history and events.
    pub fn object(&self) -> String {
        match self {
            Self::Mgs => "mgs".to_owned(),
            Self::Filesystem(fsname) => format!("filesystem {fsname}"),
            Self::Retired(fsname) => format!("retired targets of {fsname}"),
            Self::Target(svname) => format!("target {svname}"),
            Self::Device(node, device) => format!("device {node}:{device}"),
            Self::Param(param) => format!("param {param}"),
            Self::Nodemap(name) => format!("nodemap {name}"),
            Self::NodemapsActive => "nodemaps".to_owned(),
            Self::Temporary(name) => format!("temporary {name}"),
            Self::Pool(fsname, pool) => format!("pool {fsname}.{pool}"),
            Self::Node(node) => format!("node {node}"),
            Self::Job(id) => format!("job {id}"),
            Self::Hold(object) => format!("hold on {object}"),
            Self::Owner(duty) => format!("owner of {duty}"),
            Self::Webhook(name) => format!("webhook {name}"),
            Self::Log(Some(fsname), number) => format!("config logs of {fsname}, change {number}"),
            Self::Log(None, number) => format!("config log params, change {number}"),
            Self::NidTable(fsname) => format!("running targets of {fsname}"),
            Self::NidRow(svname) => format!("running target {svname}"),
            Self::Source => "source".to_owned(),
            Self::Removed(removed) => format!("removal of {}", removed.key().object()),
        }
    }
}

impl Key {
    /// The sort of object, for who wants to hear of some only.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Mgs => EventKind::Mgs,
            Self::Filesystem(_) => EventKind::Filesystem,
            Self::Target(_) | Self::Device(..) | Self::Retired(_) => EventKind::Target,
            Self::Param(_) | Self::Temporary(_) => EventKind::Param,
            Self::Nodemap(_) | Self::NodemapsActive => EventKind::Nodemap,
            Self::Pool(..) => EventKind::Pool,
            Self::Node(_) => EventKind::Node,
            Self::Job(_) | Self::Hold(_) => EventKind::Job,
            Self::Log(..) => EventKind::Log,
            Self::NidTable(_) | Self::NidRow(_) => EventKind::Running,
            Self::Source => EventKind::Source,
            Self::Removed(removed) => removed.key().kind(),
            Self::Owner(_) | Self::Webhook(_) => EventKind::Duty,
        }
    }

    /// The file system that it belongs to, where its name says so. A job's does not.
    pub fn fsname(&self) -> Option<&FsName> {
        match self {
            Self::Filesystem(fsname) | Self::Retired(fsname) | Self::Pool(fsname, _) | Self::NidTable(fsname) => {
                Some(fsname)
            }
            Self::Target(svname) | Self::NidRow(svname) => svname.fsname(),
            Self::Param(param) => param.filesystem.as_ref(),
            Self::Log(fsname, _) => fsname.as_ref(),
            Self::Hold(object) => object.fsname(),
            Self::Removed(RemovedKey::Param(param)) => param.filesystem.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mgs => f.write_str("mgs"),
            Self::Filesystem(fsname) => write!(f, "fs/{fsname}"),
            Self::Retired(fsname) => write!(f, "retired/{fsname}"),
            Self::Target(svname) => write!(f, "target/{}/{svname}", svname.fsname().map_or("*", FsName::as_str)),
            Self::Device(node, device) => write!(f, "device/{node}/{device}"),
            Self::Param(param) => write!(f, "param/{param}"),
            Self::Nodemap(name) => write!(f, "nodemap/{name}"),
            Self::NodemapsActive => f.write_str("nodemap/"),
            Self::Temporary(name) => write!(f, "temporary/{name}"),
            Self::Pool(fsname, pool) => write!(f, "pool/{fsname}/{pool}"),
            Self::Node(node) => write!(f, "node/{node}"),
            Self::Job(id) => write!(f, "job/{id}"),
            Self::Hold(JobObject::Filesystem(fsname)) => write!(f, "hold/fs/{fsname}"),
            Self::Hold(JobObject::Target(svname)) => {
                write!(f, "hold/target/{}/{svname}", svname.fsname().map_or("*", FsName::as_str))
            }
            Self::Hold(JobObject::Node(node)) => write!(f, "hold/node/{node}"),
            Self::Hold(JobObject::Param(param)) => write!(f, "hold/param/{param}"),
            Self::Hold(JobObject::Nodes(Nodes::All)) => f.write_str("hold/nodes/all"),
            Self::Owner(duty) => write!(f, "owner/{duty}"),
            Self::Webhook(name) => write!(f, "webhook/{name}"),
            // Ten digits: the store's order is that of the numbers.
            Self::Log(fsname, number) => {
                write!(f, "log/{}/{number:010}", fsname.as_ref().map_or("*", FsName::as_str))
            }
            Self::NidTable(fsname) => write!(f, "nidtbl/{fsname}"),
            Self::NidRow(svname) => write!(f, "nidrow/{}/{svname}", svname.fsname().map_or("*", FsName::as_str)),
            Self::Source => f.write_str("source"),
            Self::Removed(removed) => write!(f, "removed/{}", removed.key()),
        }
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).ok_or_else(|| KeyError(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<Key> {
    match text {
        "mgs" => return Some(Key::Mgs),
        "source" => return Some(Key::Source),
        _ => {}
    }
    let (kind, rest) = text.split_once('/')?;
    let key = match kind {
        "fs" => Key::Filesystem(rest.parse().ok()?),
        "retired" => Key::Retired(rest.parse().ok()?),
        "target" => Key::Target(rest.split_once('/')?.1.parse().ok()?),
        "device" => {
            let (node, device) = rest.split_once('/')?;
            Key::Device(node.parse().ok()?, device.to_owned())
        }
        "param" => Key::Param(rest.parse().ok()?),
        "nodemap" if rest.is_empty() => Key::NodemapsActive,
        "nodemap" => Key::Nodemap(rest.parse().ok()?),
        "temporary" => Key::Temporary(rest.to_owned()),
        "pool" => {
            let (fsname, pool) = rest.split_once('/')?;
            Key::Pool(fsname.parse().ok()?, pool.parse().ok()?)
        }
        "node" => Key::Node(rest.parse().ok()?),
        "job" => Key::Job(rest.parse().ok()?),
        "owner" if !rest.is_empty() => Key::Owner(rest.to_owned()),
        "webhook" if !rest.is_empty() => Key::Webhook(rest.to_owned()),
        "hold" => Key::Hold(match rest.split_once('/')? {
            ("fs", fsname) => JobObject::Filesystem(fsname.parse().ok()?),
            ("target", target) => JobObject::Target(target.split_once('/')?.1.parse().ok()?),
            ("node", node) => JobObject::Node(node.parse().ok()?),
            ("param", param) => JobObject::Param(param.parse().ok()?),
            ("nodes", "all") => JobObject::Nodes(Nodes::All),
            _ => return None,
        }),
        "log" => {
            let (fsname, number) = rest.split_once('/')?;
            let fsname = if fsname == "*" { None } else { Some(fsname.parse().ok()?) };
            Key::Log(fsname, number.parse().ok()?)
        }
        "removed" => Key::Removed(match parse(rest)? {
            Key::Param(key) => RemovedKey::Param(key),
            Key::Nodemap(name) => RemovedKey::Nodemap(name),
            _ => return None,
        }),
        "nidtbl" => Key::NidTable(rest.parse().ok()?),
        "nidrow" => Key::NidRow(rest.split_once('/')?.1.parse().ok()?),
        _ => return None,
    };
    // Whatever prints otherwise is not a key that we wrote.
    (key.to_string() == text).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_and_parsing_are_inverse() {
        let texts = [
            "mgs",
            "fs/scratch",
            "retired/scratch",
            "target/scratch/scratch-OST00ff",
            "target/*/MGS",
            "device/oss1//dev/disk/by-id/wwn-0x5000",
            "param/*/filesystem/timeout",
            "param/scratch/scratch-OST0001/obdfilter.*.readcache_max_filesize",
            "pool/scratch/flash",
            "node/oss1.example.org",
            "job/ensure-scratch-ost0001-7",
            "hold/fs/scratch",
            "owner/jobs",
            "owner/webhook/alerts",
            "webhook/alerts",
            "hold/target/scratch/scratch-OST0001",
            "hold/target/*/MGS",
            "hold/node/oss1",
            "hold/param/*/clients/osc.*.max_dirty_mb",
            "log/scratch/0000000012",
            "log/*/0000000001",
            "nidtbl/scratch",
            "nidrow/scratch/scratch-OST0001",
            "source",
            "removed/param/scratch/filesystem/timeout",
            "removed/nodemap/guests",
        ];
        for text in texts {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_key_of_something_else_is_named() {
        for text in [
            "",
            "fs",
            "fs/",
            "target/other/scratch-OST0001",
            "fs/scratch/x",
            "job/X",
            "lock/a",
            "log/a/1",
            "removed/removed/nodemap/a",
        ] {
            assert_eq!(text.parse::<Key>(), Err(KeyError(text.to_owned())));
        }
    }
}
