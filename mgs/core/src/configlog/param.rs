//! Tunables in the logs: `lctl conf_param` in the logs of those concerned, `lctl set_param -P` in `params`.
//!
//! Source: config-log specification, sections 6.5 to 6.7.

use lustre_types::{FsName, Nid, NidList, SvName, TargetKind};
use lustre_wire::llog::{LustreCfg, command as c};
use thiserror::Error;

use crate::configlog::{ConfigLog, Draft, DraftError, Section, commands, names};

/// The parameter that names partner nodes.
pub const FAILOVER_NODE: &str = "failover.node";
/// Parameters that a node keeps for itself.
const LOCAL: [&str; 3] = ["mgsnode", "network", "autodegrade"];
/// Settings of every node that are numbers, besides the timeouts.
const SYS_NUMBERS: [&str; 5] = ["at_min", "at_max", "at_extra", "at_early_margin", "at_history"];
/// Parameters whose values add up: each has a section of its own.
const COMPOUND: [&str; 3] = ["nrs_tbf_rule", "pcc", "wbc"];
/// Most bytes of `key=value`.
const MAX_TEXT: usize = 4095;

/// Whom a parameter concerns: what stands before its name in `lctl conf_param`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A whole file system.
    Filesystem(FsName),
    /// One target.
    Target(SvName),
}

/// What setting a parameter came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Logs changed.
    Written,
    /// It had that value already.
    Unchanged,
    /// No node reads such a parameter from a config log.
    Ignored,
}

