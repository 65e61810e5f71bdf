//! What rewrites logs instead of adding to them: writeconf, and the `lctl` commands on logs.
//!
//! Everything but [`Draft::del_ost`] and [`Draft::deactivate_for_good`] gives records new indices: no node may be connected.
//! Source: config-log specification, sections 6.10 and 6.11.

use lustre_types::{FsName, Nid, SvName, TargetKind};
use lustre_wire::llog::{LustreCfg, command as c};

use crate::configlog::param::{Device, ParamError};
use crate::configlog::{ConfigLog, Draft, DraftError, Section, TargetInfo, commands, names};

impl Draft {
    /// Writes the logs of a target anew, as a target asks that comes with a writeconf: the first MDT's removes every log of
    /// the file system first, any other target's its own. Errors: a log that is full.
    pub fn writeconf(&mut self, target: &TargetInfo) -> Result<(), DraftError> {
        let svname = &target.svname;
        if svname.kind() == TargetKind::Mdt && svname.index().is_some_and(|index| index.get() == 0) {
            self.erase_all();
        }
        self.register(target)
    }

    /// Removes every log of the file system but that of its security rules.
    pub fn erase_all(&mut self) {
        let names: Vec<String> = self.logs().iter().map(|log| log.name().to_owned()).collect();
        for name in names.iter().filter(|name| !name.ends_with("-sptlrpc")) {
            self.erase(name);
        }
    }

    /// `lctl del_ost`: new nodes don't hear of the OST any more. Nodes that have it keep it: deactivate it first.
    ///
    /// The records that name it lose their bits in the client's log and in those of the MDTs; markers, NIDs and what is
    /// skipped keep theirs. Its own log stays.
    pub fn del_ost(&mut self, ost: &SvName) {
        for (log, device) in self.logs_with_device(ost) {
            let indices = self.log(&log).map(|log| naming(log, ost, &device, |_| true)).unwrap_or_default();
            self.clear(&log, indices);
        }
    }

    /// Takes a target out of the configuration for good: nodes that have it are told that it is inactive, nodes that come
    /// don't hear of it. What tells the former stays in the logs: the latter warn that they have no such device.
    /// Its own log is removed. Errors: a log that is full.
    pub fn deactivate_for_good(&mut self, svname: &SvName) -> Result<(), DraftError> {
        let key = match svname.kind() {
            TargetKind::Ost => "osc.active",
            _ => "mdc.active",
        };
        // That the first MDT can't be inactive is no reason to keep it: who takes it out ends the file system.
        if let Err(ParamError::Draft(err)) = self.conf_param(&Device::Target(svname.clone()), key, "0") {
            return Err(err);
        }
        for (log, device) in self.logs_with_device(svname) {
            let keep = |section: &Section| section.comment != key && section.comment != "osp.active";
            let indices = self.log(&log).map(|log| naming(log, svname, &device, keep)).unwrap_or_default();
            self.clear(&log, indices);
        }
        self.erase(&svname.to_string());
        Ok(())
    }

    /// `lctl clear_conf`: writes every log without what is skipped or gone. Errors: a log that is full.
    pub fn clear_conf(&mut self) -> Result<(), DraftError> {
        let names: Vec<String> = self.logs().iter().map(|log| log.name().to_owned()).collect();
        names.iter().try_for_each(|log| self.rewrite(log, Some))
    }

    /// `lctl replace_nids`: writes the client's log and those of the MDTs with other NIDs for a target, in their first node
    /// and in partner nodes, without its later partner nodes and without what is skipped. Errors: a log that is full.
    pub fn replace_nids(&mut self, svname: &SvName, nodes: &[Vec<Nid>]) -> Result<(), DraftError> {
        let Some(fsname) = svname.fsname() else { return Ok(()) };
        let (name, Some((first, partners))) = (svname.to_string(), nodes.split_first()) else { return Ok(()) };
        let logs: Vec<String> =
            std::iter::once(names::client(fsname)).chain(self.mdts(fsname).iter().map(SvName::to_string)).collect();
        for log in logs {
            self.rewrite(&log, |mut section| {
                if section.target != name {
                    return Some(section);
                }
                match section.comment.as_str() {
                    "add failnid" => return None,
                    "add osc" | "add mdc" | "add osp" => section.records = with_nids(&section.records, first, partners),
                    _ => {}
                }
                Some(section)
            })?;
        }
        Ok(())
    }

