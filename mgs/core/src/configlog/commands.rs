//! The commands of sections, by what they say.
//!
//! Source: config-log specification, sections 3 and 6.

use lustre_types::{FsName, Nid, SvName};
use lustre_wire::llog::{LustreCfg, command as c, nid8};

use crate::configlog::names;

pub(super) fn attach(device: &str, kind: &str, uuid: &str) -> LustreCfg {
    LustreCfg::texts(c::ATTACH, &[device, kind, uuid])
}

pub(super) fn setup(device: &str, values: &[&str]) -> LustreCfg {
    LustreCfg::texts(c::SETUP, &[&[device], values].concat())
}

/// `setup` of a LOV with its `struct lov_desc`: no target, one stripe of 4 MiB, start anywhere.
pub(super) fn setup_lov(lov: &str) -> LustreCfg {
    let mut desc = vec![0; 48];
    desc[4..8].copy_from_slice(&0xB0CC_DE5C_u32.to_le_bytes());
    desc[8..12].copy_from_slice(&1u32.to_le_bytes());
    desc[12..16].copy_from_slice(&1u32.to_le_bytes());
    desc[16..24].copy_from_slice(&(4u64 << 20).to_le_bytes());
    desc[24..32].copy_from_slice(&(-1i64).to_le_bytes());
    desc[36..40].copy_from_slice(&5u32.to_le_bytes());
    setup_desc(lov, desc)
}

/// `setup` of an LMV with its `struct lmv_desc`.
pub(super) fn setup_lmv(lmv: &str) -> LustreCfg {
    setup_desc(lmv, vec![0; 48])
}

fn setup_desc(device: &str, mut desc: Vec<u8>) -> LustreCfg {
    desc.extend_from_slice(names::uuid(device).as_bytes());
    desc.resize(88, 0);
    let mut cfg = LustreCfg::texts(c::SETUP, &[device]);
    cfg.bufs.push(desc);
    cfg
}

/// `nid` is an interface of `node`. An address that has no 8-byte form is said as text.
pub(super) fn add_uuid(nid: &Nid, node: &str) -> LustreCfg {
    match nid8(nid) {
        Some(nid8) => LustreCfg { nid: nid8, ..LustreCfg::texts(c::ADD_UUID, &["", node]) },
        None => LustreCfg::texts(c::ADD_UUID, &["", node, &nid.to_string()]),
    }
}

/// The interfaces of one node.
pub(super) fn add_uuids(nids: &[Nid]) -> Vec<LustreCfg> {
    let Some(first) = nids.first() else { return Vec::new() };
    let node = names::node(first);
    nids.iter().map(|nid| add_uuid(nid, &node)).collect()
}

/// The partner nodes of a device: for each its interfaces, then the connection.
pub(super) fn failover(device: &str, nodes: &[Vec<Nid>]) -> Vec<LustreCfg> {
    let mut commands = Vec::new();
    for nids in nodes {
        let Some(first) = nids.first() else { continue };
        commands.extend(add_uuids(nids));
        commands.push(LustreCfg::texts(c::ADD_CONN, &[device, &names::node(first)]));
    }
    commands
}

pub(super) fn mount_options(profile: &str, lov: &str, lmv: Option<&str>) -> LustreCfg {
    match lmv {
        Some(lmv) => LustreCfg::texts(c::MOUNTOPT, &["", profile, lov, lmv]),
        None => LustreCfg::texts(c::MOUNTOPT, &["", profile, lov]),
    }
}

pub(super) fn add_osc(lov: &str, ost: &SvName) -> LustreCfg {
    LustreCfg::texts(c::LOV_ADD_OBD, &[lov, &names::uuid(ost), &decimal(ost), "1"])
}

/// In the client's log.
pub(super) fn add_mdc(lmv: &str, mdt: &SvName) -> LustreCfg {
    let mdc = names::uuid(names::client_device(mdt));
    LustreCfg::texts(c::ADD_MDC, &[lmv, &names::uuid(mdt), &decimal(mdt), "1", &mdc])
}

/// In another MDT's log.
pub(super) fn add_osp(lov: &str, mdt: &SvName) -> LustreCfg {
    LustreCfg::texts(c::ADD_MDC, &[lov, &names::uuid(mdt), &decimal(mdt), "1"])
}

pub(super) fn param(device: &str, text: &str) -> LustreCfg {
    LustreCfg::texts(c::PARAM, &[device, text])
}

pub(super) fn set_param(target: &str, text: &str) -> LustreCfg {
    LustreCfg::texts(c::SET_PARAM, &[target, text, "lctl"])
}

/// `command` is one of `POOL_*`; `ost` the member that it is about.
pub(super) fn pool(command: u32, lov: &str, fsname: &FsName, pool: &str, ost: Option<&SvName>) -> LustreCfg {
    match ost {
        Some(ost) => LustreCfg::texts(command, &[lov, fsname.as_str(), pool, &names::uuid(ost)]),
        None => LustreCfg::texts(command, &[lov, fsname.as_str(), pool]),
    }
}

/// The index of a target as records hold it.
pub(super) fn decimal(svname: &SvName) -> String {
    svname.index().map_or_else(String::new, |index| index.to_string())
}
