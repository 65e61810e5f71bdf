//! What an MGS has: its logs read and understood. Source: config-log specification, sections 5 to 8.

use crate::{client::Mgc, error::MgcError, nodemap::Nodemaps};
use lustre_types::FsName;
use lustre_wire::{
    llog::{LogFile, LustreCfg, command, nid8_text},
    lnet::WireNid,
    mgs::{NidTableEntry, RawNids},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What an MGS has of some file systems, and beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// NID of the MGS that was read.
    pub mgs: String,
    /// Lustre version of the MGS, as in `2.17.57.62`.
    pub version: String,
    /// The file systems that were asked for, by name.
    pub filesystems: BTreeMap<String, Filesystem>,
    /// Parameters of all file systems (`lctl set_param -P`), in the order in which nodes apply them.
    pub params: Vec<Param>,
    /// Nothing if the MGS has none, or doesn't show them to clients.
    pub nodemaps: Option<Nodemaps>,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// Targets by name.
    pub targets: BTreeMap<String, TargetContents>,
    /// Names of the OSTs of each pool.
    pub pools: BTreeMap<String, BTreeSet<String>>,
    /// Parameters (`lctl conf_param`) in all logs, in the order in which nodes apply them.
    pub params: Vec<Param>,
    /// Version of the table of running targets; it grows with each start of one.
    pub nid_table_version: Option<u64>,
    /// Config logs that were read, with the number of their records that count.
    pub logs: BTreeMap<String, u32>,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetContents {
    /// `MDT` or `OST`.
    pub kind: String,
    /// Its index.
    pub index: u32,
    /// NIDs of the node that it was registered from.
    pub nids: Vec<String>,
    /// NIDs of each other node that may serve it.
    pub failover: Vec<Vec<String>>,
    /// False if clients are told not to use it (`osc.active=0`).
    pub is_active: bool,
    /// Where it has said that it runs, since the MGS started.
    pub running_at: Vec<String>,
    /// For the how manieth time it is mounted; nothing if it hasn't said that it runs.
    pub instance: Option<u32>,
}

/// A parameter, where it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Param {
    /// The log that says so.
    pub log: String,
    /// Whom it concerns: a device, a target or a file system, as the log names it; empty for everyone.
    pub device: String,
    /// Its name, as in `osc.max_dirty_mb`.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Mgc {
    /// Reads everything that the MGS has of these file systems, and beside them. The names of its file systems can't be
    /// asked for over the network: they have to be known.
    ///
    /// Errors: one of them is unknown there; the MGS isn't there, or has a damaged log.
    pub async fn contents(&self, fsnames: &[FsName]) -> Result<Contents, MgcError> {
        let version = self.granted().version.to_be_bytes().map(|part| part.to_string()).join(".");
        let mut contents = Contents { mgs: self.mgs(), version, ..Contents::default() };
        if let Some(log) = self.log("params").await? {
            contents.params = params_of("params", &log);
        }
        // A refusal is an answer too: clients may not be meant to see them.
        contents.nodemaps = match self.nodemaps().await {
            Err(MgcError::Refused { .. }) => None,
            nodemaps => nodemaps?,
        };
        for fsname in fsnames {
            let filesystem = self.filesystem(fsname).await?;
            contents.filesystems.insert(fsname.to_string(), filesystem);
        }
        Ok(contents)
    }

    async fn filesystem(&self, fsname: &FsName) -> Result<Filesystem, MgcError> {
        let name = format!("{fsname}-client");
        let log = self.log(&name).await?.filter(|log| log.header.last_index > 0);
        let log = log.ok_or_else(|| MgcError::Name(format!("the MGS {} has no file system {fsname}", self.mgs())))?;
        let mut filesystem = Filesystem::of_client_log(&name, &log);
        for log in filesystem.targets.keys().cloned().collect::<Vec<_>>() {
            if let Some(read) = self.log(&log).await? {
                filesystem.params.extend(params_of(&log, &read));
                filesystem.count(&log, &read);
            }
        }
        let rules = format!("{fsname}-sptlrpc");
        if let Some(read) = self.log(&rules).await? {
            filesystem.params.extend(params_of(&rules, &read));
            filesystem.count(&rules, &read);
        }
        if let Some((entries, version)) = self.nid_table(fsname, 1).await? {
            filesystem.nid_table_version = Some(version);
            for entry in &entries {
                filesystem.is_running(fsname, entry);
            }
        }
        Ok(filesystem)
    }
}

