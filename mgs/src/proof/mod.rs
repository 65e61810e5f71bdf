//! What nodes have of a tunable: asked of all of them at once, judged by what is wanted.

mod judge;
mod others;
mod reach;

pub use judge::{Wanted, judge};
pub use others::Others;
pub use reach::{Reached, each};

use lustre_api::agent::StartDriver;
use lustre_mgs_core::{NodeRecord, ParamKey, State};
use lustre_plan::naming::{Concerned, concerned};
use lustre_types::{NodeName, ParamScope, TargetKind};

/// A node and where its agent is.
pub type Place = (NodeName, String);

/// The nodes that could have a tunable, and whether each should.
///
/// Whoever has mounted a file system is not known from here, so every node is asked; one that has no such tunable is at fault
/// only if it serves a target that has it.
pub fn candidates(state: &State, key: &ParamKey) -> Vec<(Place, bool)> {
    let of_node = |(name, node): (&NodeName, &lustre_mgs_core::Object<NodeRecord>)| {
        ((name.clone(), node.value.api_url.clone()), is_expected(state, name, &node.value, key))
    };
    state.nodes.iter().map(of_node).collect()
}

/// Whether a node should have a tunable.
fn is_expected(state: &State, name: &NodeName, node: &NodeRecord, key: &ParamKey) -> bool {
    let kind = match concerned(&key.name) {
        Concerned::Clients => return false,
        Concerned::EveryNode if key.filesystem.is_none() => return node.info.start_driver == StartDriver::Kernel,
        Concerned::EveryNode | Concerned::Targets => None,
        Concerned::Osts => Some(TargetKind::Ost),
        Concerned::Mdts => Some(TargetKind::Mdt),
    };
    let mut served = state.targets.iter().filter(|(_, target)| target.value.place() == name);
    served.any(|(svname, _)| {
        let is_in_scope = match &key.scope {
            ParamScope::Filesystem | ParamScope::Clients => true,
            ParamScope::Mdts => svname.kind() == TargetKind::Mdt,
            ParamScope::Osts => svname.kind() == TargetKind::Ost,
            ParamScope::Target(wanted) => svname == wanted,
        };
        let is_of_kind = kind.is_none_or(|kind| svname.kind() == kind);
        is_in_scope && is_of_kind && (key.filesystem.is_none() || svname.fsname() == key.filesystem.as_ref())
    })
}
