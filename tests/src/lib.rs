//! Whole-system tests: real daemons, real devices, real `terraform`. They are in `tests/`; what they share is in `testkit`.

use lustre_mgc::Target;
use lustre_wire::mgs::target_flag;

/// A target that was never registered, on a node with these NIDs. `kind`: one of [`target_flag`]'s.
pub fn new_target(fsname: &str, kind: u32, index: u32, nids: &[&str]) -> anyhow::Result<Target> {
    let name = if kind == target_flag::MDT { "MDT" } else { "OST" };
    Ok(Target {
        fsname: fsname.into(),
        svname: format!("{fsname}-{name}{index:04x}"),
        index,
        flags: kind | target_flag::VIRGIN | target_flag::UPDATE,
        instance: 0,
        nids: nids.iter().map(|nid| nid.parse()).collect::<Result<_, _>>()?,
        params: String::new(),
        version: 0x0211_3900,
    })
}
