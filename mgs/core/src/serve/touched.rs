//! Which locks a change makes stale.

use lustre_wire::ldlm::{ResourceId, ResourceKind};

use crate::key::Key;

/// The resource whose readers have to read again after a change of this object; `None` for what nodes don't read.
pub fn touched(key: &Key) -> Option<ResourceId> {
    let of = |owner: &str, kind| ResourceId::new(owner, kind).ok();
    match key {
        Key::Log(Some(fsname), _) => of(fsname.as_str(), ResourceKind::Config),
        Key::Log(None, _) => of("params", ResourceKind::Params),
        Key::NidTable(fsname) => of(fsname.as_str(), ResourceKind::Recover),
        Key::Nodemap(_) | Key::NodemapsActive => of("nodemap", ResourceKind::Nodemap),
        _ => None,
    }
}
