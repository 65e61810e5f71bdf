//! Names in logs: logs, devices, UUIDs.
//!
//! Source: config-log specification, section 5.

use lustre_types::{FsName, Nid, SvName, TargetKind};

/// Log of tunables set by `lctl set_param -P`.
pub const PARAMS: &str = "params";

/// `<fs>-client`
pub fn client(fsname: &FsName) -> String {
    format!("{fsname}-client")
}

/// `<fs>-clilov`
pub fn clilov(fsname: &FsName) -> String {
    format!("{fsname}-clilov")
}

/// `<fs>-clilmv`
pub fn clilmv(fsname: &FsName) -> String {
    format!("{fsname}-clilmv")
}

/// `<fs>-MDTxxxx-mdtlov`
pub fn mdtlov(mdt: &SvName) -> String {
    format!("{mdt}-mdtlov")
}

/// `<name>_UUID`
pub fn uuid(name: impl std::fmt::Display) -> String {
    format!("{name}_UUID")
}

/// The UUID of a node: its first NID, of a long one the end.
pub fn node(first: &Nid) -> String {
    /// `struct obd_uuid` without its NUL.
    const MAX: usize = 39;
    let text = first.to_string();
    let cut = text.len().saturating_sub(MAX);
    text[cut..].to_owned()
}

/// A client's device for a target: `<fs>-MDTxxxx-mdc`, `<fs>-OSTxxxx-osc`.
pub fn client_device(target: &SvName) -> String {
    match target.kind() {
        TargetKind::Ost => format!("{target}-osc"),
        _ => format!("{target}-mdc"),
    }
}

/// An MDT's device for another target: `<fs>-OSTxxxx-osc-MDTyyyy`, `<fs>-MDTxxxx-osp-MDTyyyy`.
pub fn mdt_device(target: &SvName, mdt: &SvName) -> String {
    match target.kind() {
        TargetKind::Ost => format!("{target}-osc-{}", mdt.short()),
        _ => format!("{target}-osp-{}", mdt.short()),
    }
}
