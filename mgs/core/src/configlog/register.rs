//! What a registration writes: of the first MDT, further MDTs, and OSTs in any order.
//!
//! Source: config-log specification, sections 6.1 to 6.5 and 6.10.

use lustre_types::{FsName, Nid, NidList, SvName, TargetKind};
use lustre_wire::llog::{LustreCfg, MarkerFlags, command as c};

use crate::configlog::{Draft, DraftError, Section, commands, names, param};

/// A target as it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// Its name.
    pub svname: SvName,
    /// Its NIDs in the order in which it sent them; the first names its node.
    pub nids: Vec<Nid>,
    /// Its parameters (`mti_params`), in order, as key and value.
    pub params: Vec<(String, String)>,
}

impl TargetInfo {
    /// The nodes of its `failover.node` parameters. What is no NID list is left out.
    fn failover_nodes(&self) -> Vec<Vec<Nid>> {
        let lists = self.params.iter().filter(|(key, _)| key == param::FAILOVER_NODE);
        lists.filter_map(|(_, value)| value.parse::<NidList>().ok()).flat_map(|list| list.nodes().to_vec()).collect()
    }

    /// What a failed target does to its clients: `n` makes them give up, `f` wait.
    fn failover_mode(&self) -> &'static str {
        let mut modes = self.params.iter().filter(|(key, _)| key == "failover.mode");
        if modes.any(|(_, value)| value == "failout") { "n" } else { "f" }
    }
}

/// Comments of the sections that make devices: not copied as settings to a new MDT.
const STRUCTURE: [&str; 6] = ["add mdt", "lov setup", "add osp", "add osc", "add failnid", "add mdc"];

impl Draft {
    /// The MDTs of the file system that have a log, by index.
    pub fn mdts(&self, fsname: &FsName) -> Vec<SvName> {
        // A thousand OSTs have logs, too: their names are not worth parsing.
        let prefix = format!("{fsname}-MDT");
        let logs = self.logs().iter().filter(|log| log.name().starts_with(&prefix));
        let names = logs.filter_map(|log| log.name().parse::<SvName>().ok());
        names.filter(|name| name.kind() == TargetKind::Mdt && name.fsname() == Some(fsname)).collect()
    }

    /// Whether the configuration has the target: its index is in use.
    pub fn has_target(&self, svname: &SvName) -> bool {
        let Some(fsname) = svname.fsname() else { return false };
        let comment = match svname.kind() {
            TargetKind::Ost => "add osc",
            _ => "add mdc",
        };
        let Some(log) = self.log(&names::client(fsname)) else { return false };
        let name = svname.to_string();
        // What `lctl del_ost` left of a section makes no device any more.
        let makes_device =
            |(index, cfg): (u32, &LustreCfg)| matches!(cfg.command, c::LOV_ADD_OBD | c::ADD_MDC) && log.is_live(index);
        log.live(&name, comment).any(|placed| placed.commands().any(makes_device))
    }

    /// Writes the logs of a target that registers: everything where its index is new.
    ///
    /// Where the index is in use, only its own log is written, and for an OST sections that readers skip, as a kernel MGS
    /// does when a known target comes with a writeconf: nothing changes for clients.
    /// Then its parameters are set, as by [`Draft::conf_param`]; ones that can't be are left out.
    /// Errors: a log that is full.
    pub fn register(&mut self, target: &TargetInfo) -> Result<(), DraftError> {
        let Some(fsname) = target.svname.fsname().cloned() else { return Ok(()) };
        let is_new = !self.has_target(&target.svname);
        if is_new {
            self.forget_inactive(&target.svname)?;
        }
        match target.svname.kind() {
            TargetKind::Ost => self.register_ost(&fsname, target, is_new)?,
            _ => self.register_mdt(&fsname, target, is_new)?,
        }
        for (key, value) in &target.params {
            if key != param::FAILOVER_NODE && key != "failover.mode" {
                self.registered_param(&target.svname, key, value)?;
            }
        }
        Ok(())
    }

    /// Takes in the parameters of a registered target that comes with others than before (tunefs).
    pub fn update(&mut self, target: &TargetInfo) -> Result<(), DraftError> {
        for (key, value) in &target.params {
            if key != "failover.mode" {
                self.registered_param(&target.svname, key, value)?;
            }
        }
        Ok(())
    }