/// Why a parameter can't be set or unset.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParamError {
    /// It can't be written.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The file system has no configuration yet.
    #[error("file system {0} has no target yet, so there is no configuration to set {1} in")]
    NoFilesystem(FsName, String),
    /// The target has no configuration yet.
    #[error("target {0} is not registered, so there is no configuration to set {1} in")]
    NoTarget(SvName, String),
    /// It can't be changed.
    #[error("{0} can't be set like this: {1}")]
    Denied(String, &'static str),
    /// The value is none.
    #[error("{0} is not a value of {1}: {2}")]
    Value(String, String, &'static str),
    /// It is not set.
    #[error("{0} is not set")]
    NotSet(String),
}

impl Device {
    /// The file system; `None` for an MGT.
    fn fsname(&self) -> Option<&FsName> {
        match self {
            Self::Filesystem(fsname) => Some(fsname),
            Self::Target(svname) => svname.fsname(),
        }
    }

    fn target(&self, kind: TargetKind) -> Option<&SvName> {
        match self {
            Self::Target(svname) if svname.kind() == kind => Some(svname),
            _ => None,
        }
    }
}

/// One log's section for a parameter.
struct Place {
    log: String,
    target: String,
    key: String,
    record: LustreCfg,
}

impl Draft {
    /// Sets a parameter as `lctl conf_param <device>.<key>=<value>`; an empty value unsets it.
    ///
    /// A value that is set already writes nothing. Errors: [`ParamError`].
    pub fn conf_param(&mut self, device: &Device, key: &str, value: &str) -> Result<Outcome, ParamError> {
        if value.is_empty() {
            return self.conf_param_delete(device, key);
        }
        self.check(device, key, value)?;
        if key == FAILOVER_NODE {
            return self.add_failover(device, value);
        }
        self.exclude_inactive(device, key, value)?;
        let places = self.places(device, key, value)?;
        if places.is_empty() {
            return Ok(Outcome::Ignored);
        }
        let mut outcome = Outcome::Unchanged;
        for place in places {
            if self.set(place)? {
                outcome = Outcome::Written;
            }
        }
        Ok(outcome)
    }

    /// Unsets a parameter as `lctl conf_param -d`. Errors: it is not set.
    pub fn conf_param_delete(&mut self, device: &Device, key: &str) -> Result<Outcome, ParamError> {
        self.check(device, key, "")?;
        let mut found = 0;
        if key == FAILOVER_NODE {
            let Device::Target(svname) = device else { return Ok(Outcome::Ignored) };
            for log in self.logs_with_device(svname) {
                found += self.skip(&log.0, &svname.to_string(), "add failnid");
            }
        } else {
            self.exclude_inactive(device, key, "1")?;
            for place in self.places(device, key, "")? {
                found += self.skip(&place.log, &place.target, &place.key);
            }
        }
        if found == 0 { Err(ParamError::NotSet(key.to_owned())) } else { Ok(Outcome::Written) }
    }

    /// Sets a parameter as `lctl set_param -P <path>=<value>` in the log `params`; an empty value unsets it.
    ///
    /// `target` is what the section is about: a file system that the path names, or `general`; a path that is set keeps
    /// the one that it has. Errors: [`ParamError`].
    pub fn set_param(&mut self, target: &str, path: &str, value: &str) -> Result<Outcome, ParamError> {
        let text = format!("{path}={value}");
        if text.len() > MAX_TEXT {
            return Err(ParamError::Value(value.to_owned(), path.to_owned(), "name and value have 4095 bytes at most"));
        }
        let is_it = |section: &Section| !section.is_skipped() && section.comment == path;
        let sections = self.log(names::PARAMS).map(ConfigLog::sections).unwrap_or_default();
        let known = sections.iter().map(|placed| &placed.section).find(|section| is_it(section));
        let target = &known.map_or_else(|| target.to_owned(), |section| section.target.clone());
        if value.is_empty() {
            return match self.skip(names::PARAMS, target, path) {
                0 => Err(ParamError::NotSet(path.to_owned())),
                _ => Ok(Outcome::Written),
            };
        }
        let record = commands::set_param(target, &text);
        let place = Place { log: names::PARAMS.into(), target: target.into(), key: path.into(), record };
        Ok(if self.set(place)? { Outcome::Written } else { Outcome::Unchanged })
    }

    /// Writes one section unless its value stands there already.
    fn set(&mut self, place: Place) -> Result<bool, DraftError> {
        let Place { log, target, key, record } = place;
        let is_compound = key.rsplit('.').next().is_some_and(|last| COMPOUND.contains(&last));
        if let Some(known) = self.log(&log) {
            let mut live = known.live(&target, &key);
            if live.any(|placed| placed.section.records == [record.clone()]) {
                return Ok(false);
            }
        }
        if !is_compound {
            self.skip(&log, &target, &key);
        }
        self.append(&log, &target, &key, vec![record])?;
        Ok(true)
    }

    fn check(&self, device: &Device, key: &str, value: &str) -> Result<(), ParamError> {
        let Some(fsname) = device.fsname() else {
            return Err(ParamError::Denied(key.to_owned(), "an MGT has no config log"));
        };
        if self.log(&names::client(fsname)).is_none() {
            return Err(ParamError::NoFilesystem(fsname.clone(), key.to_owned()));
        }
        if key.len() + value.len() + 1 > MAX_TEXT {
            return Err(ParamError::Value(value.to_owned(), key.to_owned(), "name and value have 4095 bytes at most"));
        }
        match key {
            "failover.mode" => Err(ParamError::Denied(key.to_owned(), "it is chosen when the target is formatted")),
            "llite.root_squash" | "llite.nosquash_nids" => {
                Err(ParamError::Denied(key.to_owned(), "set mdt.root_squash or mdt.nosquash_nids of the file system"))
            }
            "mdt.root_squash" | "mdt.nosquash_nids" if matches!(device, Device::Target(_)) => {
                Err(ParamError::Denied(key.to_owned(), "it is of the whole file system, not of one MDT"))
            }
            "mdc.active" if device.target(TargetKind::Mdt).is_some_and(is_first) => {
                Err(ParamError::Denied(key.to_owned(), "the first MDT can't be deactivated"))
            }
            _ => Ok(()),
        }
    }

    /// The sections of a parameter, in the order in which they are written. Empty where no log takes it.
    fn places(&self, device: &Device, key: &str, value: &str) -> Result<Vec<Place>, ParamError> {
        let Some(fsname) = device.fsname() else { return Ok(Vec::new()) };
        let (layer, name) = key.split_once('.').unwrap_or((key, ""));
        if LOCAL.contains(&layer) {
            return Ok(Vec::new());
        }
        let text = format!("{key}={value}");
        let place = |log: &str, target: &str| Place {
            log: log.to_owned(),
            target: target.to_owned(),
            key: key.to_owned(),
            record: commands::param(target, &text),
        };
        let client = names::client(fsname);
        let mdts = self.mdts(fsname);
        Ok(match (layer, device) {
            ("srpc", _) => {
                let who = match device {
                    Device::Filesystem(fsname) => fsname.to_string(),
                    Device::Target(svname) => svname.to_string(),
                };
                let record = LustreCfg::texts(c::SPTLRPC_CONF, &[&who, &text]);
                vec![Place { log: format!("{fsname}-sptlrpc"), target: who, key: key.to_owned(), record }]
            }
            ("sys", _) => {
                let record = sys(name, value, &text)?;
                let place =
                    |log| Place { log, target: fsname.to_string(), key: key.to_owned(), record: record.clone() };
                self.every_log(fsname).into_iter().map(place).collect()
            }
            ("quota", _) => {
                if !value.is_empty() && value != "none" && !value.contains(['u', 'g', 'p']) {
                    let why = "letters u, g and p for users, groups and projects, or none";
                    return Err(ParamError::Value(value.to_owned(), key.to_owned(), why));
                }
                let logs = self.every_log(fsname).into_iter().filter(|log| *log != client);
                logs.map(|log| place(&log, fsname.as_str())).collect()
            }
            ("lov", Device::Target(mdt)) if mdt.kind() == TargetKind::Mdt => {
                self.own_log(mdt, key)?;
                vec![place(&mdt.to_string(), &names::mdtlov(mdt)), place(&client, &names::clilov(fsname))]
            }
            ("osc", Device::Target(ost)) if ost.kind() == TargetKind::Ost => {
                let of_mdt = |mdt: &SvName| place(&mdt.to_string(), &names::mdt_device(ost, mdt));
                let first = place(&client, &names::client_device(ost));
                std::iter::once(first).chain(mdts.iter().map(of_mdt)).collect()
            }
            ("mdc", Device::Target(mdt)) if mdt.kind() == TargetKind::Mdt => {
                let mut places = vec![place(&client, &names::client_device(mdt))];
                if name == "active" {
                    for other in mdts.iter().filter(|other| *other != mdt) {
                        places.extend(osp_active(mdt, other, value));
                    }
                }
                places
            }
            ("llite", Device::Filesystem(_)) => vec![place(&client, &client)],
            ("mdt", Device::Filesystem(_)) => {
                let mut places: Vec<Place> = mdts.iter().map(|mdt| place(&mdt.to_string(), &mdt.to_string())).collect();
                if matches!(name, "root_squash" | "nosquash_nids") {
                    let key = format!("llite.{name}");
                    let record = commands::param(&client, &format!("{key}={value}"));
                    places.push(Place { log: client.clone(), target: client, key, record });
                }
                places
            }
            ("mdt" | "mdd" | "lod" | "ost" | "osd", Device::Target(svname)) => {
                self.own_log(svname, key)?;
                vec![place(&svname.to_string(), &svname.to_string())]
            }
            _ => Vec::new(),
        })
    }

    fn own_log(&self, svname: &SvName, key: &str) -> Result<(), ParamError> {
        match self.log(&svname.to_string()) {
            Some(_) => Ok(()),
            None => Err(ParamError::NoTarget(svname.clone(), key.to_owned())),
        }
    }

    /// Every log of a file system but that of its security rules: MDTs, client, OSTs.
    fn every_log(&self, fsname: &FsName) -> Vec<String> {
        let client = names::client(fsname);
        let of = |kind| {
            let named = self.logs().iter().filter_map(|log| log.name().parse::<SvName>().ok());
            named.filter(move |svname| svname.kind() == kind).map(|svname| svname.to_string())
        };
        of(TargetKind::Mdt).chain([client]).chain(of(TargetKind::Ost)).collect()
    }

    /// The logs with a device for a target, and the device: the client's, then those of the MDTs but its own.
    pub(super) fn logs_with_device(&self, svname: &SvName) -> Vec<(String, String)> {
        let Some(fsname) = svname.fsname() else { return Vec::new() };
        let mdts = self.mdts(fsname).into_iter().filter(|mdt| mdt != svname);
        let of_mdt = |mdt: SvName| (mdt.to_string(), names::mdt_device(svname, &mdt));
        std::iter::once((names::client(fsname), names::client_device(svname))).chain(mdts.map(of_mdt)).collect()
    }

    /// `failover.node` of a target that is registered: more connections for those that have a device for it.
    fn add_failover(&mut self, device: &Device, value: &str) -> Result<Outcome, ParamError> {
        let Device::Target(svname) = device else { return Ok(Outcome::Ignored) };
        let bad = |_| ParamError::Value(value.to_owned(), FAILOVER_NODE.to_owned(), "write NIDs as in 10.0.0.1@tcp");
        let nodes: Vec<Vec<Nid>> = value.parse::<NidList>().map_err(bad)?.nodes().to_vec();
        let mut outcome = Outcome::Unchanged;
        for (log, device) in self.logs_with_device(svname) {
            if self.log(&log).is_none() {
                continue;
            }
            let records = commands::failover(&device, &nodes);
            let name = svname.to_string();
            let is_known = self
                .log(&log)
                .is_some_and(|log| log.live(&name, "add failnid").any(|placed| placed.section.records == records));
            if !is_known {
                self.append(&log, &name, "add failnid", records)?;
                outcome = Outcome::Written;
            }
        }
        Ok(outcome)
    }

    /// Marks the sections of a target that is deactivated, or takes that back.
    fn exclude_inactive(&mut self, device: &Device, key: &str, value: &str) -> Result<(), ParamError> {
        let (kind, own, others) = match key {
            "osc.active" => (TargetKind::Ost, "add osc", "add osc"),
            "mdc.active" => (TargetKind::Mdt, "add mdc", "add osp"),
            _ => return Ok(()),
        };
        let Some(svname) = device.target(kind) else { return Ok(()) };
        let (name, is_inactive) = (svname.to_string(), value == "0");
        for (at, (log, _)) in self.logs_with_device(svname).into_iter().enumerate() {
            self.exclude(&log, &name, if at == 0 { own } else { others }, is_inactive);
        }
        Ok(())
    }
}

fn is_first(mdt: &SvName) -> bool {
    mdt.index().is_some_and(|index| index.get() == 0)
}

/// The record of a setting of every node. Errors: no such setting, a value that is no number.
fn sys(name: &str, value: &str, text: &str) -> Result<LustreCfg, ParamError> {
    let key = || format!("sys.{name}");
    let number = || match value {
        "" => Ok(0),
        value => number(value).ok_or_else(|| ParamError::Value(value.to_owned(), key(), "a number is needed")),
    };
    Ok(match name {
        "timeout" => LustreCfg { num: number()?, ..LustreCfg::texts(c::SET_TIMEOUT, &["", text]) },
        "ldlm_timeout" => LustreCfg { num: number()?, ..LustreCfg::texts(c::SET_LDLM_TIMEOUT, &["", text]) },
        "jobid_var" => LustreCfg::texts(c::PARAM, &["", text, value]),
        name if SYS_NUMBERS.contains(&name) => LustreCfg { num: number()?, ..LustreCfg::texts(c::PARAM, &["", text]) },
        _ => return Err(ParamError::Denied(key(), "there is no such setting of all nodes")),
    })
}

/// Decimal, `0x` hex or `0` octal, as the kernel reads numbers.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// What else says to an MDT that another one is inactive.
fn osp_active(mdt: &SvName, owner: &SvName, value: &str) -> [Place; 2] {
    let (osp, lov, log) = (names::mdt_device(mdt, owner), names::mdtlov(owner), owner.to_string());
    let key = format!("{osp}.active");
    let of_lov = commands::param(&lov, &format!("{key}={value}"));
    let of_osp = commands::param(&osp, &format!("osp.active={value}"));
    [
        Place { log: log.clone(), target: osp, key: "osp.active".into(), record: of_osp },
        Place { log, target: lov, key, record: of_lov },
    ]
}