    /// Copies what another file system's logs say, under the name of this one (`lctl fork_lcfg`). Errors: a log that is full.
    pub fn fork(&mut self, from: &FsName, logs: &[&ConfigLog], to: &FsName) -> Result<(), DraftError> {
        for log in logs {
            let name = renamed(log.name(), from, to);
            for placed in log.sections() {
                let live = placed.commands().filter(|(index, _)| log.is_live(*index));
                let section = Section {
                    target: renamed(&placed.section.target, from, to),
                    comment: placed.section.comment.clone(),
                    records: live.map(|(_, cfg)| forked(cfg, from, to)).collect(),
                    ..placed.section.clone()
                };
                self.append_section(&name, section)?;
            }
        }
        Ok(())
    }

    /// Writes a log anew with the sections that count, as `change` makes them; live records only.
    fn rewrite(&mut self, name: &str, change: impl Fn(Section) -> Option<Section>) -> Result<(), DraftError> {
        let Some(log) = self.log(name) else { return Ok(()) };
        let mut sections = Vec::new();
        for placed in log.sections().iter().filter(|placed| !placed.section.is_skipped()) {
            let live = placed.commands().filter(|(index, _)| log.is_live(*index));
            let records = live.map(|(_, cfg)| cfg.clone()).collect();
            sections.extend(change(Section { records, ..placed.section.clone() }));
        }
        self.erase(name);
        sections.into_iter().try_for_each(|section| self.append_section(name, section))
    }
}

/// The live records of valid sections that `keep` allows to go and that name a target, by its device or UUID.
fn naming(log: &ConfigLog, svname: &SvName, device: &str, goes: impl Fn(&Section) -> bool) -> Vec<u32> {
    let uuid = names::uuid(svname);
    let names_it = |cfg: &LustreCfg| {
        cfg.command != c::ADD_UUID
            && (cfg.text(0) == device || cfg.bufs.iter().skip(1).enumerate().any(|(at, _)| cfg.text(at + 1) == uuid))
    };
    let sections = log.sections().iter().filter(|placed| !placed.section.is_skipped() && goes(&placed.section));
    let commands = sections.flat_map(|placed| placed.commands());
    commands.filter(|(index, cfg)| log.is_live(*index) && names_it(cfg)).map(|(index, _)| index).collect()
}

/// A target's section with other nodes in it.
fn with_nids(records: &[LustreCfg], first: &[Nid], partners: &[Vec<Nid>]) -> Vec<LustreCfg> {
    let mut replaced = commands::add_uuids(first);
    let node = first.first().map(names::node).unwrap_or_default();
    for cfg in records {
        match cfg.command {
            c::ADD_UUID | c::ADD_CONN => {}
            c::SETUP => {
                let device = cfg.text(0).into_owned();
                replaced.push(commands::setup(&device, &[&cfg.text(1), &node]));
                replaced.extend(commands::failover(&device, partners));
            }
            _ => replaced.push(cfg.clone()),
        }
    }
    replaced
}

fn renamed(text: &str, from: &FsName, to: &FsName) -> String {
    match text.strip_prefix(from.as_str()) {
        Some("") => to.to_string(),
        Some(rest) if rest.starts_with('-') => format!("{to}{rest}"),
        _ => text.to_owned(),
    }
}

/// A command with one file system's name in the place of another's, in texts and in the UUID of a `lov_desc`.
fn forked(cfg: &LustreCfg, from: &FsName, to: &FsName) -> LustreCfg {
    /// Where `struct lov_desc` and `struct lmv_desc` have their UUID.
    const UUID: usize = 48;
    let bufs = cfg.bufs.iter().map(|buf| {
        let is_desc = buf.len() == 88 && buf[..UUID].contains(&0);
        let (head, text) = buf.split_at(if is_desc { UUID } else { 0 });
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let Ok(name) = core::str::from_utf8(&text[..end]) else { return buf.clone() };
        let mut bytes = [head, renamed(name, from, to).as_bytes(), &text[end..]].concat();
        if is_desc {
            bytes.resize(88, 0);
        }
        bytes
    });
    LustreCfg { bufs: bufs.collect(), ..cfg.clone() }
}