    /// A target whose index was given up before is not inactive for that.
    fn forget_inactive(&mut self, svname: &SvName) -> Result<(), DraftError> {
        let key = match svname.kind() {
            TargetKind::Ost => "osc.active",
            _ => "mdc.active",
        };
        match self.conf_param_delete(&param::Device::Target(svname.clone()), key) {
            Err(param::ParamError::Draft(err)) => Err(err),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A parameter that can't be set must not keep a target from starting.
    fn registered_param(&mut self, svname: &SvName, key: &str, value: &str) -> Result<(), DraftError> {
        match self.conf_param(&param::Device::Target(svname.clone()), key, value) {
            Err(param::ParamError::Draft(err)) => Err(err),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn register_mdt(&mut self, fsname: &FsName, target: &TargetInfo, is_new: bool) -> Result<(), DraftError> {
        let mdt = &target.svname;
        let (own, lov) = (mdt.to_string(), names::mdtlov(mdt));
        self.erase(&own);
        let lov_setup = vec![commands::attach(&lov, "lov", &names::uuid(&lov)), commands::setup_lov(&lov)];
        self.append(&own, &lov, "lov setup", lov_setup)?;
        let values = [names::uuid(mdt), commands::decimal(mdt), lov.clone(), target.failover_mode().to_owned()];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let add_mdt = vec![
            commands::attach(&own, "mdt", &names::uuid(mdt)),
            commands::mount_options(&own, &lov, None),
            commands::setup(&own, &values),
        ];
        self.append(&own, &own, "add mdt", add_mdt)?;
        self.copy_from_client(fsname, mdt)?;
        self.copy_from_mdt(fsname, mdt)?;
        if !is_new {
            return Ok(());
        }
        self.client_setup(fsname)?;
        self.add_device(
            &names::client(fsname),
            target,
            "add mdc",
            0,
            &names::client_device(mdt),
            &names::clilmv(fsname),
        )?;
        for other in self.mdts(fsname).into_iter().filter(|other| other != mdt) {
            let device = names::mdt_device(mdt, &other);
            self.add_device(&other.to_string(), target, "add osp", 0, &device, &names::mdtlov(&other))?;
        }
        Ok(())
    }

    fn register_ost(&mut self, fsname: &FsName, target: &TargetInfo, is_new: bool) -> Result<(), DraftError> {
        let ost = &target.svname;
        let own = ost.to_string();
        self.erase(&own);
        let add_ost = vec![
            commands::attach(&own, "obdfilter", &names::uuid(ost)),
            commands::setup(&own, &["dev", "type", target.failover_mode()]),
        ];
        self.append(&own, &own, "add ost", add_ost)?;
        let flags = if is_new { 0 } else { MarkerFlags::SKIP.0 };
        // Those that come later copy from the client's log.
        for mdt in self.mdts(fsname) {
            let device = names::mdt_device(ost, &mdt);
            self.add_device(&mdt.to_string(), target, "add osc", flags, &device, &names::mdtlov(&mdt))?;
        }
        self.client_setup(fsname)?;
        self.add_device(
            &names::client(fsname),
            target,
            "add osc",
            flags,
            &names::client_device(ost),
            &names::clilov(fsname),
        )
    }

    /// What every client needs before its first device.
    fn client_setup(&mut self, fsname: &FsName) -> Result<(), DraftError> {
        let client = names::client(fsname);
        if self.log(&client).is_some() {
            return Ok(());
        }
        let (lov, lmv) = (names::clilov(fsname), names::clilmv(fsname));
        let lov_setup = vec![commands::attach(&lov, "lov", &names::uuid(&lov)), commands::setup_lov(&lov)];
        self.append(&client, &lov, "lov setup", lov_setup)?;
        let lmv_setup = vec![commands::attach(&lmv, "lmv", &names::uuid(&lmv)), commands::setup_lmv(&lmv)];
        self.append(&client, &lmv, "lmv setup", lmv_setup)?;
        self.append(&client, &client, "mount opts", vec![commands::mount_options(&client, &lov, Some(&lmv))])
    }

    /// The section that gives the owner of a log its device for a target.
    fn add_device(
        &mut self,
        log: &str,
        target: &TargetInfo,
        comment: &str,
        flags: u32,
        device: &str,
        parent: &str,
    ) -> Result<(), DraftError> {
        let svname = &target.svname;
        let kind = comment.strip_prefix("add ").unwrap_or(comment);
        let node = target.nids.first().map(names::node).unwrap_or_default();
        let mut records = commands::add_uuids(&target.nids);
        records.push(commands::attach(device, kind, &names::uuid(parent)));
        records.push(commands::setup(device, &[&names::uuid(svname), &node]));
        records.extend(commands::failover(device, &target.failover_nodes()));
        records.push(match svname.kind() {
            TargetKind::Ost => commands::add_osc(parent, svname),
            _ if comment == "add osp" => commands::add_osp(parent, svname),
            _ => commands::add_mdc(parent, svname),
        });
        // An older section that counts would make the device twice.
        if flags == 0 {
            self.skip(log, &svname.to_string(), comment);
        }
        self.append_flagged(log, &svname.to_string(), comment, flags, records)
    }

    /// The devices that a new MDT needs, from what the clients have.
    fn copy_from_client(&mut self, fsname: &FsName, mdt: &SvName) -> Result<(), DraftError> {
        let Some(client) = self.log(&names::client(fsname)) else { return Ok(()) };
        let lov = names::mdtlov(mdt);
        let mut copies = Vec::new();
        for placed in client.sections() {
            let section = &placed.section;
            let Ok(target) = section.target.parse::<SvName>() else { continue };
            let comment = match section.comment.as_str() {
                "add mdc" => "add osp",
                "add osc" => "add osc",
                "add failnid" => "add failnid",
                _ => continue,
            };
            if section.is_skipped() || target == *mdt {
                continue;
            }
            let device = names::mdt_device(&target, mdt);
            let live = placed.commands().filter(|(index, _)| client.is_live(*index));
            let records: Vec<LustreCfg> = live.filter_map(|(_, cfg)| for_mdt(cfg, &target, &device, &lov)).collect();
            copies.push((target.to_string(), comment, section.flags, section.canceled, records));
        }
        let own = mdt.to_string();
        for (target, comment, flags, canceled, records) in copies {
            let section = Section { flags, canceled, ..self.section(&target, comment, records) };
            self.append_section(&own, section)?;
        }
        Ok(())
    }

    /// What was set on the other MDTs: parameters, pools.
    fn copy_from_mdt(&mut self, fsname: &FsName, mdt: &SvName) -> Result<(), DraftError> {
        let Some(from) = self.mdts(fsname).into_iter().find(|other| other != mdt) else { return Ok(()) };
        let Some(log) = self.log(&from.to_string()) else { return Ok(()) };
        let mut copies = Vec::new();
        for placed in log.sections() {
            let section = &placed.section;
            if section.is_skipped() || STRUCTURE.contains(&section.comment.as_str()) {
                continue;
            }
            let rename = |text: &str| moved(text, &from, mdt);
            let live = placed.commands().filter(|(index, cfg)| log.is_live(*index) && !is_structure(cfg.command));
            let records = live.map(|(_, cfg)| renamed(cfg, &rename)).collect();
            copies.push((rename(&section.target), section.comment.clone(), records));
        }
        let own = mdt.to_string();
        for (target, comment, records) in copies {
            self.append(&own, &target, &comment, records)?;
        }
        Ok(())
    }
}

/// A device's name with one MDT in the place of another: `X-MDT0000-mdtlov`, `X-OST0000-osc-MDT0000`.
fn moved(text: &str, from: &SvName, to: &SvName) -> String {
    if let Some(rest) = text.strip_prefix(&from.to_string()) {
        return format!("{to}{rest}");
    }
    match text.strip_suffix(&format!("-{}", from.short())) {
        Some(rest) => format!("{rest}-{}", to.short()),
        None => text.to_owned(),
    }
}

/// A client's command as an MDT needs it; `None` for those that it doesn't.
fn for_mdt(cfg: &LustreCfg, target: &SvName, device: &str, lov: &str) -> Option<LustreCfg> {
    let mut cfg = cfg.clone();
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    match cfg.command {
        c::ADD_UUID => {}
        c::ATTACH => {
            let kind = if target.kind() == TargetKind::Ost { "osc" } else { "osp" };
            cfg = commands::attach(device, kind, &names::uuid(lov));
        }
        c::SETUP | c::ADD_CONN | c::DEL_CONN => *cfg.bufs.first_mut()? = text(device),
        c::ADD_MDC | c::LOV_ADD_OBD => *cfg.bufs.first_mut()? = text(lov),
        _ => return None,
    }
    Some(cfg)
}

/// Commands that make or remove devices.
fn is_structure(command: u32) -> bool {
    matches!(
        command,
        c::ATTACH
            | c::DETACH
            | c::SETUP
            | c::CLEANUP
            | c::ADD_MDC
            | c::DEL_MDC
            | c::LOV_ADD_OBD
            | c::LOV_DEL_OBD
            | c::MOUNTOPT
    )
}

/// A command with the name in its device replaced.
fn renamed(cfg: &LustreCfg, rename: &impl Fn(&str) -> String) -> LustreCfg {
    let mut cfg = cfg.clone();
    let device = rename(&cfg.text(0));
    if let Some(buf) = cfg.bufs.first_mut().filter(|buf| !buf.is_empty()) {
        *buf = [device.as_bytes(), b"\0"].concat();
    }
    cfg
}