impl Filesystem {
    /// What the log of clients says.
    pub fn of_client_log(name: &str, log: &LogFile) -> Self {
        let mut filesystem = Self { params: params_of(name, log), ..Self::default() };
        filesystem.count(name, log);
        // Nodes are names for NIDs; devices are set up with a node and get further ones.
        let mut nids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut svnames: BTreeMap<String, String> = BTreeMap::new();
        for (_, _, cfg) in log.effective() {
            let text = |at| cfg.text(at).into_owned();
            let svname = |at| cfg.text(at).trim_end_matches("_UUID").to_owned();
            match cfg.command {
                command::ADD_UUID => {
                    let nid = if cfg.bufs.len() > 2 { text(2) } else { nid8_text(cfg.nid) };
                    push_new(nids.entry(text(1)).or_default(), nid);
                }
                command::SETUP if cfg.bufs.len() > 2 => {
                    nodes.entry(text(0)).or_default().insert(0, text(2));
                    svnames.insert(text(0), svname(1));
                }
                command::ADD_CONN => push_new(nodes.entry(text(0)).or_default(), text(1)),
                command::LOV_ADD_OBD | command::LOV_ADD_INA => {
                    filesystem.add(svname(1), "OST", &text(2), cfg.command == command::LOV_ADD_OBD);
                }
                command::ADD_MDC => filesystem.add(svname(1), "MDT", &text(2), true),
                command::POOL_NEW => {
                    filesystem.pools.entry(text(2)).or_default();
                }
                command::POOL_DEL => {
                    filesystem.pools.remove(&text(2));
                }
                command::POOL_ADD => {
                    filesystem.pools.entry(text(2)).or_default().insert(svname(3));
                }
                command::POOL_REM => {
                    filesystem.pools.entry(text(2)).or_default().remove(&svname(3));
                }
                command::PARAM => {
                    if let (Some(active), Some(target)) = (active_of(&cfg), svnames.get(&text(0)))
                        && let Some(target) = filesystem.targets.get_mut(target)
                    {
                        target.is_active = active;
                    }
                }
                _ => {}
            }
        }
        for (device, svname) in &svnames {
            let Some(target) = filesystem.targets.get_mut(svname) else { continue };
            let of_node = |node: &String| nids.get(node).cloned().unwrap_or_else(|| vec![node.clone()]);
            let mut all = nodes.get(device).into_iter().flatten().map(of_node);
            target.nids = all.next().unwrap_or_default();
            target.failover = all.collect();
        }
        filesystem
    }

    fn add(&mut self, svname: String, kind: &str, index: &str, is_active: bool) {
        let index = index.parse().unwrap_or_default();
        let target = TargetContents { kind: kind.to_owned(), index, is_active, ..TargetContents::default() };
        self.targets.insert(svname, target);
    }

    fn count(&mut self, name: &str, log: &LogFile) {
        self.logs.insert(name.to_owned(), u32::try_from(log.live().count()).unwrap_or(u32::MAX));
    }

    fn is_running(&mut self, fsname: &FsName, entry: &NidTableEntry) {
        let kind = if entry.kind == 1 { "MDT" } else { "OST" };
        let Some(target) = self.targets.get_mut(&format!("{fsname}-{kind}{:04x}", entry.index)) else { return };
        target.instance = Some(entry.instance);
        target.running_at = match &entry.nids {
            RawNids::Small(nids) => nids.iter().map(|nid| WireNid::from_classic(*nid).to_string()).collect(),
            RawNids::Large(nids) => nids.iter().map(|nid| WireNid::from_large(*nid).to_string()).collect(),
        };
    }
}

fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// What `osc.active=` or `mdc.active=` says, if the record does.
fn active_of(cfg: &LustreCfg) -> Option<bool> {
    let text = cfg.text(1);
    let (name, value) = text.split_once('=')?;
    name.ends_with(".active").then_some(value != "0")
}

fn params_of(log_name: &str, log: &LogFile) -> Vec<Param> {
    let mut params: Vec<Param> = Vec::new();
    for (_, _, cfg) in log.effective() {
        let is_param = matches!(
            cfg.command,
            command::PARAM
                | command::SET_PARAM
                | command::SET_TIMEOUT
                | command::SET_LDLM_TIMEOUT
                | command::SPTLRPC_CONF
        );
        if !is_param {
            continue;
        }
        let text = cfg.text(1);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let device = cfg.text(0).into_owned();
        params.push(Param { log: log_name.to_owned(), device, name: name.to_owned(), value: value.to_owned() });
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_wire::llog::Marker;
    use lustre_wire::llog::MarkerFlags;

    fn log(sections: &[(MarkerFlags, &[LustreCfg])]) -> LogFile {
        let mut log = LogFile::new(1);
        for (flags, records) in sections {
            let marker = |end| Marker::new(1, *flags | end, 1, 1, "gold", "test").unwrap().cfg();
            log.append(&marker(MarkerFlags::START)).unwrap();
            for record in *records {
                log.append(record).unwrap();
            }
            log.append(&marker(MarkerFlags::END)).unwrap();
        }
        log
    }

    fn add_uuid(nid: &str) -> LustreCfg {
        let nid8 = WireNid::from(&nid.parse::<lustre_types::Nid>().unwrap()).classic().unwrap();
        LustreCfg { nid: nid8, ..LustreCfg::texts(command::ADD_UUID, &["", nid]) }
    }

    #[test]
    fn a_target_has_its_nodes_and_a_pool_what_is_left_in_it() {
        let texts = LustreCfg::texts;
        let none = MarkerFlags::default();
        let log = log(&[
            (
                none,
                &[
                    add_uuid("10.9.0.2@tcp"),
                    texts(command::ATTACH, &["gold-OST001f-osc", "osc", "gold-clilov_UUID"]),
                    texts(command::SETUP, &["gold-OST001f-osc", "gold-OST001f_UUID", "10.9.0.2@tcp"]),
                    add_uuid("10.9.0.3@tcp"),
                    texts(command::ADD_CONN, &["gold-OST001f-osc", "10.9.0.3@tcp"]),
                    texts(command::LOV_ADD_OBD, &["gold-clilov", "gold-OST001f_UUID", "31", "1"]),
                ],
            ),
            (none, &[texts(command::POOL_NEW, &["gold-clilov", "gold", "p1"])]),
            (none, &[texts(command::POOL_ADD, &["gold-clilov", "gold", "p1", "gold-OST001f_UUID"])]),
            (MarkerFlags::SKIP, &[texts(command::PARAM, &["gold-client", "llite.max_read_ahead_mb=16"])]),
            (none, &[texts(command::PARAM, &["gold-OST001f-osc", "osc.active=0"])]),
        ]);
        let filesystem = Filesystem::of_client_log("gold-client", &log);
        let target = &filesystem.targets["gold-OST001f"];
        assert_eq!((target.kind.as_str(), target.index, target.is_active), ("OST", 31, false));
        assert_eq!(target.nids, ["10.9.0.2@tcp"]);
        assert_eq!(target.failover, [["10.9.0.3@tcp"]]);
        assert_eq!(filesystem.pools["p1"], BTreeSet::from(["gold-OST001f".to_owned()]));
        let params: Vec<&str> = filesystem.params.iter().map(|param| param.name.as_str()).collect();
        assert_eq!(params, ["osc.active"], "a skipped section counts for nothing");
    }
}
